"""Enumerations: listings of everything, the only evidence that a key was deleted.

A key is deleted when complete enumerations do not list it. An enumeration is complete only if every page arrived, every
record had a readable key and nothing says that more pages follow (`completeness`). Whether a listed record could be
published does not matter. If more keys are missing than the guard allows, the result is a fault and not a mass delete.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
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


def decide_deletes(
    enumeration: Enumeration,
    known: Iterable[bytes],
    guard: ShrinkGuard,
    suspects: Set[bytes] | None,
    accepted: AcceptedLoss,
    stream: str,
) -> DeleteDecision:
    """Which of the `known` keys of `stream` are deleted, as a finished enumeration shows.

    `suspects`: the keys that the previous enumeration lacked; only these are deleted, because a row that moves to
    another page during a listing is missing once. None: one enumeration is enough.
    """
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
    agreed = accepted.of(missing, loss)
    rest = [key for key in missing if key not in agreed]
    empty = not enumeration.keys and bool(rest)
    if empty or not guard.allows(len(rest), count - len(agreed)):
        return DeleteDecision(fault=_shrunk(loss, stream), loss=loss, lost=frozenset(missing))
    if suspects is None:
        return DeleteDecision(tuple(missing))
    deletes = tuple(key for key in missing if key in agreed or key in suspects)
    return DeleteDecision(deletes, frozenset(rest) - suspects)


def _shrunk(loss: Loss, stream: str) -> str:
    source, _, name = stream.partition("/")
    return (
        f"no deletes: the source lists {loss.known - loss.keys} of {loss.known} known keys. Next: see that the "
        "stream's paging reaches the last page, and that the account may still read all records; if the other "
        f"{loss.keys} are truly deleted, `sluice deletes accept {source} {name}` deletes them, this once"
    )
