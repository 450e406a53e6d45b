"""Enumerations: listings of all records of a stream, and the deletes that follow from them.

A key is deleted when complete enumerations do not list it. An enumeration is complete only if every page arrived, every
record had a readable key, and nothing says that more pages follow (`completeness`). Whether a listed record could be
published does not matter. If more keys are missing than `ShrinkGuard` allows, there is a fault instead of a mass
delete.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from sluice.ingress.deletes import Loss


@dataclass(frozen=True, slots=True)
class ShrinkGuard:
    """How many of the known keys an enumeration may lack: the greater of `keys_min` and the fraction `fraction_max`.

    `keys_min` is for sources with a few dozen keys. If it exceeds a quarter of the known keys, the quarter is used
    instead, but at least one key. So the guard is effective from two known keys on.
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
        """Add a listed record with `key`, which is None if the record's key cannot be read."""
        if key is None:
            self.unreadable += 1
        else:
            self.keys.add(key)


@dataclass(frozen=True, slots=True)
class AcceptedLoss:
    """The missing keys whose deletion an operator accepted. `digest`: identifies these keys. `keys`: the keys
    themselves; empty if another process reported them."""

    digest: str = ""
    keys: frozenset[bytes] = frozenset()

    def of(self, missing: list[bytes], loss: Loss) -> frozenset[bytes]:
        """Which of the `missing` keys an operator accepted. `loss`: the count and the digest of these keys."""
        return frozenset(missing) if loss.digest == self.digest else self.keys & frozenset(missing)


@dataclass(frozen=True, slots=True)
class DeleteVerdict:
    """What a complete enumeration decides about the known keys that it does not list.

    `deletes`: the keys to delete. `suspects`: the keys that are missing for the first time; the next enumeration
    decides about them. `fault`: why no key is deleted, else empty. `loss`: the missing keys as an operator may accept
    them, in case of a fault. `lost`: these keys themselves.
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
) -> DeleteVerdict:
    """Which of the `known` keys of `stream` (`source/stream`) a complete `enumeration` deletes.

    `suspects`: the keys that were missing from the previous enumeration, too. Only these are deleted, because a row
    that moves to another page during a listing is missing once. None: one enumeration is enough. `accepted`: the
    missing keys that an operator accepted, which are deleted at once.
    """
    if enumeration.unreadable:
        return DeleteVerdict(
            fault=f"no deletes: {enumeration.unreadable} listed records have no readable key, so it is not known which "
            "keys are missing. Next: read the dead letters, and compare the stream's key with what the source sends"
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
        return DeleteVerdict(fault=_shrunk(loss, stream), loss=loss, lost=frozenset(missing))
    if suspects is None:
        return DeleteVerdict(tuple(missing))
    deletes = tuple(key for key in missing if key in agreed or key in suspects)
    return DeleteVerdict(deletes, frozenset(rest) - suspects)


def _shrunk(loss: Loss, stream: str) -> str:
    source, _, name = stream.partition("/")
    return (
        f"no deletes: the source lists {loss.known - loss.keys} of {loss.known} known keys. Next: check that the "
        "stream's paging reaches the last page, and that the account may still read all records; if the other "
        f"{loss.keys} are truly deleted, `sluice deletes accept {source} {name}` deletes them, this once"
    )
