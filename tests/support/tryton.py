"""The Tryton example for tests: its pipeline's parts, loaded as the stages load them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sluice.connector import Connector, Request, Stream
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_connector
from sluice.testing.example import ExampleContext, ExampleDriver, Running

EXAMPLE = Path(__file__).parents[2] / "examples" / "tryton"
OFFLINE = {"base_url": "http://127.0.0.1:9/tryton", "user": "admin", "password": "long-enough-to-be-found"}


class Erp(NamedTuple):
    """A running Tryton with the driver and the context that made it."""

    driver: ExampleDriver
    ctx: ExampleContext
    running: Running


def connector(settings: Mapping[str, str] = OFFLINE) -> Connector[Any]:
    """The example's connector; with OFFLINE settings it can make requests but send none."""
    made: Connector[Any] = load_connector(load_pipeline(EXAMPLE / "pipeline.yaml"), "erp_api")("erp_api", settings)
    return made


def settings_of(env: Mapping[str, str]) -> dict[str, str]:
    """Connector settings from a running example's environment, as pipeline.yaml refers to it."""
    return {"base_url": env["ERP_URL"], "user": env["ERP_USER"], "password": env["ERP_PASSWORD"]}


def records(source: Connector[Any], stream: str, since: str | None = None) -> Iterator[bytes]:
    """Every record of one pass over a stream, through the SDK, page by page."""
    reader: Stream[Any] = source.stream(stream)
    fetcher = source.fetcher()
    request: Request | None = reader.first_request(since)
    while request is not None:
        response = fetcher.fetch(request)
        assert response.status == 200
        yield from reader.records_in(response)
        request = reader.next_request(response, response.request)
    fetcher.close()


def example_records(source: str, stream: str) -> dict[str, dict[str, Any]]:
    """Example records of a stream by name, from `sources/<source>/examples/<stream>/`."""
    folder = EXAMPLE / "sources" / source / "examples" / stream
    return {file.stem: json.loads(file.read_bytes()) for file in sorted(folder.glob("*.json"))}
