"""The reset of a raw topic: it was re-created or emptied, so the keys that it contained are no longer known.

If the source deletes a record around the reset, its key is not known, so no enumeration can miss it. Its golden record
would stay forever. Therefore complete enumerations after a reset end with a sweep: it deletes every key that has no
record from after the reset. The sweep waits while a listed key has no record in the topic, because it would delete
this key, too.
"""

from __future__ import annotations

from typing import NamedTuple

from sluice.ingress.deletes import Loss
from sluice.position import Position
from sluice_ingress_poller.enumeration import ShrinkGuard


class RawTopicReset(NamedTuple):
    """The reset of a raw topic. `since`: the position between the records from before and after the reset.

    `listed`: how many keys the last complete enumeration before the reset had; None if an older version of Sluice did
    not store the count.
    """

    since: Position
    listed: int | None


def why_not_swept(
    reset: RawTopicReset, listed: int, absent: int, guard: ShrinkGuard, accepted: str, stream: str
) -> tuple[str, Loss | None]:
    """Whether a complete enumeration may sweep a raw topic that was reset: the fault that forbids it, and the loss.

    The fault is empty if the sweep is allowed. `listed`: how many keys the enumeration lists. `absent`: how many of
    these have no record in the topic, because their records are parked or withheld. `accepted`: the digest of the loss
    that an operator accepted, or empty. The returned loss is the one that an operator may accept, or has accepted; None
    if the sweep needs no acceptance.
    """
    before = listed if reset.listed is None else reset.listed
    missing = max(0, before - listed)
    loss = Loss(missing + absent, max(before, listed), f"{reset.since} {missing} {absent}")
    if loss.digest == accepted:
        return "", loss
    if reset.listed is None:
        reason = f"the source lists {listed} keys, and how many it listed before is not known"
    elif not guard.allows(missing, before) or (before and not listed):
        reason = f"the source lists {listed} keys, but listed {before} before"
    elif absent:
        reason = f"{absent} of {listed} listed keys are not in it, because their records are parked or listed twice"
    else:
        return "", None
    source, _, name = stream.partition("/")
    return (
        f"no deletes: the stream's raw topic was re-created or emptied, and {reason}. Next: check that the source "
        "lists all records, and fix those that are parked or listed twice. If the records that the topic lacks are "
        f"truly deleted, `sluice deletes accept {source} {name}` deletes them, this once"
    ), loss
