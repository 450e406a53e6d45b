"""The workforce example's HR API, polled while it changes, throttles, fails and forgets its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2

from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_connector
from support.polling import Polled, headers_of
from support.waiting import eventually
from support.workforce import FOLDER, SECRET, HrClient, hr_server

LIVELY = [
    *("--workers", "2000", "--edits-per-second", "30"),
    *("--requests-per-second", "20", "--burst", "5", "--error-rate", "0.02"),
]
FAULTS = ("error", "html", "cut_json", "short_body", "throttle", "keyless", "empty")


def test_raw_equals_the_source_whatever_it_did_meanwhile(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    connector = load_connector(load_pipeline(FOLDER / "pipeline.yaml"), "hr")
    with hr_server(tmp_path, LIVELY) as hr:
        hr.sign_in()
        polled = Polled(kafka, topic_prefix, hr.url, ("workers",), client_id="sluice", client_secret=SECRET)
        with polled.poller(tmp_path / "state", connector):
            eventually(lambda: len(polled.newest("workers")) > 1_000)
            for kind in FAULTS:
                hr.admin("faults", kind=kind, count=1)
                eventually(lambda: hr.http.get("/_admin/stats").json()["faults_waiting"] == 0)
            hr.admin("expire-tokens")
            hr.admin("freeze")
            truth = source_of(all_of(hr.sign_in()))
            eventually(lambda: newest(polled) == truth, deadline_s=120)
        responses = polled.read(polled.names.responses("shop"))
        polled.close()
    assert {"200", "500", "429"} <= {headers_of(m)["http.status"] for m in responses}
    stored = b"".join((m.value() or b"") + str(m.headers()).encode() for m in responses)
    assert SECRET.encode() not in stored
    assert b"access_token" not in stored


def all_of(hr: HrClient) -> list[dict[str, Any]]:
    """Every worker. A request that the server refuses is repeated."""
    records: list[dict[str, Any]] = []
    url = "/workers?limit=500"
    while url:
        answers: list[httpx2.Response] = []

        def answered(url: str = url, answers: list[httpx2.Response] = answers) -> bool:
            answers.append(hr.get(url))
            return answers[-1].status_code == 200

        eventually(answered)
        page = answers[-1].json()
        records += page["data"]
        url = page["links"]["next"] or ""
    return records


def newest(polled: Polled) -> dict[str, Any]:
    return source_of([json.loads(value) for value in polled.newest("workers").values()])


def source_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {record["id"]: record for record in records}


def test_a_wrong_secret_names_the_url_and_the_setting(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    connector = load_connector(load_pipeline(FOLDER / "pipeline.yaml"), "hr")
    with hr_server(tmp_path, ["--workers", "5"]) as hr:
        polled = Polled(kafka, topic_prefix, hr.url, ("workers",), client_id="sluice", client_secret="not-the-one")
        with polled.poller(tmp_path / "state", connector) as health:
            why = eventually(lambda: health.faults.get("shop/workers enumeration request", ""))
        assert f"{hr.url}/oauth/token" in why
        assert "check sources.shop.settings.client_id and sources.shop.settings.client_secret" in why
        assert "not-the-one" not in why
        assert polled.raw("workers") == []
        polled.close()
