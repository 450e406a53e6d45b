"""Enumerations: passes that list everything, the only ground on which a key may be called deleted.

A key is deleted when complete enumerations do not list it. An enumeration is complete only if no page failed for
good, every record had a readable key and nothing speaks for more pages (`wholeness`); what happened to a listed record
does not matter. One that misses more than the guard allows is an alarm, not a mass delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sluice.ingress.deletes import Loss


@dataclass(frozen=True, slots=True)
class ShrinkGuard:
    """An enumeration may miss at most the greater of `keys_min` and `fraction_max` of the known keys.

    `keys_min` is for sources of a few dozen keys. Of fewer it allows a quarter, and always one, so that the guard
    works from two keys on.
    """

    keys_min: int = 10
    fraction_max: float = 0.2

    def allows(self, missing: int, known: int) -> bool:
        return missing <= max(min(self.keys_min, max(1, known // 4)), known * self.fraction_max)


@dataclass(slots=True)
class Enumeration:
    """What one pass over everything has listed so far."""

    seen: set[bytes] = field(default_factory=set)
    unreadable: int = 0

    def list(self, key: bytes | None) -> None:
        """A record was listed under `key`, None if that cannot be read."""
        if key is None:
            self.unreadable += 1
        else:
            self.seen.add(key)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The loss that an operator accepted: its digest, and its keys where this process knows them still."""

    digest: str = ""
    keys: frozenset[bytes] = frozenset()

    def of(self, missing: list[bytes], loss: Loss) -> frozenset[bytes]:
        """Those of the `missing` keys that may go."""
        return frozenset(missing) if loss.digest == self.digest else self.keys & frozenset(missing)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`deletes`: keys that are gone. `suspects`: missing for the first time, to be looked for once more.
    `alarm`: why nothing is deleted, empty otherwise; `loss` and `lost`: what an operator may accept then.
    """

    deletes: tuple[bytes, ...] = ()
    suspects: frozenset[bytes] = frozenset()
    alarm: str = ""
    loss: Loss | None = None
    lost: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a verdict rests on beside the listing. `suspects` were missing from the enumeration before. `looks` 2 asks
    for two enumerations in a row: rows that shift between pages while a pass runs look deleted once.
    """

    stream: str
    guard: ShrinkGuard
    looks: int
    suspects: frozenset[bytes] = frozenset()
    accepted: Accepted = Accepted()


def judge(enumeration: Enumeration, known: Iterable[bytes], grounds: Grounds) -> Verdict:
    """What a finished enumeration says about the `known` keys."""
    if enumeration.unreadable:
        return Verdict(
            alarm=f"no deletes: {enumeration.unreadable} listed records have no readable key and may be any of those "
            "missing. Next: see the dead letters, then compare the stream's key with what the source sends"
        )
    count, missing = 0, []
    for key in known:
        count += 1
        if key not in enumeration.seen:
            missing.append(key)
    loss = Loss.of(missing, count)
    agreed = grounds.accepted.of(missing, loss)
    rest = [key for key in missing if key not in agreed]
    empty = not enumeration.seen and bool(rest)
    if empty or not grounds.guard.allows(len(rest), count - len(agreed)):
        return Verdict(alarm=_shrunk(loss, grounds.stream), loss=loss, lost=frozenset(missing))
    if grounds.looks <= 1:
        return Verdict(tuple(missing))
    gone = tuple(key for key in missing if key in agreed or key in grounds.suspects)
    return Verdict(gone, frozenset(rest) - grounds.suspects)


def _shrunk(loss: Loss, stream: str) -> str:
    source, _, name = stream.partition("/")
    return (
        f"no deletes: the source lists {loss.known - loss.keys} of {loss.known} known keys. Next: see that the "
        "stream's paging reaches the last page, and that the account may still read all records; if the other "
        f"{loss.keys} are truly gone, `sluice deletes accept {source} {name}` deletes them, this once"
    )
