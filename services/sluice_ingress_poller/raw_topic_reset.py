"""A raw topic that was re-created or emptied: which keys it contained is no longer known.

A record that the source deleted meanwhile is in no listing, and no known key is missing from one. Its golden record
would stay forever. Therefore complete enumerations after a reset end with a sweep: every record from before the reset
is deleted, unless they list its key. A sweep has no exceptions, so it waits while a listed key is not in the topic.
"""

from __future__ import annotations

from typing import NamedTuple

from sluice.ingress.deletes import Loss
from sluice.position import Position
from sluice_ingress_poller.enumeration import ShrinkGuard


class RawTopicReset(NamedTuple):
    """`since`: every record from before the reset has a lower position, every record after it a higher one.

    `listed`: how many keys the last complete enumeration before the reset had; None if an older version of Sluice did
    not store the count.
    """

    since: Position
    listed: int | None


def why_not_swept(
    reset: RawTopicReset, listed: int, absent: int, guard: ShrinkGuard, accepted: str, stream: str
) -> tuple[str, Loss | None]:
    """Why an enumeration of `listed` keys, of which `absent` are not in the topic, may not sweep; empty if it may.

    A listed key is absent because its records are parked or withheld.

    The second value is the loss that an operator may accept, or has accepted: `accepted` is the digest of that one.
    """
    before = listed if reset.listed is None else reset.listed
    missing = max(0, before - listed)
    loss = Loss(missing + absent, max(before, listed), f"{reset.since} {missing} {absent}")
    if loss.digest == accepted:
        return "", loss
    if reset.listed is None:
        reason = f"the source lists {listed} keys, and how many it listed before is not known"
    elif not guard.allows(missing, before) or (before and not listed):
        reason = f"the source lists {listed} keys, and listed {before} before"
    elif absent:
        reason = f"{absent} of {listed} listed keys are not in it: their records are parked, or listed twice"
    else:
        return "", None
    source, _, name = stream.partition("/")
    return (
        f"no deletes: its raw topic was re-created or emptied, and {reason}. Next: see that it lists all, and fix what "
        f"is parked or listed twice; if what the topic lacks is truly deleted, `sluice deletes accept {source} {name}` "
        "deletes it, this once"
    ), loss
