"""What nobody works at: streams, sources and inputs whose process does not run. A process that is gone tells no fault.

Decided from what is durable and from who is there: members of the consumer groups (ingress-poller has one too), and
whether somebody reads a followed source's slot. Neither alone is enough: a process that starts again is away for some
seconds, and one that runs may wait for good reasons, which it tells itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sluice.lag.measure import StageLag
from sluice.lag.sources import SourceLag
from sluice.names import INGRESS_CDC, INGRESS_POLLER
from sluice.telemetry.fault_record import REPEATED_EVERY_S, FaultRecord
from sluice.telemetry.health import PROCESS

# A process that is restarted is back by then.
AWAY_S = 10.0
# A stream whose answers are this much older than its freshness is not polled, whoever is in the group.
FORGOTTEN_S = 120.0
FORGOTTEN_FRESHNESSES = 10
REPEATED_WITHIN_S = REPEATED_EVERY_S + AWAY_S


class UnattendedWork(NamedTuple):
    """Work of `stage` that no process does. `since_s` (Unix s): the last sign of one, None where there never was."""

    stage: str
    why: str
    next_step: str
    since_s: float | None

    def to_json(self) -> dict[str, Any]:
        return self._asdict()


def unattended(
    pollers: int | None,
    sources: Sequence[SourceLag],
    stages: Sequence[StageLag],
    faults: Sequence[FaultRecord],
    now_s: float,
) -> list[UnattendedWork]:
    """In the order of the flow. `pollers`: members of ingress-poller's group; None, as elsewhere, if not known.
    `faults`: those that stand; whoever repeats one runs."""
    found = list(_polled(pollers, sources, now_s)) or list(_forgotten(pollers, sources, faults, now_s))
    if not any(one.stage == INGRESS_CDC and _repeated(one, now_s) for one in faults):
        found += _followed(sources, now_s)
    return found + [one for stage in stages if (one := _stage(stage, now_s)) is not None]


def _polled(pollers: int | None, sources: Sequence[SourceLag], now_s: float) -> Iterable[UnattendedWork]:
    streams = [one for one in sources if one.kind == "poll"]
    silent = [one for one in streams if one.silent]
    # A stream that has no answer yet may have been declared just now, where others had one.
    never = [one for one in streams if one.seen_age_s is None]
    if pollers != 0 or not (silent or (never and len(never) == len(streams))):
        return
    names = ", ".join(f"{one.source}.{one.stream}" for one in streams if one in silent or one in never)
    why = f"nobody polls {names}: no process is in the poller's group"
    yield UnattendedWork(INGRESS_POLLER, why, f"start `sluice run {INGRESS_POLLER}`", _last_sign(silent, now_s))


def _forgotten(
    pollers: int | None, sources: Sequence[SourceLag], faults: Sequence[FaultRecord], now_s: float
) -> Iterable[UnattendedWork]:
    """Streams that the pollers that run do not know, or may not ask, without a word about it."""
    told = [one for one in faults if one.stage == INGRESS_POLLER and _repeated(one, now_s)]
    if not pollers or any("/" not in one.about for one in told):  # a shard, the group, the lag: that is why
        return
    for one in sources:
        allowed_s = max(FORGOTTEN_S, FORGOTTEN_FRESHNESSES * one.seen_every_s)
        if one.kind != "poll" or one.seen_age_s is None or one.seen_age_s < allowed_s:
            continue
        if any(fault.about.startswith(f"{one.source}/{one.stream} ") for fault in told):
            continue
        why = f"{one.source}.{one.stream} has no answer, though {pollers} pollers run and tell no fault of it"
        start = (
            "see whether the stages behind it lag far (the metric `sluice_ingress_backpressure` is 2 then, and polling "
            "waits for them); else restart ingress-poller with this pipeline file, which it may not have read yet"
        )
        yield UnattendedWork(INGRESS_POLLER, why, start, now_s - one.seen_age_s)


def _followed(sources: Sequence[SourceLag], now_s: float) -> Iterable[UnattendedWork]:
    for one in sources:
        if one.kind == "cdc" and one.attended is False and (one.silent or one.seen_age_s is None):
            why = f"nobody follows source {one.source}: no process reads its slot"
            yield UnattendedWork(INGRESS_CDC, why, f"start `sluice run {INGRESS_CDC}`", _last_sign([one], now_s))


def _repeated(fault: FaultRecord, now_s: float) -> bool:
    return fault.about != PROCESS and now_s - fault.at_us / 1e6 < REPEATED_WITHIN_S


def _stage(stage: StageLag, now_s: float) -> UnattendedWork | None:
    unread = stage.total
    if stage.members != 0 or not unread.records or unread.age_s(now_s) < AWAY_S:
        return None
    topics = sorted({at[0] for at, one in stage.partitions.items() if one.records})
    why = f"nobody reads {', '.join(topics)}, which records wait in: group {stage.group} has no member"
    start = f"start `sluice run {stage.stage}`" + (f" with SLUICE_SINK={stage.sink}" if stage.sink else "")
    start += "; if its process is there, it hangs: end it first"
    return UnattendedWork(stage.stage, why, start, None if unread.oldest_ms is None else unread.oldest_ms / 1000)


def _last_sign(several: Sequence[SourceLag], now_s: float) -> float | None:
    ages = [one.seen_age_s for one in several if one.seen_age_s is not None]
    return now_s - min(ages) if ages else None
