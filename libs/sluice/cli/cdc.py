"""`sluice cdc`: what an operator asks of change data capture. A request is a record; ingress-cdc does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import orjson
import typer

from sluice.cdc.slot_watermark import (
    control_key,
    requested,
    resnapshot_request,
    source_watermarks,
    watermark_key,
)
from sluice.cli.options import JsonOption, PipelineOption
from sluice.cli.server_access import kafka_watched
from sluice.errors import EnvironmentFault, SettingsError
from sluice.ingress.producer import IngressProducer
from sluice.kafka import KafkaSettings
from sluice.kafka.control import write_request
from sluice.names import Names
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings, read_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Change data capture: re-snapshot a source.")


@app.callback()
def _root() -> None:
    """Change data capture: re-snapshot a source."""


@app.command()
def resnapshot(
    source: Annotated[str, typer.Argument(help="the source, as the pipeline file calls it")],
    table: Annotated[list[str] | None, typer.Option(help="schema.table: this table alone; may be repeated")] = None,
    epoch: Annotated[int | None, typer.Option(min=1, help="needed only where the watermark is lost")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read tables of SOURCE again; rows that are gone since are retracted, what is as it was is not written again.

    With --table: those tables alone, through the slot that is followed. It is what a table that is held, or followed
    with a fault, needs; the other tables wait while it is read, and go on. Without: all tables under a new epoch,
    through a new slot; needed after a slot was lost or created again. ingress-cdc does it within seconds if it runs,
    else when it starts.
    """
    settings = read_settings(StageSettings, pipeline)
    loaded = load_pipeline(pipeline or settings.pipeline)
    if source not in loaded.cdc_sources():
        known = ", ".join(loaded.cdc_sources()) or "none"
        raise SettingsError(f"no source {source} that is followed by CDC; there are {known}")
    followed = loaded.cdc_sources()[source].tables
    unknown = [name for name in table or () if name not in followed]
    if unknown:
        raise SettingsError(f"source {source} has no table {unknown[0]}; there are {', '.join(followed)}")
    if table and epoch is not None:
        raise SettingsError("--epoch is for a whole source; leave it out with --table")
    with kafka_watched(settings):
        asked = Resnapshots(settings.kafka, loaded.names, source)
        told = {"tables": asked.tables(table)} if table else {"resnapshot_epoch": asked.source(epoch)}
    if as_json:
        print(orjson.dumps({"source": source, **told}).decode())
    elif table:
        print(f"asked: ingress-cdc reads {', '.join(table)} of {source} again")
    else:
        print(f"asked: ingress-cdc reads {source} again as epoch {told['resnapshot_epoch']}")


class Resnapshots:
    """Requests for one source: each is numbered above all that were done or asked for."""

    def __init__(self, kafka: KafkaSettings, names: Names, source: str) -> None:
        self._kafka, self._names, self._source = kafka, names, source
        self._log = IngressProducer(kafka, names, "sluice-cdc-cli")  # reads only: it never fences anybody

    def tables(self, tables: Sequence[str]) -> dict[str, int]:
        """Ask for each of `tables`; the requests' numbers by table."""
        marks = source_watermarks(self._source, self._log.read_watermarks(prefix=watermark_key(self._source, "")))
        keys = {name: control_key(self._source, name) for name in tables}
        before = self._log.read_control(keys.values())
        numbers = {}
        for name, key in keys.items():
            done = marks.tables[name].request if name in marks.tables else 0
            numbers[name] = 1 + max(done, requested(before.get(key)))
            write_request(self._kafka, self._names.control, key, resnapshot_request(numbers[name]))
        return numbers

    def source(self, epoch: int | None) -> int:
        """Ask for the whole source; the epoch it is read again as."""
        key = control_key(self._source)
        asked = self._next_epoch(requested(self._log.read_control([key]).get(key)), epoch)
        write_request(self._kafka, self._names.control, key, resnapshot_request(asked))
        return asked

    def _next_epoch(self, asked_before: int, epoch: int | None) -> int:
        """The epoch above all that were used or asked for; `epoch` if given, which must be above them too."""
        key = watermark_key(self._source)
        watermark = self._log.read_watermarks([key]).get(key)
        if watermark is None and epoch is None and asked_before == 0:
            raise EnvironmentFault(
                f"source {self._source}",
                "it has no watermark, so the epochs in its raw topics are unknown",
                "if ingress-cdc never ran, just start it; else give --epoch N above the first number of every "
                "sluice-position header in those topics",
            )
        highest = max(int(watermark["epoch"]) if watermark else 0, asked_before)
        if epoch is not None and epoch <= highest:
            raise SettingsError(f"--epoch {epoch}: epochs up to {highest} are used or asked for already")
        return epoch or highest + 1
