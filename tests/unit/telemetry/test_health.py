"""What a stage answers to probes: alive while it makes progress, ready while no fault is active."""

from __future__ import annotations

import json
import os
import threading
from contextlib import closing
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
import structlog
from prometheus_client import generate_latest

from sluice.kafka.record import Record
from sluice.telemetry import Health, metrics, set_fault_metric
from sluice.telemetry.health import innermost_places
from sluice.telemetry.server import TelemetryServer
from support.waiting import eventually


def test_a_stage_without_progress_is_not_alive_even_without_a_fault() -> None:
    health = Health(stalled_after_s=0.0)
    health.started()
    assert not health.faults
    assert not health.alive


def test_a_loop_without_progress_is_a_fault_that_names_its_record_until_it_continues() -> None:
    health = Health(stalled_after_s=0.0)
    health.started()
    health.watched()
    health.processing(Record("raw.shop.books", 0, 17, b"{}", b"{}", {}, 0))
    health.watch()
    why = health.faults["loop"]
    assert "the stage still processes record raw.shop.books/0@17" in why
    health.watch()
    assert health.faults == {"loop": why}, "the text does not change with each check"
    health.processing(None)
    assert not health.faults
    health.watch()
    assert "the stage waits, at " in health.faults["loop"]
    assert "check that Kafka and Postgres answer" in health.faults["loop"]


def test_a_loop_that_makes_progress_is_no_fault() -> None:
    health = Health()
    health.started()
    health.watched()
    health.watch()
    assert not health.faults


def test_the_place_of_a_thread_is_its_file_and_line() -> None:
    waiting, released = threading.Event(), threading.Event()

    def hang() -> None:
        waiting.set()
        released.wait()

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    waiting.wait()
    line = hang.__code__.co_firstlineno + 2
    try:
        eventually(lambda: f"unit/telemetry/test_health.py:{line}" in innermost_places(thread.ident or 0))
    finally:
        released.set()
        thread.join()


def test_several_faults_are_resolved_one_by_one() -> None:
    health = Health()
    assert health.faults == {"start": "starting"}
    health.started()
    health.fault("environment", "no such table")
    health.fault("raw.hr.workers/0", "moved forward")
    health.resolve("environment")
    assert health.faults == {"raw.hr.workers/0": "moved forward"}
    assert health.alive


def test_the_probes_answer_at_the_address_in_the_run_file_which_is_deleted_with_the_stage(tmp_path: Path) -> None:
    run_file = tmp_path / "run" / "mapper.json"
    health = Health()
    with closing(TelemetryServer("127.0.0.1", 0, health, run_file)):
        at = json.loads(run_file.read_text())
        base = f"http://{at['host']}:{at['port']}"
        assert httpx2.get(f"{base}/healthz").status_code == 200
        assert (httpx2.get(f"{base}/readyz").status_code, httpx2.get(f"{base}/nothing").status_code) == (503, 404)
        health.started()
        assert httpx2.get(f"{base}/readyz").json() == {"ready": True, "faults": {}, "since": {}}
        health.fault("table t", "is missing")
        answer = httpx2.get(f"{base}/readyz").json()
        assert (answer["ready"], answer["faults"]) == (False, {"table t": "is missing"})
        assert (
            datetime.fromisoformat(answer["since"]["table t"]).timestamp() == health.active["table t"].since_us // 10**6
        )
        metrics.DEAD_LETTERS.labels("probed", "0123456789ab").inc()
        counted = 'sluice_dead_letters_total{cause="0123456789ab",stage="probed"} 1.0'
        assert counted in httpx2.get(f"{base}/metrics").text
    assert not run_file.exists()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{base}/healthz")


def test_a_second_process_of_a_stage_that_is_refused_restores_the_address_of_the_first(tmp_path: Path) -> None:
    run_file = tmp_path / "mapper.json"
    first = json.dumps({"pid": os.getppid(), "host": "127.0.0.1", "port": 1})
    run_file.write_text(first)
    with closing(TelemetryServer("127.0.0.1", 0, Health(), run_file)):
        assert run_file.read_text() != first
    assert run_file.read_text() == first


def test_the_address_of_a_dead_process_is_deleted_by_the_next_one(tmp_path: Path) -> None:
    run_file = tmp_path / "mapper.json"
    run_file.write_text(json.dumps({"pid": 2**22 + 1, "host": "127.0.0.1", "port": 1}))
    with closing(TelemetryServer("127.0.0.1", 0, Health(), run_file)):
        pass
    assert not run_file.exists()


def test_a_fault_is_a_metric_while_it_is_active_and_a_start_is_none() -> None:
    def served() -> list[str]:
        return [line for line in generate_latest().decode().splitlines() if line.startswith("sluice_fault{")]

    health = Health(on_change=lambda about, active: set_fault_metric("probed", about, active))
    health.starting("source erp")
    health.fault("table t", "is missing")
    health.fault("table t", "is still missing")
    assert served() == ['sluice_fault{about="table t",stage="probed"} 1.0']
    health.resolve("table t")
    health.resolve("source erp")
    assert served() == []


def test_a_new_cause_is_logged_once_however_often_it_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = structlog.testing.CapturingLogger()
    monkeypatch.setattr("sluice.telemetry.health.log", lines)
    health = Health()
    for _ in range(3):
        health.fault("table t", "is missing")
    health.fault("table t", "is full")
    health.started()
    health.resolve("table t")
    assert [(line.args[0], line.kwargs.get("why")) for line in lines.calls] == [
        ("fault", "is missing"),
        ("fault", "is full"),
        ("fault resolved", None),
    ]
