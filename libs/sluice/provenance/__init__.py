"""Claims with their provenance, and how a golden record is chosen among them."""

from sluice.canonical_json import canonical_bytes
from sluice.provenance.canonical import CanonicalRecord, Contributor, Winner, canonical_content
from sluice.provenance.contribution import (
    ClaimOrder,
    Contribution,
    RawRef,
    contribution_content,
    contribution_key,
)
from sluice.provenance.merge import Incomplete, Merged, candidates, merge

__all__ = [
    "CanonicalRecord",
    "ClaimOrder",
    "Contribution",
    "Contributor",
    "Incomplete",
    "Merged",
    "RawRef",
    "Winner",
    "candidates",
    "canonical_bytes",
    "canonical_content",
    "contribution_content",
    "contribution_key",
    "merge",
]
