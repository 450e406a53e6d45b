"""The verification: ends are taken once, every stage is waited for, then each link is recomputed and compared.

source → raw → contributions → canonical → table, and with them I2, I4, I5 and I6. Nothing is written and no group is
joined, so it may run beside a working pipeline: what differs is looked for again behind the ends before it counts.
What cannot be judged is said: a source that is not followed or may not be read, an alarm that stands.

Memory: 16 bytes for each visible raw record, 8 for every other, 32 for a ledger line; about half a kilobyte for each
claim that must stand; and the values of one round of partitions (50,000 offsets, or one partition where that is
more). Time: each log is read once, raw twice; each raw record that is the newest of its key so far is mapped once.
Disk (TMPDIR): a key, 8 bytes for each column and 60 more, for each raw record of one table and each of its rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import orjson

from sluice.golden.rows import ledger_lines
from sluice.kafka.log import Partition
from sluice.kafka.topics import Topics
from sluice.lag import committed_offsets
from sluice.names import MAPPER
from sluice.pipeline import Pipeline
from sluice.settings.stage import StageSettings
from sluice.verify import scan_ledger
from sluice.verify.candidates import Candidate, settle_candidates
from sluice.verify.claims import MapperFacts, missing
from sluice.verify.context import OpenSink, VerifyContext
from sluice.verify.entity_links import EntityLinks
from sluice.verify.entity_round import ProcessedOffsets
from sluice.verify.faults import active_faults
from sluice.verify.group_progress import wait_for_group
from sluice.verify.report import NotLookedAt, Report
from sluice.verify.scan_raw import RawScan, raw_inputs, scan_raw
from sluice.verify.source_link import SourceLink
from sluice.verify.visible import VisibleOffsets

ALARMS_AGAIN_AFTER_S = 0.5
ALARMS_TOLD_EVERY_S = 5.0
# A process that was started again ends its predecessor's alarms within some ten seconds on a quiet machine.
ALARMS_END_WITHIN_S = 60.0

Progress = Callable[[str], None]
Offsets = dict[Partition, int]


def verify(
    pipeline: Pipeline,
    settings: StageSettings,
    *,
    wait_s: float = 30.0,
    sources: bool = True,
    progress: Progress = lambda line: None,
) -> Report:
    """Check a pipeline up to the ends of its raw topics, and its followed tables, as they stand now.

    `wait_s`: how long to wait in all for stages that have not come so far; what they do not reach is `pending` or
    `not_looked_at`. `sources` False leaves the tables of sources unread. `progress` is told in a line what is looked
    at. Raises EnvironmentFault (a topic, table or schema of ours is missing, a server is down) and Transient (an open
    transaction stands in the way); what a source refuses is told in the report.
    """
    began = time.monotonic()
    with ExitStack() as opened:
        scope = VerifyContext.of(pipeline, settings, opened)
        link = SourceLink(scope, opened, progress, leave_out=not sources)
        link.read()
        _run(scope, opened, began + wait_s, progress)
        link.compare(began + wait_s)
        scope.report.not_looked_at += [*_retired(scope), *_alarms(scope, began + wait_s, progress)]
    scope.report.seconds = time.monotonic() - began
    return scope.report


def _alarms(scope: VerifyContext, give_up_at: float, progress: Progress) -> list[NotLookedAt]:
    """The alarms that stand, once those have ended that end by themselves within the time."""
    give_up_at = min(give_up_at, time.monotonic() + ALARMS_END_WITHIN_S)
    tell_at = 0.0
    while True:
        standing = active_faults(Topics(scope.admin), scope.reader, scope.pipeline.names)
        now = time.monotonic()
        if not standing or now >= give_up_at:
            return standing
        if now >= tell_at:
            tell_at = now + ALARMS_TOLD_EVERY_S
            first = min(one.what for one in standing)
            progress(f"waiting up to {give_up_at - now:.0f} s for alarms to end, {len(standing)} in all: {first}")
        time.sleep(ALARMS_AGAIN_AFTER_S)


def _retired(scope: VerifyContext) -> list[NotLookedAt]:
    """What stands of streams that no mapping reads any more: nothing says whether it is right."""
    claims = scope.report.checked["retired"]
    if not claims:
        return []
    return [
        NotLookedAt(
            "values of streams or mappings that the pipeline does not have any more",
            f"{claims} claims stand in contributions, and are neither updated nor retracted",
            "map their streams again; or have them retracted: docs/how-to/change-a-mapping.md, `A source goes`",
        )
    ]


def _run(scope: VerifyContext, opened: ExitStack, give_up_at: float, progress: Progress) -> None:
    ends, done = _settled(scope, give_up_at, progress)
    mapper, merger, *sinks = scope.stages
    committed = {
        stage.group: committed_offsets(scope.kafka, stage.group, scope.partitions_of(stage)) for stage in scope.stages
    }
    # A sink that never began has no tables yet; all that it has to do is pending.
    open_sinks = [scope.open_sink(stage, opened) for stage in sinks if committed[stage.group]]
    progress("reading raw records")
    raw = scan_raw(scope.reader, raw_inputs(scope.pipeline, scope.mappings), done[mapper.group])
    facts = _facts(scope, raw)
    visible = VisibleOffsets(ends[merger.group] | _canonical_ends(scope, ends))
    links = EntityLinks(
        scope, raw, ProcessedOffsets(done[merger.group], {s.sink: done[s.group] for s in sinks}), visible, open_sinks
    )
    for contract in scope.contracts.values():
        progress(f"comparing {contract.name}")
        links.check(contract, facts)
    progress("reading the ledger")
    ledgers = _ledgers(scope, open_sinks, committed)
    _recount(scope, ledgers, raw, visible)
    _missing(scope, raw, facts, ledgers)
    progress("looking again at what differs")
    settle_candidates(scope.reader, scope.candidates, raw.raw.ends | visible.ends, scope.report)
    scope.report.checked |= {"raw records": len(raw.raw), "source keys": raw.keys}


def _settled(
    scope: VerifyContext, give_up_at: float, progress: Progress
) -> tuple[dict[str, Offsets], dict[str, Offsets]]:
    """By group: the ends of its input, and how far of it may be judged.

    The ends of what a stage writes are taken only after it has done its own input up to the ends taken before.
    """
    ends: dict[str, Offsets] = {}
    done: dict[str, Offsets] = {}
    for stage in scope.stages:
        progress(f"waiting for {stage.group} to reach the ends")
        ends[stage.group] = scope.reader.ends(scope.partitions_of(stage))
        done[stage.group], pending = wait_for_group(
            scope.kafka, scope.reader, stage.group, ends[stage.group], give_up_at
        )
        scope.report.pending += pending
    return ends, done


def _canonical_ends(scope: VerifyContext, ends: Mapping[str, Offsets]) -> Offsets:
    """How far canonical is read: to the first ends taken, if several sinks read it; to its end, if none does."""
    taken = [ends[stage.group] for stage in scope.stages[2:]]
    if taken:
        return taken[0]
    topics = [scope.pipeline.names.canonical(entity) for entity in scope.contracts]
    return scope.reader.ends([(topic, p) for topic in topics for p in range(scope.pipeline.partitions)])


def _facts(scope: VerifyContext, raw: RawScan) -> MapperFacts:
    letters = scope.dead_letters(MAPPER)
    for at, source_key in raw.must_be_dead:
        if at in letters.places or letters.expired:
            scope.report.checked["parked raw records"] += 1
            continue
        what = "cannot be mapped, and no dead letter of the mapper tells of it"
        watched = ((at.topic, at.partition), source_key)
        scope.candidates.append(Candidate("raw-contributions", at.place, source_key, what, watched))
    versions = {(m.source, m.stream, m.name): m.version for m in scope.mappings}
    return MapperFacts(versions, raw.parked, letters.places, raw.raw.ends)


def _ledgers(scope: VerifyContext, sinks: list[OpenSink], committed: Mapping[str, Offsets]) -> scan_ledger.Ledgers:
    ledgers = scan_ledger.new_ledgers(scope.stages, scope.pipeline.partitions)
    scan_ledger.feed(ledgers, scan_ledger.topic_lines(scope.reader, scope.pipeline.names.ledger), scope.report)
    for sink in sinks:
        scan_ledger.feed(ledgers, ledger_lines(sink.connection, sink.schema), scope.report)
    for group, offsets in committed.items():
        scan_ledger.check_reach(ledgers, group, offsets, scope.report)
    return ledgers


def _recount(scope: VerifyContext, ledgers: scan_ledger.Ledgers, raw: RawScan, visible: VisibleOffsets) -> None:
    for log in (raw.raw, visible):
        young = scan_ledger.young_offsets(scope.admin, scope.reader, list(log.ends))
        scan_ledger.recount(ledgers, log, young, scope.report)


def _missing(scope: VerifyContext, raw: RawScan, facts: MapperFacts, ledgers: scan_ledger.Ledgers) -> None:
    """What still must stand after every contribution was met."""
    group = scope.stages[0].group
    for key, expected in raw.expected.items():
        at = (expected.raw.topic, expected.raw.partition)
        _, _, _, source_key, mapping, _ = orjson.loads(key)
        version = ledgers[group, at].version_at(expected.raw.offset, mapping)
        verdict = missing(expected, facts, version)
        if verdict.kind == "finding":
            where = expected.raw.place
            scope.candidates.append(Candidate("raw-contributions", where, key.decode(), verdict.what, (at, source_key)))
        else:
            scope.report.checked[verdict.kind] += 1
