"""Claims with their provenance, and survivorship: the choice among claims that makes a golden record."""

from sluice.provenance.canonical import CanonicalRecord, Contributor, Winner
from sluice.provenance.contribution import (
    ClaimOrder,
    Contribution,
    RawRef,
    contribution_content,
    contribution_key,
)
from sluice.provenance.contribution_writer import ContributionWriter, Origin
from sluice.provenance.merge import Incomplete, Merged, SourceAndNames, Survivorship, candidates, merge

__all__ = [
    "CanonicalRecord",
    "ClaimOrder",
    "Contribution",
    "ContributionWriter",
    "Contributor",
    "Incomplete",
    "Merged",
    "Origin",
    "RawRef",
    "SourceAndNames",
    "Survivorship",
    "Winner",
    "candidates",
    "contribution_content",
    "contribution_key",
    "merge",
]
