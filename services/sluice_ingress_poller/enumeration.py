"""Enumerations: listings of everything, the only evidence that a key was deleted.

A key is deleted when complete enumerations do not list it. An enumeration is complete only if every page arrived, every
record had a readable key and nothing says that more pages follow (`completeness`). Whether a listed record could be
published does not matter. If more keys are missing than the guard allows, the result is a fault and not a mass delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sluice.ingress.deletes import Loss


@dataclass(frozen=True, slots=True)
class ShrinkGuard:
    """Of the known keys may be missing at most the greater of `keys_min` and the fraction `fraction_max`.

    `keys_min` is for sources of a few dozen keys. If there are fewer keys, it allows a quarter of them and at least
    one, so that the guard is effective from two keys on.
    """

    keys_min: int = 10
    fraction_max: float = 0.2

    def allows(self, missing: int, known: int) -> bool:
        return missing <= max(min(self.keys_min, max(1, known // 4)), known * self.fraction_max)


@dataclass(slots=True)
class Enumeration:
    """The keys that one enumeration has listed so far."""

    keys: set[bytes] = field(default_factory=set)
    unreadable: int = 0

    def list(self, key: bytes | None) -> None:
        """A record with `key` was listed; None: its key cannot be read."""
        if key is None:
            self.unreadable += 1
        else:
            self.keys.add(key)


@dataclass(frozen=True, slots=True)
class AcceptedLoss:
    """The loss that an operator accepted: its digest, and its keys if this process still knows them."""

    digest: str = ""
    keys: frozenset[bytes] = frozenset()

    def of(self, missing: list[bytes], loss: Loss) -> frozenset[bytes]:
        """The `missing` keys that may be deleted."""
        return frozenset(missing) if loss.digest == self.digest else self.keys & frozenset(missing)


@dataclass(frozen=True, slots=True)
class DeleteDecision:
    """`deletes`: the keys to delete. `suspects`: keys that are missing for the first time; the next enumeration
    decides.

    `fault`: why nothing is deleted, else empty. `loss`, `lost`: what an operator may accept then, and its keys.
    """

    deletes: tuple[bytes, ...] = ()
    suspects: frozenset[bytes] = frozenset()
    fault: str = ""
    loss: Loss | None = None
    lost: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class DeleteCriteria:
    """What a decision needs in addition to the enumeration.

    `listings`: in how many enumerations in a row a key must be missing, 1 or 2. A row that moves to another page during
    a listing is missing once. `suspects`: the keys that were missing from the previous enumeration.
    """

    stream: str
    guard: ShrinkGuard
    listings: int
    suspects: frozenset[bytes] = frozenset()
    accepted: AcceptedLoss = AcceptedLoss()


def decide_deletes(enumeration: Enumeration, known: Iterable[bytes], criteria: DeleteCriteria) -> DeleteDecision:
    """Which of the `known` keys are deleted, as a finished enumeration shows."""
    if enumeration.unreadable:
        return DeleteDecision(
            fault=f"no deletes: {enumeration.unreadable} listed records have no readable key and may be any of those "
            "missing. Next: see the dead letters, then compare the stream's key with what the source sends"
        )
    count, missing = 0, []
    for key in known:
        count += 1
        if key not in enumeration.keys:
            missing.append(key)
    loss = Loss.of(missing, count)
    accepted = criteria.accepted.of(missing, loss)
    rest = [key for key in missing if key not in accepted]
    empty = not enumeration.keys and bool(rest)
    if empty or not criteria.guard.allows(len(rest), count - len(accepted)):
        return DeleteDecision(fault=_shrunk(loss, criteria.stream), loss=loss, lost=frozenset(missing))
    if criteria.listings <= 1:
        return DeleteDecision(tuple(missing))
    deletes = tuple(key for key in missing if key in accepted or key in criteria.suspects)
    return DeleteDecision(deletes, frozenset(rest) - criteria.suspects)


def _shrunk(loss: Loss, stream: str) -> str:
    source, _, name = stream.partition("/")
    return (
        f"no deletes: the source lists {loss.known - loss.keys} of {loss.known} known keys. Next: see that the "
        "stream's paging reaches the last page, and that the account may still read all records; if the other "
        f"{loss.keys} are truly deleted, `sluice deletes accept {source} {name}` deletes them, this once"
    )
