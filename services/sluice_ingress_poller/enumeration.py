"""Enumerations: passes that list everything, the only ground on which a key may be called deleted.

A key is deleted when complete enumerations do not list it. An enumeration is complete only if no page failed for
good and every record had a readable key; what happened to a listed record does not matter. One that misses more
than the guard allows is an alarm, not a mass delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ShrinkGuard:
    """An enumeration may miss at most the greater of `keys_min` and `fraction_max` of the known keys."""

    keys_min: int = 10
    fraction_max: float = 0.2

    def allows(self, missing: int, known: int) -> bool:
        return missing <= max(self.keys_min, known * self.fraction_max)


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
class Verdict:
    """`deletes`: keys that are gone. `suspects`: missing for the first time, to be looked for once more.
    `alarm`: why nothing is deleted, empty otherwise.
    """

    deletes: tuple[bytes, ...] = ()
    suspects: frozenset[bytes] = frozenset()
    alarm: str = ""


def judge(
    enumeration: Enumeration,
    known: Iterable[bytes],
    suspects: frozenset[bytes],
    guard: ShrinkGuard,
    looks: int,
) -> Verdict:
    """What a finished enumeration says about the `known` keys; `suspects` were missing in the one before.

    `looks` 2 asks for two enumerations in a row: rows that shift between pages while a pass runs look deleted once.
    """
    if enumeration.unreadable:
        return Verdict(
            alarm=f"no deletes: {enumeration.unreadable} listed records have no readable key and may be any of those "
            "missing; see the dead letters"
        )
    count, missing = 0, []
    for key in known:
        count += 1
        if key not in enumeration.seen:
            missing.append(key)
    if not guard.allows(len(missing), count):
        return Verdict(
            alarm=f"no deletes: the source lists {count - len(missing)} of {count} known keys. If that is right, run "
            "once with SLUICE_POLLER__SHRINK_FRACTION_MAX=1"
        )
    if looks <= 1:
        return Verdict(tuple(missing))
    return Verdict(
        tuple(key for key in missing if key in suspects), frozenset(key for key in missing if key not in suspects)
    )
