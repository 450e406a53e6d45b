"""Stages and commands report that Kafka does not answer: after five seconds, then every half minute."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.kafka import KafkaSettings, watch
from sluice.kafka.watch import Silence
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings
from sluice.telemetry import KAFKA, telemetry
from support.people import PIPELINE
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("logs_as_before")


def test_silence_is_reported_after_five_seconds_and_then_every_half_minute() -> None:
    silence = Silence(100.0)
    reported = [now_s for now_s in range(100, 180) if silence.unanswered(float(now_s)) is not None]
    assert reported == [105, 135, 165]
    assert silence.unanswered(195.0) == 95.0, "counted from when it last answered"


def test_an_answer_ends_the_silence() -> None:
    silence = Silence(0.0)
    for now_s in range(0, 100, 4):
        assert silence.unanswered(float(now_s)) is None
        silence.answered(float(now_s))


@pytest.fixture(params=["no listener", "a listener that does not answer"])
def silent(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if request.param == "no listener":
            server.close()
        yield address


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(prefix="test.", dsn_file="dsn"))
    (tmp_path / "entities.py").write_text("from support.people import Person as Person\n")
    return tmp_path


def test_a_stage_whose_kafka_is_silent_is_not_ready_and_says_which(
    monkeypatch: pytest.MonkeyPatch, silent: str, pipeline: Path
) -> None:
    monkeypatch.setattr(watch, "REPORTED_AFTER_S", 0.0)
    kafka = KafkaSettings(bootstrap_servers=silent)
    settings = StageSettings(pipeline=pipeline, state_dir=pipeline / "state", kafka=kafka)
    with telemetry(settings, load_pipeline(pipeline).names, "mapper") as health:
        health.started()
        fault = eventually(lambda: health.faults.get(KAFKA), "the silence is reported")
    assert f"Kafka at {silent} does not answer" in fault
    assert "correct SLUICE_KAFKA__BOOTSTRAP_SERVERS" in fault


def test_a_command_says_while_it_waits_that_kafka_is_silent(silent: str, pipeline: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
        "SLUICE_PIPELINE": str(pipeline),
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": silent,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    said = pipeline / "said"
    command = [sys.executable, "-m", "sluice.cli.main", "topics", "check"]
    with said.open("w") as stderr, subprocess.Popen(command, env=environment, stderr=stderr) as waiting:
        try:
            eventually(lambda: "does not answer" in said.read_text(), "the silence is reported", state=said.read_text)
            assert waiting.poll() is None, "while it still waits"
        finally:
            waiting.kill()
    assert f"s now: Kafka at {silent} does not answer" in said.read_text()
