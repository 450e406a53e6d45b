"""`sluice lag`: what each stage has not done yet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sluice.cli.options import PipelineOption
from sluice.cli.server_access import chosen_pipeline, servers_reached
from sluice.errors import EnvironmentFault, ExitCode, SluiceError, Transient
from sluice.lag.dead_letter_counts import StageDeadLetters
from sluice.lag.faults import ActiveFaults, active_faults, alike, silent_for_s
from sluice.lag.measure import LagMeter, StageLag, total_of
from sluice.lag.not_read import NotRead
from sluice.lag.sources import SourceLag, source_lags
from sluice.lag.unattended_work import UnattendedWork, unattended
from sluice.pipeline import Pipeline
from sluice.pipeline.authored import unmapped_line
from sluice.settings.stage import StageSettings, read_settings
from sluice.times import rfc3339

app = typer.Typer(add_completion=False, help="What each stage has not done yet.")


@app.command()
def lag(
    pipeline: PipelineOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="measure again and again, until Ctrl-C")] = False,
    interval_s: Annotated[
        float, typer.Option("--interval", min=0.1, help="with --watch: seconds between two looks")
    ] = 2.0,
    by_partition: Annotated[bool, typer.Option("--partitions", help="a line for each partition that lags")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object (with --watch: one a line)")] = False,
) -> None:
    """Records visible at read_committed that a stage has not done, and the age of the oldest.

    Transaction markers are not records. Beyond 10,000 offsets of a partition the number is an upper bound (≤).
    For ingress: how far each source is ahead of what was published.

    Above all: the faults that stand in the stages' processes, and what nobody works at, because its process does not
    run; since when, and what to do about each. They are told also where lag cannot be measured, because a topic is
    missing or a transaction hangs.

    Exit codes: 0, nothing is wrong, whatever the lag; 1, a fault stands, an input is not read, a stage has no process,
    or one of these could not be looked at; 3, lag cannot be measured.

    A partition that a stage does not read has a line in the table, with all that is unread there, and is named below
    with why and what to do: held, where going on would lose records (a group that was moved forward: `sluice skips
    accept`), or paused, after too many dead letters. Dead letters that are kept are told by stage and cause, with the
    place of the newest; those of the newest thousand of each partition.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = chosen_pipeline(pipeline, settings)
    with servers_reached(loaded, settings), closing(LagMeter(loaded, settings.kafka)) as meter:
        if watch:
            _watch(loaded, settings, meter, interval_s, by_partition, as_json)
            return
        seen = _look(loaded, settings, meter)
    if as_json:
        print(_as_json(seen))
    else:
        for part in _parts(seen, by_partition):
            Console().print(part, soft_wrap=isinstance(part, Text))  # a command on two lines cannot be pasted
    if seen.not_measured is not None:
        raise seen.not_measured
    if not seen.is_clean:
        raise typer.Exit(int(ExitCode.FINDING))


class LagReport(NamedTuple):
    """One look at a pipeline. `pollers_unknown`: why it is not known whether a process polls. `not_measured`: why there
    is no lag to tell (a topic is missing, a transaction hangs); faults are told then, too, since the same cause stands
    among them."""

    faults: ActiveFaults
    stages: list[StageLag]
    sources: list[SourceLag]
    unattended: list[UnattendedWork]
    unmapped: list[str]
    left_over: Sequence[str] = ()
    letters: Sequence[StageDeadLetters] = ()
    pollers_unknown: str = ""
    not_measured: SluiceError | None = None

    @property
    def is_clean(self) -> bool:
        """Whether all was looked at and nothing is wrong. Lag alone is not."""
        wrong = bool(self.faults.faults or self.unattended) or any(stage.holds for stage in self.stages)
        unknown = bool(self.faults.unknown or self.pollers_unknown) or any(
            stage.holds_unknown or stage.members_unknown for stage in self.stages
        )
        return not wrong and not unknown and not list(source_lines(self.sources, set()))


def _look(pipeline: Pipeline, settings: StageSettings, meter: LagMeter) -> LagReport:
    faults = active_faults(settings.kafka, pipeline.names)
    try:
        stages, sources = meter.measure(), source_lags(pipeline, settings.kafka)
        left_over, letters = meter.left_over(), meter.dead_letters()
    except (EnvironmentFault, Transient) as error:
        return LagReport(faults, [], [], [], meter.unmapped, not_measured=error)
    pollers, unknown = meter.pollers()
    nobody = unattended(pollers, sources, stages, faults.faults, time.time())
    unknown = unknown if pipeline.poll_sources() else ""
    return LagReport(faults, stages, sources, nobody, meter.unmapped, left_over, letters, unknown)


def _watch(
    pipeline: Pipeline, settings: StageSettings, meter: LagMeter, interval_s: float, by_partition: bool, as_json: bool
) -> None:
    try:
        with Live(console=Console(quiet=as_json), auto_refresh=False) as live:
            while True:
                try:
                    seen = _look(pipeline, settings, meter)
                except Transient as error:
                    live.update(f"not now: {error}", refresh=True)
                else:
                    if as_json:
                        print(_as_json(seen), flush=True)
                    why = [Text(f"lag is not known: {seen.not_measured}")] if seen.not_measured is not None else []
                    live.update(Group(*_parts(seen, by_partition), *why), refresh=True)
                time.sleep(interval_s)
    except KeyboardInterrupt:
        return


def _parts(seen: LagReport, by_partition: bool) -> list[Table | Text]:
    told = [*fault_lines(seen.faults, time.time()), *unattended_lines(seen.unattended)]
    faults = [Text(line, style="bold red") for line in told]
    if seen.not_measured is not None:
        return [*faults]
    beside = [*hold_lines(seen.stages), *members_unknown_lines(seen.stages, seen.pollers_unknown)]
    beside += source_lines(seen.sources, {one.about for one in seen.faults.faults})
    holds = map(Text, beside)
    unmapped = [Text(unmapped_line(seen.unmapped))] if seen.unmapped else []
    if seen.left_over:
        unmapped.append(Text(left_over_line(seen.left_over)))
    letters = map(Text, letter_lines(seen.letters))
    return [*faults, _stage_table(seen.stages, by_partition), *holds, *letters, _source_table(seen.sources), *unmapped]


def letter_lines(several: Sequence[StageDeadLetters]) -> Iterator[str]:
    """Dead letters by stage and cause, with the place of the newest."""
    for letters in several:
        newest = f", the causes of the newest {letters.scanned:,}" if letters.kept > letters.scanned else ""
        yield f"dead letters of {letters.stage}: {letters.kept:,} at most are kept{newest}"
        for one in letters.causes:
            yield f"    {one.letters:,} × {one.why}; the newest {_time(one.parked_ms / 1e3)}: {one.newest}, of {one.of}"


def left_over_line(topics: Sequence[str]) -> str:
    """What a source that was taken out of the pipeline file leaves behind."""
    return (
        f"no source of this pipeline writes {', '.join(topics)} any more: golden values that came from there are "
        "neither updated nor deleted. Next: docs/how-to/change-a-mapping.md, `A source goes`"
    )


def unattended_lines(several: list[UnattendedWork]) -> Iterator[str]:
    """What nobody works at: since when, and what to start."""
    for one in several:
        since = "" if one.since_s is None else f" since {_time(one.since_s)}"
        yield f"FAULT{since}: {one.stage}: {one.why}. Next: {one.next_step}"


def members_unknown_lines(stages: list[StageLag], pollers_unknown: str) -> Iterator[str]:
    """Of which stages it is not known whether a process runs, and why."""
    if pollers_unknown:
        yield f"whether a process polls is not known: {pollers_unknown}"
    for stage in stages:
        if stage.members_unknown:
            yield f"whether a process reads for {stage.group} is not known: {stage.members_unknown}"


def fault_lines(found: ActiveFaults, now_s: float) -> Iterator[str]:
    """What stands wrong: stage, what it is about, since when, why with the next step."""
    for about, one in alike(found.faults):
        process = one.stage if one.instance == "0" else f"{one.stage} ({one.instance})"
        silent_s = silent_for_s(one, now_s)
        gone = "" if silent_s is None else f" (not repeated for {_age(silent_s)}: is the process gone?)"
        why = one.why if one.why.startswith(about) else f"{about}: {one.why}"
        often = f", failed {one.attempts} times in a row" if one.attempts > 1 else ""
        yield f"FAULT since {_time(one.since_us / 1e6)}{often}: {process}: {why}{gone}"
    if found.unknown:
        yield f"whether faults stand is not known: {found.unknown}"


def hold_lines(stages: list[StageLag]) -> Iterator[str]:
    """What is not read, why and what to do: two lines for the partitions of a topic that share both."""
    for stage in stages:
        alike: dict[tuple[str, NotRead], list[str]] = {}
        for (topic, partition), hold in stage.holds.items():
            alike.setdefault((topic, hold), []).append(str(partition))
        for (topic, hold), partitions in alike.items():
            since = "" if hold.since_s is None else f" since {_time(hold.since_s)}"
            yield f"{hold.kind}{since}: {topic}/{','.join(partitions)}, group {stage.group}: {hold.why}"
            yield f"    next: {hold.next_step}"
        if stage.holds_unknown:
            yield f"whether {stage.group} reads all of its input is not known: {stage.holds_unknown}"


def source_lines(sources: list[SourceLag], told: set[str]) -> Iterator[str]:
    """Why it is not known how far a source is ahead, and what is wrong with a table of which no process tells a fault
    (`told`: what faults are about)."""
    for one in sources:
        if "Next:" in one.why:
            yield one.why if one.why.startswith(f"source {one.source}") else f"source {one.source}: {one.why}"
        for name, why in one.tables.items():
            about = f"source {one.source}, table {name}"
            if "Next:" in why and about not in told:
                yield f"{about} is {why}"


def _stage_table(stages: list[StageLag], by_partition: bool) -> Table:
    table = Table("stage", "input", title="Not done yet", title_justify="left")
    table.add_column("records", justify="right")
    table.add_column("oldest", justify="right")
    now_s = time.time()
    for stage in stages:
        total = stage.total
        name = stage.group if stage.begun else f"{stage.group} (no offsets yet)"
        table.add_row(name, "all", str(total), _age(total.age_s(now_s)))
        for (topic, kind), partitions in stage.not_read.items():
            unread = total_of(stage.partitions[topic, partition] for partition in partitions)
            where = f"{topic}/{','.join(map(str, partitions))}: {kind}"
            table.add_row("", where, str(unread), _age(unread.age_s(now_s)), style="bold red")
        for (topic, partition), one in stage.partitions.items() if by_partition else ():
            if one.records and (topic, partition) not in stage.holds:
                table.add_row("", f"{topic}/{partition}", str(one), _age(one.age_s(now_s)))
    return table


def _source_table(sources: list[SourceLag]) -> Table:
    table = Table("source", "by", title="Ingress", title_justify="left")
    table.add_column("behind", justify="right")
    for one in sources:
        behind = "not known" if "Next:" in one.why else one.why
        if one.wal_bytes is not None:
            behind = f"{one.wal_bytes:,} bytes of WAL"
        elif one.answer_age_s is not None:
            behind = f"last answer {_age(one.answer_age_s)} ago"
        table.add_row(one.source if one.kind == "cdc" else f"{one.source}.{one.stream}", one.kind, behind)
        for name, told in one.tables.items():
            table.add_row(f"  {name}", "", told.partition(":")[0])
    return table


def _age(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _time(at_s: float) -> str:
    return rfc3339(datetime.fromtimestamp(at_s, UTC), "seconds")


def _as_json(seen: LagReport) -> str:
    now_s = time.time()
    return orjson.dumps(
        {
            "faults": seen.faults.to_json(),
            "faults_unknown": seen.faults.unknown or None,
            "lag_unknown": None if seen.not_measured is None else str(seen.not_measured),
            "unmapped": seen.unmapped,
            "left_over": seen.left_over,
            "dead_letters": {one.stage: one.to_json() for one in seen.letters},
            "pollers_unknown": seen.pollers_unknown or None,
            "unattended": [one.to_json() for one in seen.unattended],
            "stages": {stage.group: {"stage": stage.stage, **stage.to_json(now_s)} for stage in seen.stages},
            "sources": [one._asdict() for one in seen.sources],
        }
    ).decode()
