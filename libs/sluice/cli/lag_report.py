"""The output of `sluice lag`: lines and tables for people, JSON for programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from sluice.errors import SluiceError
from sluice.lag.dead_letter_counts import StageDeadLetters
from sluice.lag.faults import ActiveFaults, alike, silent_for_s
from sluice.lag.measure import StageLag, total_of
from sluice.lag.not_read import NotRead
from sluice.lag.sources import SourceLag
from sluice.lag.unattended_work import UnattendedWork
from sluice.pipeline.authored import unmapped_line
from sluice.times import age_text, text_of_us


class LagReport(NamedTuple):
    """One measurement by `sluice lag`. `unmapped`: streams that no mapping reads. `left_over`: raw topics that no
    source writes. `pollers_unknown`: why it is not known whether a process polls, else empty. `not_measured`: the error
    for which lag could not be measured, else None; `faults` are filled even then."""

    faults: ActiveFaults
    stages: list[StageLag]
    sources: list[SourceLag]
    unattended: list[UnattendedWork]
    unmapped: list[str]
    left_over: Sequence[str] = ()
    dead_letters: Sequence[StageDeadLetters] = ()
    pollers_unknown: str = ""
    not_measured: SluiceError | None = None

    @property
    def is_clean(self) -> bool:
        """Whether everything could be checked and nothing is wrong. Lag alone is nothing wrong."""
        wrong = bool(self.faults.faults or self.unattended) or any(stage.not_read for stage in self.stages)
        unknown = bool(self.faults.unknown or self.pollers_unknown) or any(
            stage.not_read_unknown or stage.members_unknown for stage in self.stages
        )
        return not wrong and not unknown and not list(source_lines(self.sources, set()))


def as_json(report: LagReport) -> dict[str, Any]:
    now_s = time.time()
    return {
        "faults": report.faults.to_json(),
        "faults_unknown": report.faults.unknown or None,
        "lag_unknown": None if report.not_measured is None else str(report.not_measured),
        "unmapped": report.unmapped,
        "left_over": report.left_over,
        "dead_letters": {one.stage: one.to_json() for one in report.dead_letters},
        "pollers_unknown": report.pollers_unknown or None,
        "unattended": [one._asdict() for one in report.unattended],
        "stages": {stage.group: {"stage": stage.stage, **stage.to_json(now_s)} for stage in report.stages},
        "sources": [one._asdict() for one in report.sources],
    }


def parts(report: LagReport, by_partition: bool) -> list[Table | Text]:
    """The tables and lines that `sluice lag` prints, faults first. If lag was not measured, there are only faults."""
    urgent = [*fault_lines(report.faults, time.time()), *unattended_lines(report.unattended)]
    faults: list[Table | Text] = [Text(line, style="bold red") for line in urgent]
    if report.not_measured is not None:
        return faults
    reasons = [*not_read_lines(report.stages), *members_unknown_lines(report.stages, report.pollers_unknown)]
    reasons += source_lines(report.sources, {one.about for one in report.faults.faults})
    last = [unmapped_line(report.unmapped)] if report.unmapped else []
    last += [left_over_line(report.left_over)] if report.left_over else []
    return [
        *faults,
        _stage_table(report.stages, by_partition),
        *map(Text, reasons),
        *map(Text, dead_letter_lines(report.dead_letters)),
        _source_table(report.sources),
        *map(Text, last),
    ]


def fault_lines(found: ActiveFaults, now_s: float) -> Iterator[str]:
    """A line for each active fault: since when, in which stage, about which object, why, and the next step."""
    for about, one in alike(found.faults):
        process = one.stage if one.instance == "0" else f"{one.stage} ({one.instance})"
        silent_s = silent_for_s(one, now_s)
        silent = "" if silent_s is None else f" (not repeated for {age_text(silent_s)}: does the process still run?)"
        why = one.why if one.why.startswith(about) else f"{about}: {one.why}"
        often = f", failed {one.attempts} times in a row" if one.attempts > 1 else ""
        yield f"FAULT since {_time(one.since_us / 1e6)}{often}: {process}: {why}{silent}"
    if found.unknown:
        yield f"whether faults are active is not known: {found.unknown}"


def unattended_lines(several: list[UnattendedWork]) -> Iterator[str]:
    """A line for each piece of work that no process does: since when, in which stage, and what to start."""
    for one in several:
        yield f"FAULT{_since(one.since_s)}: {one.stage}: {one.why}. Next: {one.next_step}"


def not_read_lines(stages: list[StageLag]) -> Iterator[str]:
    """For partitions that a stage does not read: a line with the reason, and a line with the next step.

    Partitions of one topic with the same reason and next step share these two lines.
    """
    for stage in stages:
        shared: dict[tuple[str, NotRead], list[str]] = {}
        for (topic, partition), one in stage.not_read.items():
            shared.setdefault((topic, one), []).append(str(partition))
        for (topic, one), partitions in shared.items():
            yield f"{one.kind}{_since(one.since_s)}: {topic}/{','.join(partitions)}, group {stage.group}: {one.why}"
            yield f"    next: {one.next_step}"
        if stage.not_read_unknown:
            yield f"whether {stage.group} reads all of its input is not known: {stage.not_read_unknown}"


def members_unknown_lines(stages: list[StageLag], pollers_unknown: str) -> Iterator[str]:
    """A line for each stage of which it is not known whether a process runs, with the reason."""
    if pollers_unknown:
        yield f"whether a process polls is not known: {pollers_unknown}"
    for stage in stages:
        if stage.members_unknown:
            yield f"whether a process reads for {stage.group} is not known: {stage.members_unknown}"


def source_lines(sources: list[SourceLag], faulty: set[str]) -> Iterator[str]:
    """A line for each source whose lag is not known, and one for each followed table with which something is wrong.

    Tables in `faulty` (the objects of the active faults) are left out, because a process reports them.
    """
    for one in sources:
        if "Next:" in one.why:
            yield one.why if one.why.startswith(f"source {one.source}") else f"source {one.source}: {one.why}"
        for name, why in one.tables.items():
            about = f"source {one.source}, table {name}"
            if "Next:" in why and about not in faulty:
                yield f"{about} is {why}"


def dead_letter_lines(several: Sequence[StageDeadLetters]) -> Iterator[str]:
    """A line for the dead letters of each stage, and a line for each cause with the place of its newest dead letter."""
    for stage in several:
        newest = f"; the causes of the newest {stage.scanned:,}:" if stage.kept > stage.scanned else ""
        yield f"dead letters of {stage.stage}: no more than {stage.kept:,} are kept{newest}"
        for one in stage.causes:
            parked_at = _time(one.parked_ms / 1e3)
            of = one.of or "an unknown record"
            yield f"    {one.dead_letters:,} × {one.why}; the newest {parked_at}: {one.newest}, of {of}"


def left_over_line(topics: Sequence[str]) -> str:
    """A line about raw `topics` that no source writes, because a source was removed from the pipeline file."""
    return (
        f"no source of this pipeline writes {', '.join(topics)} any more: golden values that came from there are "
        "neither updated nor deleted. Next: docs/how-to/change-a-mapping.md, `A source goes`"
    )


def _stage_table(stages: list[StageLag], by_partition: bool) -> Table:
    table = Table("stage", "input", title="Not done yet", title_justify="left")
    table.add_column("records", justify="right")
    table.add_column("oldest", justify="right")
    now_s = time.time()
    for stage in stages:
        name = stage.group if stage.started else f"{stage.group} (no offsets yet)"
        table.add_row(name, "all", str(stage.total), age_text(stage.total.age_s(now_s)))
        not_read: dict[tuple[str, str], list[int]] = {}
        for (topic, partition), why in sorted(stage.not_read.items()):
            not_read.setdefault((topic, why.kind), []).append(partition)
        for (topic, kind), partitions in not_read.items():
            unread = total_of(stage.partitions[topic, partition] for partition in partitions)
            where = f"{topic}/{','.join(map(str, partitions))}: {kind}"
            table.add_row("", where, str(unread), age_text(unread.age_s(now_s)), style="bold red")
        for (topic, partition), one in stage.partitions.items() if by_partition else ():
            if one.records and (topic, partition) not in stage.not_read:
                table.add_row("", f"{topic}/{partition}", str(one), age_text(one.age_s(now_s)))
    return table


def _source_table(sources: list[SourceLag]) -> Table:
    table = Table("source", "by", title="Ingress", title_justify="left")
    table.add_column("behind", justify="right")
    for one in sources:
        behind = "not known" if "Next:" in one.why else one.why
        if one.wal_bytes is not None:
            behind = f"{one.wal_bytes:,} bytes of WAL"
        elif one.answer_age_s is not None:
            behind = f"last answer {age_text(one.answer_age_s)} ago"
        table.add_row(one.source if one.kind == "cdc" else f"{one.source}.{one.stream}", one.kind, behind)
        for name, why in one.tables.items():
            table.add_row(f"  {name}", "", why.partition(":")[0])
    return table


def _since(at_s: float | None) -> str:
    return "" if at_s is None else f" since {_time(at_s)}"


def _time(at_s: float) -> str:
    return text_of_us(at_s * 1e6, "seconds")
