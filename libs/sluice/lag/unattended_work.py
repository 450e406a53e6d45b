"""Finds streams, sources and input topics that no process works on. A process that does not run cannot report this.

The decision uses two kinds of facts. Durable facts are the age of watermarks and of unread records. Facts about
processes are the members of the consumer groups (ingress-poller also has one) and the readers of the replication slots.
Neither kind is enough alone: a process that restarts is away for some seconds, and a process that runs may wait for a
good reason, which it reports itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sluice.lag.measure import StageLag
from sluice.lag.sources import SourceLag
from sluice.names import INGRESS_CDC, INGRESS_POLLER
from sluice.telemetry.fault_record import REPEATED_EVERY_S, FaultRecord
from sluice.telemetry.health import PROCESS

# A process that is restarted works again after this time.
AWAY_S = 10.0
# If pollers run, a stream counts as not polled if its last answer is older than both limits: this time, and this
# multiple of the stream's freshness.
NOT_POLLED_S = 120.0
NOT_POLLED_FRESHNESSES = 10
REPEATED_WITHIN_S = REPEATED_EVERY_S + AWAY_S


class UnattendedWork(NamedTuple):
    """Work of `stage` that no process does: the reason (`why`) and what an operator does (`next_step`).

    `since_s`: when a process last worked, or since when records wait, in Unix seconds; None if unknown.
    """

    stage: str
    why: str
    next_step: str
    since_s: float | None


def unattended_work(
    pollers: int | None,
    sources: Sequence[SourceLag],
    stages: Sequence[StageLag],
    faults: Sequence[FaultRecord],
    now_s: float,
) -> list[UnattendedWork]:
    """The work that no process does, in the order of the flow.

    `pollers`: the number of members of ingress-poller's group, None if not known. `sources` and `stages`: their lag.
    `faults`: the active faults; a process that still repeats a fault is running. `now_s`: Unix seconds.
    """
    found = list(_without_poller(pollers, sources, now_s)) or list(_not_polled(pollers, sources, faults, now_s))
    if not any(one.stage == INGRESS_CDC and _is_repeated(one, now_s) for one in faults):
        found += _not_followed(sources, now_s)
    return found + [one for stage in stages if (one := _without_member(stage, now_s)) is not None]


def _without_poller(pollers: int | None, sources: Sequence[SourceLag], now_s: float) -> Iterable[UnattendedWork]:
    streams = [one for one in sources if one.kind == "poll"]
    silent = [one for one in streams if one.silent]
    # If other streams had an answer, a stream without any may just have been added to the pipeline file.
    never = [one for one in streams if one.seen_age_s is None]
    if pollers != 0 or not (silent or (never and len(never) == len(streams))):
        return
    names = ", ".join(f"{one.source}.{one.stream}" for one in streams if one in silent or one in never)
    why = f"no process polls {names}: ingress-poller's group has no member"
    yield UnattendedWork(INGRESS_POLLER, why, f"start `sluice run {INGRESS_POLLER}`", _last_sign_s(silent, now_s))


def _not_polled(
    pollers: int | None, sources: Sequence[SourceLag], faults: Sequence[FaultRecord], now_s: float
) -> Iterable[UnattendedWork]:
    """Streams that no running poller polls, although no poller reports a fault about them.

    For example, the pollers have not read the new pipeline file yet.
    """
    reported = [one for one in faults if one.stage == INGRESS_POLLER and _is_repeated(one, now_s)]
    # A fault about a shard, the group or the lag explains why any stream is not polled.
    if not pollers or any("/" not in one.about for one in reported):
        return
    for one in sources:
        allowed_s = max(NOT_POLLED_S, NOT_POLLED_FRESHNESSES * one.seen_every_s)
        if one.kind != "poll" or one.seen_age_s is None or one.seen_age_s < allowed_s:
            continue
        if any(fault.about.startswith(f"{one.source}/{one.stream} ") for fault in reported):
            continue
        why = f"{one.source}.{one.stream} has no answer, though {pollers} pollers run and report no fault about it"
        next_step = (
            "see whether the stages behind it lag far (then the metric `sluice_ingress_backpressure` is 2, and polling "
            "waits for them); else restart ingress-poller with this pipeline file, which it may not have read yet"
        )
        yield UnattendedWork(INGRESS_POLLER, why, next_step, now_s - one.seen_age_s)


def _not_followed(sources: Sequence[SourceLag], now_s: float) -> Iterable[UnattendedWork]:
    for one in sources:
        if one.kind == "cdc" and one.attended is False and (one.silent or one.seen_age_s is None):
            why = f"no process follows source {one.source}: its slot has no reader"
            yield UnattendedWork(INGRESS_CDC, why, f"start `sluice run {INGRESS_CDC}`", _last_sign_s([one], now_s))


def _is_repeated(fault: FaultRecord, now_s: float) -> bool:
    return fault.about != PROCESS and now_s - fault.at_us / 1e6 < REPEATED_WITHIN_S


def _without_member(stage: StageLag, now_s: float) -> UnattendedWork | None:
    unread = stage.total
    if stage.members != 0 or not unread.records or unread.age_s(now_s) < AWAY_S:
        return None
    topics = sorted({at[0] for at, one in stage.partitions.items() if one.records})
    why = f"no process reads {', '.join(topics)}, where records wait: group {stage.group} has no member"
    start = f"start `sluice run {stage.stage}`" + (f" with SLUICE_SINK={stage.sink}" if stage.sink else "")
    start += "; if its process runs, it hangs: end it first"
    return UnattendedWork(stage.stage, why, start, None if unread.oldest_ms is None else unread.oldest_ms / 1000)


def _last_sign_s(several: Sequence[SourceLag], now_s: float) -> float | None:
    ages = [one.seen_age_s for one in several if one.seen_age_s is not None]
    return now_s - min(ages) if ages else None
