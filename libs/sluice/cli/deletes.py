"""`sluice deletes`: a polled source lists far fewer records than before, and an operator says that this is right."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
import typer

from sluice.cli.options import JsonOption, PipelineOption
from sluice.errors import SettingsError
from sluice.ingress.deletes import Acceptance, Loss, control_key
from sluice.ingress.producer import IngressProducer
from sluice.kafka.control import write_request
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings, read_settings
from sluice.times import now_us

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Accept that records of a polled source are truly gone."
)


@app.callback()
def _group() -> None:
    """Accept that records of a polled source are truly gone."""


@app.command()
def accept(
    source: Annotated[str, typer.Argument(help="the source, as the pipeline file calls it")],
    stream: Annotated[str, typer.Argument(help="its stream")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let ingress-poller delete the keys of SOURCE's STREAM that its last listing missed, which it withholds.

    First see that the stream's paging reaches the last page and that the account may read all records. It counts for
    just these keys and once: those that a new listing shows again stay, and another loss is another alarm. The poller
    lists anew within seconds if it runs, else when it starts.
    """
    settings = read_settings(StageSettings)
    loaded = load_pipeline(pipeline or settings.pipeline)
    key = f"{source}/{stream}"
    known = [f"{s.source}/{s.stream}" for s in loaded.streams() if s.kind == "poll"]
    if key not in known:
        raise SettingsError(f"no polled stream {key}; there are {', '.join(known) or 'none'}")
    log = IngressProducer(settings.kafka, loaded.names, "sluice-deletes-cli")  # reads only: it never fences anybody
    loss = withheld(key, log.read_watermarks([key]).get(key))
    acceptance = Acceptance(uuid.uuid4().hex, loss.digest)
    write_request(settings.kafka, loaded.names.control, control_key(source, stream), acceptance.to_json(now_us()))
    if as_json:
        print(orjson.dumps({"source": source, "stream": stream, "keys": loss.keys, "known": loss.known}).decode())
    else:
        print(f"accepted: ingress-poller deletes {loss.keys} of {loss.known} keys of {key}, if a new listing agrees")


def withheld(key: str, watermark: Mapping[str, Any] | None) -> Loss:
    """The loss about which an alarm of the stream `key` stands in its `watermark`. Raises SettingsError."""
    alarm = (watermark or {}).get("alarms", {}).get("enumeration")
    if alarm is None:
        raise SettingsError(f"no deletes of {key} are withheld; there is nothing to accept")
    if not alarm["loss"]:
        raise SettingsError(f"{key}: this is no loss that could be accepted: {alarm['why']}")
    return Loss.from_json(alarm["loss"])
