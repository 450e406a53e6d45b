"""What a verification found: findings by check, what is merely not done yet, what was looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

FIRST_MAX = 10
KEY_CHARS_MAX = 200

Check = Literal["I2", "I4", "I5", "I6", "raw-contributions", "contributions-canonical", "canonical-table"]
CHECKS: dict[Check, str] = {
    "raw-contributions": "every newest source record is mapped, or parked",
    "contributions-canonical": "every golden record is the merge of its contributions",
    "canonical-table": "every row is its golden record",
    "I2": "the newest version took effect exactly once",
    "I4": "what stands last is the highest",
    "I5": "the ledger has no gap, and its outcomes sum",
    "I6": "every row's provenance leads to a raw record",
}


class Finding(NamedTuple):
    """One offender. `where`: topic/partition@offset, or table. `key` names the record; `what` never quotes it."""

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}  {self.key}  {self.what}" if self.key else f"{self.where}  {self.what}"


class NotDone(NamedTuple):
    """Records that a group had not taken when the waiting ended: no violation, and nothing is said about them."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int


@dataclass
class Report:
    """`counts` of findings by check, the `first` of each, `pending`, and what was `checked`."""

    counts: Counter[Check] = field(default_factory=Counter)
    first: dict[Check, list[Finding]] = field(default_factory=dict)
    pending: list[NotDone] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """No violation was found; something may still be on its way."""
        return not self.counts

    @property
    def verified(self) -> bool:
        """No violation, and everything up to the ends taken at the start was looked at."""
        return self.clean and not self.pending

    def found(self, check: Check, where: str, key: str, what: str) -> None:
        """Note an offender; the first ten of a check are kept."""
        self.counts[check] += 1
        kept = self.first.setdefault(check, [])
        if len(kept) < FIRST_MAX:
            kept.append(Finding(where, key[:KEY_CHARS_MAX], what))

    def to_json(self) -> dict[str, Any]:
        """The one object that `--json` prints."""
        return {
            "verified": self.verified,
            "checked": dict(self.checked),
            "findings": {
                check: {"count": count, "first": [one._asdict() for one in self.first[check]]}
                for check, count in self.counts.items()
            },
            "pending": [one._asdict() for one in self.pending],
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """The report for people."""
        told = []
        for check, promise in CHECKS.items():
            count = self.counts[check]
            verdict, times = ("FAIL", f": {count:,} times not") if count else ("ok  ", "")
            told.append(f"{verdict}  {check:<24}{promise}{times}")
            told += [f"      {one}" for one in self.first.get(check, ())]
        told += [
            f"not done yet: {one.group} stands at {one.topic}/{one.partition}@{one.committed}, the end is {one.end}"
            for one in self.pending
        ]
        looked_at = ", ".join(f"{number:,} {name}" for name, number in self.checked.items())
        told.append(f"looked at in {self.seconds:.1f} s: {looked_at}")
        return told


def place(topic: str, partition: int, offset: int) -> str:
    """Where a record stands, as every error of ours spells it."""
    return f"{topic}/{partition}@{offset}"
