"""A raw topic that was deleted and made again, or emptied: which keys stood in it is not known any more.

What the source deleted meanwhile is in no listing, and no key is known that one could miss: its golden record would
stay for ever. So whole listings behind such a loss end with a sweep: what stands from before is gone, unless they had
it. A sweep knows no exceptions, so nothing is swept while a key that is listed is not in the topic.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from typing import NamedTuple

from sluice.ingress.deletes import Loss
from sluice.position import Position
from sluice_ingress_poller.enumeration import ShrinkGuard
from sluice_ingress_poller.known_keys import KnownKeys


class RawAnew(NamedTuple):
    """`since`: every record of before has a lower position, every record in the topic a higher one. `listed`: how many
    keys the last whole listing before the loss had, None where an older version of Sluice did not write it."""

    since: Position
    listed: int | None


def unpublished(seen: Collection[bytes], published: Set[bytes], known: KnownKeys) -> int:
    """How many keys of a listing have no record in the topic: parked, or withheld. `published`: with its last page."""
    return sum(key not in published and known.get(key) is None for key in seen)


def why_not_swept(
    anew: RawAnew, seen: int, absent: int, guard: ShrinkGuard, accepted: str, stream: str
) -> tuple[str, Loss | None]:
    """Why a listing of `seen` keys, of which `absent` are not in the topic, may not sweep; an empty text where it may.
    And the loss that an operator may accept then, or did: `accepted` is the digest of that one."""
    before = seen if anew.listed is None else anew.listed
    missing = max(0, before - seen)
    loss = Loss(missing + absent, max(before, seen), f"{anew.since} {missing} {absent}")
    if loss.digest == accepted:
        return "", loss
    if anew.listed is None:
        told = f"the source lists {seen} keys, and how many it listed before is not known"
    elif not guard.allows(missing, before) or (before and not seen):
        told = f"the source lists {seen} keys, and listed {before} before"
    elif absent:
        told = f"{absent} of {seen} listed keys are not in it: their records are parked, or listed twice"
    else:
        return "", None
    source, _, name = stream.partition("/")
    return (
        f"no deletes: its raw topic was made again or emptied, and {told}. Next: see that it lists all, and mend what "
        f"is parked or listed twice; if what the topic lacks is truly gone, `sluice deletes accept {source} {name}` "
        "deletes it, this once"
    ), loss
