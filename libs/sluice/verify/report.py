"""The result of a verification: findings by check, what is not done yet, what was checked, and what was not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

FIRST_MAX = 10
KEY_CHARS_MAX = 200

Check = Literal["I2", "I4", "I5", "I6", "source-raw", "raw-contributions", "contributions-canonical", "canonical-table"]
# By check, the statement that is true if the check has no finding. I2 to I6 are invariants of docs/architecture.md.
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

Verdict = Literal["verified", "nothing wrong in what was checked", "findings"]


class Finding(NamedTuple):
    """One error in the data. `where`: topic/partition@offset, or a table. `key`: of the record or row, may be empty.
    `what`: the error as a clause without a subject; it quotes no values."""

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}  {self.key}  {self.what}" if self.key else f"{self.where}  {self.what}"


class NotDone(NamedTuple):
    """Records of a partition, from `committed` to `end`, that a group had not processed when the wait ended."""

    group: str
    topic: str
    partition: int
    committed: int
    end: int


class NotChecked(NamedTuple):
    """A source, table or value that was not checked, with the reason.

    `kind`: "unable" if a fault or a lack of time prevented the check; "left out" if the caller asked for that; "by
    design" if the data is never compared, such as an API, which shows no two pages at one moment.
    """

    what: str
    because: str
    next_step: str
    kind: Literal["unable", "left out", "by design"] = "unable"

    def __str__(self) -> str:
        return f"{self.what}: {self.because}" + (f". Next: {self.next_step}" if self.next_step else "")


@dataclass
class Report:
    """The result of a verification.

    `counts`: the number of findings by check; `first`: the first findings of each check. `pending`: what a group had
    not processed. `not_checked`: what was not checked. `checked`: how many records of each sort were checked.
    `doubled`: the number of raw records that repeat position and content of another one; they have no effect.
    """

    counts: Counter[Check] = field(default_factory=Counter)
    first: dict[Check, list[Finding]] = field(default_factory=dict)
    pending: list[NotDone] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)
    doubled: int = 0
    first_doubled: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether there is no finding. Something may be pending, or was not checked."""
        return not self.counts

    @property
    def passed(self) -> bool:
        """Whether there is no finding and everything was checked but what is never compared or the caller left out."""
        return self.clean and not self.pending and not any(one.kind == "unable" for one in self.not_checked)

    @property
    def verified(self) -> bool:
        """Whether there is no finding and everything up to the noted ends was checked but what is never compared."""
        return self.passed and not any(one.kind == "left out" for one in self.not_checked)

    @property
    def verdict(self) -> Verdict:
        if not self.clean:
            return "findings"
        return "verified" if self.verified else "nothing wrong in what was checked"

    def found(self, check: Check, where: str, key: str, what: str) -> None:
        """Count a finding, and keep it if it is among the first ten of its check."""
        self.counts[check] += 1
        kept = self.first.setdefault(check, [])
        if len(kept) < FIRST_MAX:
            kept.append(Finding(where, key[:KEY_CHARS_MAX], what))

    def found_doubled(self, where: str, key: str, what: str) -> None:
        """Count a raw record that repeats position and content of another one, and keep the first ten."""
        self.doubled += 1
        if len(self.first_doubled) < FIRST_MAX:
            self.first_doubled.append(Finding(where, key[:KEY_CHARS_MAX], what))

    def to_json(self) -> dict[str, Any]:
        """The object that `sluice verify --json` prints."""
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
            "not_checked": [one._asdict() for one in self.not_checked],
            "doubled": {"count": self.doubled, "first": [one._asdict() for one in self.first_doubled]},
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """The report as lines of text."""
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
            f"never compared: {one}" if one.kind == "by design" else f"not checked: {one}"
            for one in sorted(self.not_checked, key=lambda one: one.kind != "by design")
        ]
        if self.doubled:
            lines.append(f"doubled: {self.doubled:,} raw records repeat another one, position and content; no effect")
            lines += [f"      {one}" for one in self.first_doubled]
        checked = ", ".join(f"{number:,} {name}" for name, number in self.checked.items())
        lines.append(f"checked in {self.seconds:.1f} s: {checked}")
        return [*lines, self._conclusion()]

    def _conclusion(self) -> str:
        if not self.clean:
            return f"findings: {sum(self.counts.values()):,}"
        if self.verified:
            return "verified: everything that can be compared was checked, and nothing is wrong"
        left = len(self.pending) + sum(one.kind != "by design" for one in self.not_checked)
        return f"nothing wrong in what was checked; {left} not checked, or not done yet: not verified"


def place(topic: str, partition: int, offset: int) -> str:
    """The place of a record as text, in the form that all errors use."""
    return f"{topic}/{partition}@{offset}"
