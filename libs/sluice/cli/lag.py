"""`sluice lag`: what each stage has not done yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sluice.cli.options import PipelineOption
from sluice.cli.reaching import chosen_pipeline, servers_reached
from sluice.errors import Transient
from sluice.lag.holds import Hold
from sluice.lag.measure import LagMeter, StageLag
from sluice.lag.sources import SourceLag, source_lags
from sluice.pipeline import Pipeline
from sluice.stage.settings import StageSettings, read_settings

app = typer.Typer(help="What each stage has not done yet.")


@app.command()
def lag(
    pipeline: PipelineOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="measure again and again, until Ctrl-C")] = False,
    interval_s: Annotated[float, typer.Option("--interval", help="with --watch: seconds between two looks")] = 2.0,
    by_partition: Annotated[bool, typer.Option("--partitions", help="a line for each partition that lags")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object (with --watch: one a line)")] = False,
) -> None:
    """Records visible at read_committed that a stage has not done, and the age of the oldest.

    Transaction markers are not records. Beyond 10,000 offsets of a partition the number is an upper bound (≤).
    For ingress: how far each source is ahead of what was published.

    A partition that a stage does not read is named below, with why and what to do: held, where going on would lose
    records (a group that was moved forward: `sluice skips accept`), or paused, after too many dead letters.
    """
    settings = read_settings(StageSettings)
    loaded = chosen_pipeline(pipeline, settings)
    with servers_reached(loaded, settings), closing(LagMeter(loaded, settings.kafka)) as meter:
        if watch:
            _watch(loaded, settings, meter, interval_s, by_partition, as_json)
            return
        stages, sources = meter.measure(), source_lags(loaded, settings.kafka)
    if as_json:
        print(_as_json(stages, sources))
    else:
        Console().print(*_parts(stages, sources, by_partition), sep="\n")


def _watch(
    pipeline: Pipeline, settings: StageSettings, meter: LagMeter, interval_s: float, by_partition: bool, as_json: bool
) -> None:
    try:
        with Live(console=Console(quiet=as_json), auto_refresh=False) as live:
            while True:
                try:
                    stages, sources = meter.measure(), source_lags(pipeline, settings.kafka)
                except Transient as error:
                    live.update(f"not now: {error}", refresh=True)
                else:
                    if as_json:
                        print(_as_json(stages, sources), flush=True)
                    live.update(Group(*_parts(stages, sources, by_partition)), refresh=True)
                time.sleep(interval_s)
    except KeyboardInterrupt:
        return


def _parts(stages: list[StageLag], sources: list[SourceLag], by_partition: bool) -> list[Table | Text]:
    return [_stage_table(stages, by_partition), *map(Text, hold_lines(stages)), _source_table(sources)]


def hold_lines(stages: list[StageLag]) -> Iterator[str]:
    """What is not read, why and what to do: two lines for the partitions of a topic that share both."""
    for stage in stages:
        alike: dict[tuple[str, Hold], list[str]] = {}
        for (topic, partition), hold in stage.holds.items():
            alike.setdefault((topic, hold), []).append(str(partition))
        for (topic, hold), partitions in alike.items():
            since = "" if hold.since_s is None else f" since {_time(hold.since_s)}"
            yield f"{hold.kind}{since}: {topic}/{','.join(partitions)}, group {stage.group}: {hold.why}"
            yield f"    next: {hold.next_step}"
        if stage.holds_unknown:
            yield f"whether {stage.group} reads all of its input is not known: {stage.holds_unknown}"


def _stage_table(stages: list[StageLag], by_partition: bool) -> Table:
    table = Table("stage", "input", title="Not done yet", title_justify="left")
    table.add_column("records", justify="right")
    table.add_column("oldest", justify="right")
    now_s = time.time()
    for stage in stages:
        total = stage.total
        name = stage.group if stage.begun else f"{stage.group} (no offsets yet)"
        table.add_row(name, "all", str(total), _age(total.age_s(now_s)))
        for (topic, partition), one in stage.partitions.items() if by_partition else ():
            if one.records:
                table.add_row("", f"{topic}/{partition}", str(one), _age(one.age_s(now_s)))
    return table


def _source_table(sources: list[SourceLag]) -> Table:
    table = Table("source", "by", title="Ingress", title_justify="left")
    table.add_column("behind", justify="right")
    for one in sources:
        behind = one.why
        if one.wal_bytes is not None:
            behind = f"{one.wal_bytes:,} bytes of WAL"
        elif one.answer_age_s is not None:
            behind = f"last answer {_age(one.answer_age_s)} ago"
        table.add_row(one.source if one.kind == "cdc" else f"{one.source}.{one.stream}", one.kind, behind)
        for name, told in one.tables.items():
            table.add_row(f"  {name}", "", told)
    return table


def _age(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="seconds").removesuffix("+00:00") + "Z"


def _as_json(stages: list[StageLag], sources: list[SourceLag]) -> str:
    now_s = time.time()
    return orjson.dumps(
        {
            "stages": {stage.group: {"stage": stage.stage, **stage.to_json(now_s)} for stage in stages},
            "sources": [one._asdict() for one in sources],
        }
    ).decode()
