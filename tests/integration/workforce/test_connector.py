"""The HR connector finds every worker of the real server, in spite of pages, limits and expired tokens."""

import time
from pathlib import Path
from typing import Any

import pytest

from sluice.connector import EnvironmentFault, Request, SourceRecord, Stream
from sluice.connector.fetch import Fetcher
from sluice.connector.record import source_key
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_connector
from support.pace import within
from support.workforce import FOLDER, SECRET, hr_server


def connector(url: str, secret: str = SECRET) -> Any:
    settings = {"base_url": url, "client_id": "sluice", "client_secret": secret}
    return load_connector(load_pipeline(FOLDER), "hr")("hr", settings)


def listed(stream: Stream[Any], fetcher: Fetcher, since: str | None = None) -> list[SourceRecord]:
    """All records of one listing. Waits as the source requests, up to a deadline."""
    deadline = time.monotonic() + within(60)
    records: list[SourceRecord] = []
    request: Request | None = stream.first_request(since)
    while request is not None:
        response = fetcher.fetch(request)
        if response.status != 200:
            assert response.status in (429, 500)
            assert time.monotonic() < deadline
            time.sleep(float(response.headers.get("retry-after", 0.05)))  # the wait that the source requests
            continue
        records += [SourceRecord(raw) for raw in stream.records_in(response)]
        request = stream.next_request(response, request)
    return records


def test_a_pass_lists_every_worker_through_limits_and_errors(tmp_path: Path) -> None:
    # Two requests a second: a machine on which each takes longer than half a second is not waited for.
    arguments = ["--workers", "1200", "--edits-per-second", "0", "--requests-per-second", "2", "--burst", "1"]
    with hr_server(tmp_path, [*arguments, "--error-rate", "0.1", "--token-lifetime-s", "1"]) as hr:
        hr_connector = connector(hr.url)
        stream, fetcher = hr_connector.stream("workers"), hr_connector.fetcher()
        keys = [source_key(record, stream.key_fields) for record in listed(stream, fetcher)]
        fetcher.close()
        answers = hr.http.get("/_admin/stats").json()["answers"]
    assert sorted(keys) == sorted(b'{"id":"W-%d"}' % number for number in range(1, 1201))
    assert answers["429"] > 0


def test_a_pass_from_the_newest_change_on_finds_the_next_one(tmp_path: Path) -> None:
    with hr_server(tmp_path, ["--workers", "100", "--edits-per-second", "0"]) as hr:
        hr_connector = connector(hr.url)
        stream, fetcher = hr_connector.stream("workers"), hr_connector.fetcher()
        newest = stream.cursor_of(listed(stream, fetcher)[-1])
        hr.admin("workers/W-50", jobTitle="Nurse")
        changed = listed(stream, fetcher, stream.since(newest))
        fetcher.close()
    assert changed[-1].get("jobTitle") == "Nurse"
    assert len(changed) < 100


def test_a_wrong_secret_names_the_setting_and_not_its_value(tmp_path: Path) -> None:
    with hr_server(tmp_path, ["--workers", "1"]) as hr:
        hr_connector = connector(hr.url, secret="sesame")
        fetcher = hr_connector.fetcher()
        with pytest.raises(EnvironmentFault, match=r"sources\.hr\.settings\.client_secret") as refused:
            fetcher.fetch(hr_connector.stream("workers").first_request(None))
        fetcher.close()
    assert "sesame" not in str(refused.value)
