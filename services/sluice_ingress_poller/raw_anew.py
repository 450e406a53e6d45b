"""A raw topic that was deleted and made again, or emptied: which keys stood in it is not known any more.

What the source deleted meanwhile is in no listing, and no key is known that one could miss: its golden record would
stay for ever. So the first whole listing behind such a loss ends with a sweep: whatever stands from before is gone,
unless that listing had it.
"""

from __future__ import annotations

from typing import NamedTuple

from sluice.position import Position
from sluice.stage.deletes import Loss
from sluice_ingress_poller.enumeration import ShrinkGuard


class RawAnew(NamedTuple):
    """`since`: every record of before has a lower position, every record in the topic a higher one. `listed`: how many
    keys the last whole listing had, None where that is not known."""

    since: Position
    listed: int | None


def why_not_swept(anew: RawAnew, seen: int, guard: ShrinkGuard, accepted: str, stream: str) -> tuple[str, Loss | None]:
    """Why a listing of `seen` keys may not sweep what it lacks, and the loss that an operator may accept; an empty text
    where it may. `accepted`: the digest of the loss that was."""
    before = seen if anew.listed is None else anew.listed
    missing = max(0, before - seen)
    loss = Loss(missing, before, f"{anew.since} {missing}")
    may_be_empty = anew.listed == 0
    if loss.digest == accepted or ((seen or may_be_empty) and guard.allows(missing, before)):
        return "", None
    source, _, name = stream.partition("/")
    told = f"{seen} keys" if anew.listed is None else f"{seen} keys, and listed {before} before"
    return (
        f"no deletes: its raw topic was made again or emptied, and the source lists {told}. Next: see that it lists "
        f"all; if the others are truly gone, `sluice deletes accept {source} {name}` deletes them, this once"
    ), loss
