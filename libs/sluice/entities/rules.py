"""Survivorship rules: how one field's value is chosen among the claims of several source records.

A rule is a value; `sluice.provenance.merge` applies it. The name of a rule is stored with the field that it decided.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prefer:
    """The first source of the list that makes a claim wins; sources not listed follow in the pipeline's order."""

    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"prefer({','.join(self.sources)})"


@dataclass(frozen=True)
class MostRecent:
    """The claim with the latest effective time, as stated by its source, wins."""

    name: str = "most_recent"


@dataclass(frozen=True)
class SourceOrder:
    """What holds where an author said nothing: sources rank as they stand in the pipeline file."""

    name: str = "source_order"


Rule = Prefer | MostRecent | SourceOrder


def prefer(*sources: str) -> Prefer:
    """Rank sources: `prefer("workday", "erp")` takes workday's claim where there is one, else erp's."""
    if not sources or len(set(sources)) != len(sources):
        raise ValueError(f"prefer{sources}: name at least one source, each once")
    return Prefer(sources)


def most_recent() -> MostRecent:
    """Take the claim with the latest effective time. Mappings that claim the field must state one."""
    return MostRecent()
