"""Survivorship rules: how one field's value is chosen among the claims of several source records.

A rule is a value; `sluice.provenance.merge` applies it. The name of a rule is stored with the field that it decided.

A null is a claim: it says that there is no value, and wins like any value. A source that does not know makes no claim:
its mapping leaves the field out. With `skip_null` a null wins only if no other value is claimed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prefer:
    """The first source of the list that makes a claim wins; sources not listed follow in the pipeline's order."""

    sources: tuple[str, ...]
    skip_null: bool = False

    @property
    def name(self) -> str:
        return f"prefer({','.join(self.sources)}{'; skip_null' if self.skip_null else ''})"


@dataclass(frozen=True)
class MostRecent:
    """The claim with the latest effective time, as stated by its source, wins."""

    skip_null: bool = False

    @property
    def name(self) -> str:
        return "most_recent(skip_null)" if self.skip_null else "most_recent"


@dataclass(frozen=True)
class SourceOrder:
    """The rule of a field that declares no rule: sources rank in the order of the pipeline file."""

    name: str = "source_order"
    skip_null: bool = False


Rule = Prefer | MostRecent | SourceOrder


def prefer(*sources: str, skip_null: bool = False) -> Prefer:
    """Rank sources: `prefer("workday", "erp")` takes workday's claim if there is one, else erp's.

    A null wins like a value; with `skip_null` any value wins over it. Raises ValueError if a source is named twice, or
    none is.
    """
    if not sources or len(set(sources)) != len(sources):
        raise ValueError(f"prefer{sources}: name at least one source, each once")
    return Prefer(sources, skip_null)


def most_recent(*, skip_null: bool = False) -> MostRecent:
    """Take the claim with the latest effective time. A mapping that claims the field must have an `effective_at`.

    A null wins like a value; with `skip_null` any value wins over it, however old.
    """
    return MostRecent(skip_null)
