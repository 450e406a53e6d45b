"""The verification: it notes the ends of the logs, waits for every stage, then recomputes each link and compares it.

The links are source → raw → contributions → canonical → table; the invariants I2, I4, I5 and I6 are checked with them.
A verification writes nothing and joins no group, so it may run while the stages work: a difference is a finding only if
its input did not change meanwhile. The report names what cannot be judged, such as a source that is not followed.

Memory: 16 bytes for each visible raw record, 8 bytes for each visible record of another topic, 32 bytes for a ledger
line, about half a kilobyte for each claim that must exist, and the values of one round of partitions (50,000 offsets,
or one partition if it has more). Time: each log is read once, raw twice. A raw record is mapped once if it is newer
than the records of its key before it. Disk (TMPDIR): for each raw record of one table and for each row of the table,
its key, 8 bytes per column and 60 bytes.
"""

from __future__ import annotations

import time
from collections.abc import Container, Mapping
from contextlib import ExitStack

import orjson

from sluice.kafka.log import Partition
from sluice.lag import committed_offsets
from sluice.lag.faults import active_faults
from sluice.names import MAPPER
from sluice.pipeline import Pipeline
from sluice.provenance import RawRef
from sluice.settings.stage import StageSettings
from sluice.times import text_of_us
from sluice.verify.candidates import Candidate, confirm_candidates
from sluice.verify.claims import ClaimVerdict, MapperFacts, missing, not_parked
from sluice.verify.context import DeadLetterOrigins, VerifyContext
from sluice.verify.entity_links import EntityLinks
from sluice.verify.group_progress import wait_for_group
from sluice.verify.ledger import LedgerCheck
from sluice.verify.offsets import VisibleOffsets
from sluice.verify.report import NotChecked, Report
from sluice.verify.scan_raw import RawScan, scan_raw
from sluice.verify.source_link import Progress, SourceLink

FAULTS_CHECKED_EVERY_S = 0.5
FAULTS_SHOWN_EVERY_S = 5.0
# A restarted process resolves the faults of the process before it within some ten seconds on an idle machine.
FAULTS_RESOLVED_WITHIN_S = 60.0

Offsets = dict[Partition, int]


def verify(
    pipeline: Pipeline,
    settings: StageSettings,
    *,
    wait_s: float = 30.0,
    sources: bool = True,
    progress: Progress = lambda line: None,
) -> Report:
    """Check a pipeline up to the present ends of its raw topics, and its followed tables as they are now.

    `wait_s`: how long to wait, in total, for stages that lag. What they have not processed then is in `pending` or
    `not_checked` of the report. `sources`: whether the tables of sources are read. `progress` is called with one line
    for each step.

    Blocks. Raises EnvironmentFault if a topic, table or schema of Sluice is missing or a server is down, and Transient
    if a transaction stays open. An error of a source database is in the report instead.
    """
    started_at = time.monotonic()
    with ExitStack() as opened:
        context = VerifyContext.of(pipeline, settings, opened)
        link = SourceLink(context, opened, progress, leave_out=not sources)
        link.read()
        _check_links(context, opened, started_at + wait_s, progress)
        link.compare(started_at + wait_s)
        _note_retired(context)
        context.report.not_checked += _wait_for_faults(context, started_at + wait_s, progress)
    context.report.seconds = time.monotonic() - started_at
    return context.report


def _wait_for_faults(context: VerifyContext, give_up_at: float, progress: Progress) -> list[NotChecked]:
    """The faults that are still active after a wait, because some faults are resolved without an operator."""
    give_up_at = min(give_up_at, time.monotonic() + FAULTS_RESOLVED_WITHIN_S)
    show_at = 0.0
    while True:
        active = _faults(context)
        now = time.monotonic()
        if not active or now >= give_up_at:
            return active
        if now >= show_at:
            show_at = now + FAULTS_SHOWN_EVERY_S
            first = min(one.what for one in active)
            progress(f"waiting up to {give_up_at - now:.0f} s for {len(active)} faults to be resolved, first: {first}")
        time.sleep(FAULTS_CHECKED_EVERY_S)


def _faults(context: VerifyContext) -> list[NotChecked]:
    """One entry for each active fault: its subject is not verified, even if the logs are right."""
    found, active = active_faults(context.reader, context.pipeline.names), []
    for one in found.faults:
        because = f"active since {text_of_us(one.since_us, 'seconds')}: {one.why}"
        active.append(NotChecked(f"fault of {one.stage}/{one.instance}/{one.about}", because, ""))
    if found.unknown:
        why, _, next_step = found.unknown.partition(". Next: ")
        active.append(NotChecked("faults that the stages reported", f"not all are known: {why}", next_step))
    return active


def _note_retired(context: VerifyContext) -> None:
    """Report the claims of streams that no mapping reads any more: it is not known whether they are right."""
    if claims := context.report.checked["retired"]:
        what = "values of streams or mappings that the pipeline does not have any more"
        because = f"contributions have {claims} claims of them, which are neither updated nor retracted"
        next_step = "map their streams again; or have them retracted: docs/how-to/change-a-mapping.md, `A source goes`"
        context.report.not_checked.append(NotChecked(what, because, next_step))


def _check_links(context: VerifyContext, opened: ExitStack, give_up_at: float, progress: Progress) -> None:
    ends, done = _wait_for_stages(context, give_up_at, progress)
    mapper, merger, *sinks = context.stages
    committed = {
        stage.group: committed_offsets(context.kafka, stage.group, context.partitions_of(stage.topics))
        for stage in context.stages
    }
    # A sink that never started has no tables yet. All of its input is reported as pending.
    open_sinks = [context.open_sink(stage, done[stage.group], opened) for stage in sinks if committed[stage.group]]
    progress("reading raw records")
    raw = scan_raw(context, done[mapper.group])
    dead = context.dead_letters(MAPPER)
    facts = _mapper_facts(context, raw, dead.places)
    visible = VisibleOffsets(ends[merger.group] | _canonical_ends(context, ends))
    links = EntityLinks(context, raw, facts, done[merger.group], visible, open_sinks)
    for contract in context.contracts.values():
        progress(f"comparing {contract.name}")
        links.check(contract)
    progress("reading the ledger")
    ledgers = LedgerCheck(context)
    ledgers.read(open_sinks, committed)
    ledgers.recount(raw.raw)
    ledgers.recount(visible)
    _check_missing(context, raw, facts, ledgers)
    _check_parked(context, raw, dead, ledgers)
    progress("checking the differences again")
    confirm_candidates(context.reader, context.candidates, raw.raw.ends | visible.ends, context.report)
    context.report.checked |= {"raw records": len(raw.raw), "source keys": raw.keys}


def _wait_for_stages(
    context: VerifyContext, give_up_at: float, progress: Progress
) -> tuple[dict[str, Offsets], dict[str, Offsets]]:
    """Wait for every stage. Returns by group the ends of its input, and the offsets up to which it may be judged.

    The ends of a stage's output are noted only after the stage has processed its input up to the noted ends.
    """
    ends: dict[str, Offsets] = {}
    done: dict[str, Offsets] = {}
    for stage in context.stages:
        progress(f"waiting for {stage.group} to reach the ends")
        ends[stage.group] = context.reader.ends(context.partitions_of(stage.topics))
        done[stage.group], pending = wait_for_group(
            context.kafka, context.reader, stage.group, ends[stage.group], give_up_at
        )
        context.report.pending += pending
    return ends, done


def _canonical_ends(context: VerifyContext, ends: Mapping[str, Offsets]) -> Offsets:
    """The offsets up to which canonical is read: the noted ends of the first sink; without a sink, the present ends."""
    sinks = context.stages[2:]
    if sinks:
        return ends[sinks[0].group]
    return context.reader.ends(context.partitions_of(tuple(map(context.pipeline.names.canonical, context.contracts))))


def _mapper_facts(context: VerifyContext, raw: RawScan, dead: Container[RawRef]) -> MapperFacts:
    versions = {(m.source, m.stream, m.name): m.version for m in context.mappings}
    return MapperFacts(versions, raw.parked, dead, raw.raw.ends)


def _check_parked(context: VerifyContext, raw: RawScan, dead: DeadLetterOrigins, ledgers: LedgerCheck) -> None:
    """Judge the raw records that must be dead letters."""
    versions = {mapping.name: mapping.version for mapping in context.mappings}
    for ref, source_key, mapping in raw.must_be_dead:
        if ref in dead.places or dead.expired:
            context.report.checked["parked raw records"] += 1
            continue
        processed = ledgers.version_at(context.stages[0].group, ref.at, ref.offset, mapping) if mapping else None
        _judge(context, not_parked(versions.get(mapping), processed), ref, source_key, source_key)


def _check_missing(context: VerifyContext, raw: RawScan, facts: MapperFacts, ledgers: LedgerCheck) -> None:
    """Judge the claims that must exist, but for which no contribution was read."""
    group = context.stages[0].group
    for key, expected in raw.expected.items():
        ref = expected.raw
        _, _, _, source_key, mapping, _ = orjson.loads(key)
        verdict = missing(expected, facts, ledgers.version_at(group, ref.at, ref.offset, mapping))
        _judge(context, verdict, ref, source_key, key.decode())


def _judge(context: VerifyContext, verdict: ClaimVerdict, ref: RawRef, source_key: str, key: str) -> None:
    """Count `verdict`, or add it to the candidates if it is a finding about the raw record at `ref`. `key`: what the
    finding names."""
    if verdict.kind == "finding":
        context.candidates.append(Candidate("raw-contributions", ref.place, key, verdict.what, (ref.at, source_key)))
    else:
        context.report.checked[verdict.kind] += 1
