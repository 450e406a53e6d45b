"""`sluice skips`: an operator moved a group forward on purpose, and says so."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.cli.reaching import kafka_watched
from sluice.errors import SettingsError
from sluice.kafka import LogReader
from sluice.kafka.log import Partition
from sluice.pipeline import load_pipeline
from sluice.stage.control import write_request
from sluice.stage.restore import skip_key
from sluice.stage.settings import StageSettings, read_settings

app = typer.Typer(no_args_is_help=True, help="Accept that records were skipped on purpose.")


@app.callback()
def _group() -> None:
    """Accept that records were skipped on purpose."""


@app.command()
def accept(
    group: Annotated[str, typer.Argument(help="the consumer group that was moved forward")],
    topic: Annotated[str, typer.Argument(help="the topic")],
    partition: Annotated[int, typer.Argument(min=0, help="the partition")],
    to: Annotated[int, typer.Option(min=0, help="the committed offset, as the stage named it")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let `group` go on from offset `to`, leaving what lies before it unread. The stage goes on by itself.

    An offset beyond the end of the partition is refused.
    """
    settings = read_settings(StageSettings, pipeline)
    names = load_pipeline(pipeline or settings.pipeline).names
    with kafka_watched(settings), LogReader(settings.kafka) as reader:
        refuse_beyond_end((topic, partition), to, reader.ends([(topic, partition)])[topic, partition])
        write_request(settings.kafka, names.control, skip_key(group, (topic, partition)), {"to": to})
    if as_json:
        print(orjson.dumps({"group": group, "topic": topic, "partition": partition, "to": to}).decode())
    else:
        print(f"accepted: {group} goes on at {topic}/{partition}@{to}")


def refuse_beyond_end(at: Partition, to: int, end: int) -> None:
    """Raises SettingsError for an offset `to` that `at`, which ends at `end`, does not have yet."""
    if to > end:
        raise SettingsError(f"{at[0]}/{at[1]} ends at {end}; nothing up to {to} can have been skipped")
