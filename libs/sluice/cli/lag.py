"""`sluice lag`: shows how many records each stage has not processed yet, and what is wrong."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Annotated

import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sluice.cli.command import PipelineOption, single
from sluice.cli.lag_report import LagReport, as_json, parts
from sluice.cli.server_access import pipeline_of_servers, servers_reached
from sluice.errors import EnvironmentFault, ExitCode, Transient
from sluice.lag.measure import LagMeter
from sluice.lag.unattended_work import unattended_work
from sluice.pipeline import Pipeline

app = single()


@app.command()
def lag(
    pipeline: PipelineOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="repeat the measurement until Ctrl-C")] = False,
    interval_s: Annotated[
        float, typer.Option("--interval", min=0.1, help="with --watch: seconds between two measurements")
    ] = 2.0,
    by_partition: Annotated[
        bool, typer.Option("--partitions", help="print a line for each partition that has lag")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="print the result as one JSON object (with --watch: one object per line)")
    ] = False,
) -> None:
    """Show how many records each stage has not processed yet, and what is wrong.

    Lag is counted in records that a read_committed reader can see, with the age of the oldest record. Transaction
    markers do not count. If a partition lags by more than 10,000 offsets, the number is an upper bound (≤). For
    ingress, the table shows how far each source is ahead of what ingress published.

    The output starts with the active faults of the stages and the work that no process does. Each line says since when,
    and names the next step. These lines are shown even if lag cannot be measured, because a topic is missing or a
    transaction hangs.

    A partition that a stage does not read has its own line in the table, with the number of its unread records. Below
    the table are the reason and the next step. The partition is blocked if the stage would lose records by going on,
    for example after its group was moved forward (see `sluice skips accept`). The partition is paused after too many
    dead letters.

    Kept dead letters are listed by stage and cause, with the place of the newest dead letter of each cause. Causes are
    counted among the newest thousand dead letters of each partition.

    Exit codes: 0, nothing is wrong, whatever the lag; 1, a fault is active, a partition is not read, a stage has no
    process, or one of these could not be checked; 3, lag cannot be measured.
    """
    settings, loaded = pipeline_of_servers(pipeline)
    with servers_reached(loaded, settings), closing(LagMeter(loaded, settings.kafka)) as meter:
        if watch:
            _watch(loaded, meter, interval_s, by_partition, json)
            return
        report = _measure(loaded, meter)
    if json:
        _print_json(report)
    else:
        for part in parts(report, by_partition):
            # Texts contain commands. A command that Rich breaks into two lines cannot be pasted into a terminal.
            Console().print(part, soft_wrap=isinstance(part, Text))
    if report.not_measured is not None:
        raise report.not_measured
    if not report.is_clean:
        raise typer.Exit(int(ExitCode.FINDING))


def _measure(pipeline: Pipeline, meter: LagMeter) -> LagReport:
    faults = meter.faults()
    try:
        stages, sources = meter.measure(), meter.sources()
        left_over, dead_letters = meter.left_over(), meter.dead_letters()
    except (EnvironmentFault, Transient) as error:
        return LagReport(faults, [], [], [], meter.unmapped, not_measured=error)
    pollers, unknown = meter.pollers()
    unattended = unattended_work(pollers, sources, stages, faults.faults, time.time())
    unknown = unknown if pipeline.poll_sources() else ""
    return LagReport(faults, stages, sources, unattended, meter.unmapped, left_over, dead_letters, unknown)


def _watch(pipeline: Pipeline, meter: LagMeter, interval_s: float, by_partition: bool, json: bool) -> None:
    try:
        with Live(console=Console(quiet=json), auto_refresh=False) as live:
            while True:
                try:
                    report = _measure(pipeline, meter)
                except Transient as error:
                    live.update(f"not now: {error}", refresh=True)
                else:
                    if json:
                        _print_json(report)
                    unknown = report.not_measured
                    why = [] if unknown is None else [Text(f"lag is not known: {unknown}")]
                    live.update(Group(*parts(report, by_partition), *why), refresh=True)
                time.sleep(interval_s)
    except KeyboardInterrupt:
        return


def _print_json(report: LagReport) -> None:
    print(orjson.dumps(as_json(report)).decode(), flush=True)
