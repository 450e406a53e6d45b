"""The result of a verification: findings by check, what is not done yet, what was looked at, and what was not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

FIRST_MAX = 10
KEY_CHARS_MAX = 200

Check = Literal["I2", "I4", "I5", "I6", "source-raw", "raw-contributions", "contributions-canonical", "canonical-table"]
# What is true if a check finds nothing. I2 to I6 are the numbers of the invariants in docs/architecture.md.
CHECKS: dict[Check, str] = {
    "source-raw": "raw has every row of a followed table as the table has it, and no other row",
    "raw-contributions": "every newest source record is mapped, or parked as a dead letter",
    "contributions-canonical": "every golden record is the merge of its contributions",
    "canonical-table": "every row is its golden record",
    "I2": "once: the newest version of a record took effect once, an older one at most once",
    "I4": "never back: the last record of a key is its newest claim",
    "I5": "complete: the ledger has no gap, and its outcomes sum to the records that were read",
    "I6": "provenance: every row names the raw records that it was made from",
}

Verdict = Literal["verified", "nothing wrong in what was looked at", "findings"]


class Finding(NamedTuple):
    """Something wrong. `where`: topic/partition@offset, or table. `key`: the record's; `what` never quotes it."""

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}  {self.key}  {self.what}" if self.key else f"{self.where}  {self.what}"


class NotDone(NamedTuple):
    """Records that a group had not processed at the end of the wait. They are not judged."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int


class NotLookedAt(NamedTuple):
    """Something that was not judged, with the reason.

    `kind`: "unable" because of a fault or a lack of time; "left out" because the caller wants it; "by design" if it is
    never compared, such as an API, which shows no two pages at one moment.
    """

    what: str
    because: str
    next_step: str
    kind: Literal["unable", "left out", "by design"] = "unable"

    def __str__(self) -> str:
        return f"{self.what}: {self.because}" + (f". Next: {self.next_step}" if self.next_step else "")


@dataclass
class Report:
    """`counts` of findings by check, the `first` of each, `pending`, numbers of what was `checked`, `not_looked_at`.

    `doubled`: the number of raw records that repeat position and content of another; they change nothing.
    """

    counts: Counter[Check] = field(default_factory=Counter)
    first: dict[Check, list[Finding]] = field(default_factory=dict)
    pending: list[NotDone] = field(default_factory=list)
    not_looked_at: list[NotLookedAt] = field(default_factory=list)
    doubled: int = 0
    first_doubled: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Nothing wrong was found; something may be pending, or was not looked at."""
        return not self.counts

    @property
    def passed(self) -> bool:
        """Clean, and everything was looked at but what never is, and what the caller left out."""
        return self.clean and not self.pending and not any(one.kind == "unable" for one in self.not_looked_at)

    @property
    def verified(self) -> bool:
        """Clean, and everything up to the ends noted at the start was looked at, but what never is."""
        return self.passed and not any(one.kind == "left out" for one in self.not_looked_at)

    @property
    def verdict(self) -> Verdict:
        if not self.clean:
            return "findings"
        return "verified" if self.verified else "nothing wrong in what was looked at"

    def found(self, check: Check, where: str, key: str, what: str) -> None:
        """Add a finding; the first ten of a check are kept."""
        self.counts[check] += 1
        kept = self.first.setdefault(check, [])
        if len(kept) < FIRST_MAX:
            kept.append(Finding(where, key[:KEY_CHARS_MAX], what))

    def found_doubled(self, where: str, key: str, what: str) -> None:
        """Add a raw record that repeats another one."""
        self.doubled += 1
        if len(self.first_doubled) < FIRST_MAX:
            self.first_doubled.append(Finding(where, key[:KEY_CHARS_MAX], what))

    def to_json(self) -> dict[str, Any]:
        """The one object that `--json` prints."""
        return {
            "verified": self.verified,
            "verdict": self.verdict,
            "checks": {check: {"means": means, "count": self.counts[check]} for check, means in CHECKS.items()},
            "checked": dict(self.checked),
            "findings": {
                check: {"count": count, "first": [one._asdict() for one in self.first[check]]}
                for check, count in self.counts.items()
            },
            "pending": [one._asdict() for one in self.pending],
            "not_looked_at": [one._asdict() for one in self.not_looked_at],
            "doubled": {"count": self.doubled, "first": [one._asdict() for one in self.first_doubled]},
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """The report for people."""
        lines = []
        for check, means in CHECKS.items():
            count = self.counts[check]
            verdict, times = ("FAIL", f": {count:,} times not") if count else ("ok  ", "")
            lines.append(f"{verdict}  {check:<24}{means}{times}")
            lines += [f"      {one}" for one in self.first.get(check, ())]
        lines += [
            f"not done yet: {one.group} is at {one.topic}/{one.partition}@{one.committed}, the end is {one.end}"
            for one in self.pending
        ]
        lines += [
            f"never compared: {one}" if one.kind == "by design" else f"not looked at: {one}"
            for one in sorted(self.not_looked_at, key=lambda one: one.kind != "by design")
        ]
        if self.doubled:
            lines.append(f"doubled: {self.doubled:,} raw records repeat another one, position and content; no effect")
            lines += [f"      {one}" for one in self.first_doubled]
        looked_at = ", ".join(f"{number:,} {name}" for name, number in self.checked.items())
        lines.append(f"looked at in {self.seconds:.1f} s: {looked_at}")
        return [*lines, self._conclusion()]

    def _conclusion(self) -> str:
        if not self.clean:
            return f"findings: {sum(self.counts.values()):,}"
        if self.verified:
            return "verified: everything that can be compared was looked at, and nothing is wrong"
        left = len(self.pending) + sum(one.kind != "by design" for one in self.not_looked_at)
        return f"nothing wrong in what was looked at; {left} not looked at, or not done yet: not verified"


def place(topic: str, partition: int, offset: int) -> str:
    """Where a record is, in the form that all errors use."""
    return f"{topic}/{partition}@{offset}"
