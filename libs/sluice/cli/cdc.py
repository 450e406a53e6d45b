"""`sluice cdc`: what an operator asks of change data capture. A request is a record; ingress-cdc does it."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.errors import EnvironmentFault, SettingsError
from sluice.kafka import KafkaSettings
from sluice.names import Names
from sluice.pipeline import load_pipeline
from sluice.postgres.slot_watermark import control_key, requested_epoch, resnapshot_request, watermark_key
from sluice.stage.control import write_request
from sluice.stage.ingress import IngressProducer
from sluice.stage.settings import StageSettings, read_settings

app = typer.Typer(no_args_is_help=True, help="Change data capture: re-snapshot a source.")


@app.callback()
def _root() -> None:
    """Change data capture: re-snapshot a source."""


@app.command()
def resnapshot(
    source: Annotated[str, typer.Argument(help="the source, as the pipeline file calls it")],
    epoch: Annotated[int | None, typer.Option(min=1, help="needed only where the watermark is lost")] = None,
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read all tables of SOURCE again under a new epoch, through a new slot; rows that are gone since are retracted.

    ingress-cdc does it within seconds if it runs, else when it starts. Needed after a slot was lost or created
    again, and after a table was added to the source or taken out: it is all tables or none, and until it is done none
    is followed. What is as it was is not written again.
    """
    settings = read_settings(StageSettings)
    loaded = load_pipeline(pipeline or settings.pipeline)
    if source not in loaded.cdc_sources():
        known = ", ".join(loaded.cdc_sources()) or "none"
        raise SettingsError(f"no source {source} that is followed by CDC; there are {known}")
    asked = _next_epoch(settings.kafka, loaded.names, source, epoch)
    write_request(settings.kafka, loaded.names.control, control_key(source), resnapshot_request(asked))
    if as_json:
        print(orjson.dumps({"source": source, "resnapshot_epoch": asked}).decode())
    else:
        print(f"asked: ingress-cdc reads {source} again as epoch {asked}")


def _next_epoch(kafka: KafkaSettings, names: Names, source: str, epoch: int | None) -> int:
    """The epoch above all that were used or asked for; `epoch` if given, which must be above them too."""
    log = IngressProducer(kafka, names, "sluice-cdc-cli")  # reads only: it never fences anybody
    watermark = log.read_watermarks([watermark_key(source)]).get(watermark_key(source))
    asked_before = requested_epoch(log.read_control(control_key(source)))
    if watermark is None and epoch is None and asked_before == 0:
        raise EnvironmentFault(
            f"source {source}",
            "it has no watermark, so the epochs in its raw topics are unknown",
            "if ingress-cdc never ran, just start it; else give --epoch N above the first number of every "
            "sluice-position header in those topics",
        )
    highest = max(int(watermark["epoch"]) if watermark else 0, asked_before)
    if epoch is not None and epoch <= highest:
        raise SettingsError(f"--epoch {epoch}: epochs up to {highest} are used or asked for already")
    return epoch or highest + 1
