"""Survivorship rules: how one field's value is chosen among the claims of several source records.

A rule is a value; `sluice.provenance.merge` applies it. The name of a rule is stored with the field that it decided.

A null is a claim: a source that says null says that there is no value, and wins like one that says any other. A source
that does not know makes no claim, which its mapping says by leaving the field out. `skip_null` is for the other wish: a
null then wins only where nobody claims anything else.
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
    """What holds where an author said nothing: sources rank as they stand in the pipeline file."""

    name: str = "source_order"
    skip_null: bool = False


Rule = Prefer | MostRecent | SourceOrder


def prefer(*sources: str, skip_null: bool = False) -> Prefer:
    """Rank sources: `prefer("workday", "erp")` takes workday's claim where there is one, else erp's.

    A claim of null counts; with `skip_null` it gives way to any claim of a value. Raises ValueError for a source that
    stands twice, or none.
    """
    if not sources or len(set(sources)) != len(sources):
        raise ValueError(f"prefer{sources}: name at least one source, each once")
    return Prefer(sources, skip_null)


def most_recent(*, skip_null: bool = False) -> MostRecent:
    """Take the claim with the latest effective time. Mappings that claim the field must state one.

    A claim of null counts; with `skip_null` it gives way to any claim of a value, however old.
    """
    return MostRecent(skip_null)
