"""`sluice responses`: shows the stored HTTP responses of polled sources."""

from __future__ import annotations

import base64
import sys
from dataclasses import asdict
from typing import Annotated, Any

import orjson
import typer

from sluice.cli.command import JsonOption, PipelineOption, group
from sluice.cli.server_access import pipeline_of_servers, servers_reached
from sluice.errors import ExitCode, SettingsError
from sluice.explain.rendering import printable
from sluice.explain.responses import FoundResponse, fetched_ms_of, find_response, read_response, uuid_of
from sluice.kafka import LogReader
from sluice.times import text_of_us

app = group()


@app.command()
def show(
    response_id: Annotated[
        str, typer.Argument(metavar="ID", help="the response's id, from a fault, a log line or `sluice explain`")
    ],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a stored HTTP response of a polled source.

    Request, status and headers go to stderr, the body goes to stdout. Secrets are removed. The body may contain
    personal data.

    Exit code 1: there is no such response. It expired (responses are kept for a week), or it never existed.
    """
    wanted = uuid_of(response_id)
    if wanted is None:
        raise SettingsError(f"{response_id!r} is no id of a response; one looks like {_EXAMPLE}")
    settings, loaded = pipeline_of_servers(pipeline)
    topics = [loaded.names.responses(source) for source in loaded.poll_sources()]
    with servers_reached(loaded, settings), LogReader(settings.kafka) as reader:
        records = (find_response(reader, topic, loaded.partitions, wanted) for topic in topics)
        found = next((read_response(record) for record in records if record is not None), None)
    if found is None:
        when = _fetched_at(fetched_ms_of(wanted))
        print(
            f"no response {wanted} in {', '.join(topics) or 'any topic'}; its id says that it was fetched {when}",
            file=sys.stderr,
        )
        raise typer.Exit(int(ExitCode.FINDING))
    if as_json:
        print(orjson.dumps(_as_json(found)).decode())
        return
    print("\n".join(map(printable, _head(found))), file=sys.stderr, flush=True)
    if sys.stdout.isatty():
        print(printable(found.body.decode(errors="backslashreplace")))
    else:
        sys.stdout.buffer.write(found.body)


_EXAMPLE = "01920000-0000-7000-8000-000000000000"


def _head(one: FoundResponse) -> list[str]:
    cut = f"; the first {len(one.body)} of {one.body_bytes} bytes are stored" if one.truncated else ""
    return [
        f"{one.method} {one.url}",
        f"status {one.status}, fetched {_fetched_at(one.fetched_ms)}, {one.topic}/{one.partition}@{one.offset}{cut}",
        *(f"{name}: {value}" for name, value in one.headers.items()),
        "",
    ]


def _as_json(one: FoundResponse) -> dict[str, Any]:
    facts = asdict(one)
    body, facts["id"], facts["fetched_at"] = facts.pop("body"), facts.pop("response_id"), _fetched_at(one.fetched_ms)
    del facts["fetched_ms"]
    try:
        return {**facts, "body": body.decode()}
    except UnicodeDecodeError:
        return {**facts, "body_base64": base64.b64encode(body).decode()}


def _fetched_at(ms: int) -> str:
    return text_of_us(ms * 1_000, "milliseconds")
