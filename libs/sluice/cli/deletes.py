"""`sluice deletes`: an operator confirms that a polled source really deleted the records that it no longer lists."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import typer

from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result, require_known
from sluice.errors import SettingsError
from sluice.ingress.deletes import Acceptance, Loss, control_key
from sluice.ingress.producer import IngressProducer
from sluice.kafka.control import write_request
from sluice.times import now_us

app = group()


@app.command()
def accept(
    source: Annotated[str, typer.Argument(help="the source's name in the pipeline file")],
    stream: Annotated[str, typer.Argument(help="the stream's name")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Accept the withheld deletes of a polled stream.

    If many known keys are missing from a listing, ingress-poller withholds their deletes and reports a fault. After
    this command it deletes the missing keys.

    Check first that the stream's paging reaches the last page, and that the source's account may read all records.

    The acceptance is for exactly the reported keys and is used once. A key that the next listing contains again is not
    deleted. If other keys are missing from the next listing, their deletes are withheld again, with a new fault.
    ingress-poller lists the stream again within seconds if it runs, else at its next start.
    """
    settings, loaded = chosen_pipeline(pipeline)
    key = f"{source}/{stream}"
    known = [f"{s.source}/{s.stream}" for s in loaded.streams() if s.kind == "poll"]
    require_known(key, known, f"no polled stream {key}")
    # This producer only reads, so it fences no process.
    log = IngressProducer(settings.kafka, loaded.names, "sluice-deletes-cli")
    loss = withheld(key, log.read_watermarks([key]).get(key))
    acceptance = Acceptance(uuid.uuid4().hex, loss.digest)
    write_request(settings.kafka, loaded.names.control, control_key(source, stream), acceptance.to_json(now_us()))
    print_result(
        as_json,
        {"source": source, "stream": stream, "keys": loss.keys, "known": loss.known},
        [f"accepted: ingress-poller deletes {loss.keys} of {loss.known} keys of {key}, if a new listing agrees"],
    )


def withheld(key: str, watermark: Mapping[str, Any] | None) -> Loss:
    """The loss of a polled stream: the keys that are missing from its last listing and whose deletes are withheld.

    `key`: `source/stream`. `watermark`: the stream's newest one. Raises SettingsError if no deletes are withheld, or
    if the loss cannot be accepted.
    """
    fault = (watermark or {}).get("alarms", {}).get("enumeration")
    if fault is None:
        raise SettingsError(f"no deletes of {key} are withheld; there is nothing to accept")
    if not fault["loss"]:
        raise SettingsError(f"{key}: this loss cannot be accepted: {fault['why']}")
    return msgspec.convert(fault["loss"], Loss)
