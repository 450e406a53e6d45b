"""A command without the servers' variables names the way to them, if a demo left them next to the pipeline."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sluice.cli import server_access
from sluice.cli.main import app
from sluice.cli.server_access import BROKERS_VARIABLE, servers_reached
from sluice.errors import EnvironmentFault, SettingsError
from sluice.kafka import KafkaSettings
from sluice.pipeline import load_pipeline
from sluice.settings.stage import StageSettings
from support.people import PIPELINE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline's folder, with the terminal in the one above; the servers' variables are not set."""
    monkeypatch.delenv(BROKERS_VARIABLE, raising=False)
    monkeypatch.delenv("SLUICE_PIPELINE", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE.format(prefix="people.", dsn_file="dsn"))
    (folder / "entities.py").write_text("from support.people import Person as Person\n")
    return folder


def left_by_a_demo(folder: Path) -> None:
    (folder / ".sluice").mkdir()
    (folder / ".sluice" / "env").touch()


@pytest.mark.parametrize("command", [["lag"], ["verify"], ["explain", "person", "P1"]], ids=lambda given: given[0])
def test_a_command_without_servers_names_at_once_the_file_to_source(
    command: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_by_a_demo(folder)
    monkeypatch.setattr(server_access, "answers", lambda brokers: False)
    done = CliRunner().invoke(app, [*command, "--pipeline", "people"])
    assert done.exit_code == 3
    assert f"{BROKERS_VARIABLE} is not set. Next: . ./people/.sluice/env" in done.stderr


def test_for_servers_of_dev_up_the_way_is_dev_env(folder: Path) -> None:
    (folder / ".sluice" / "servers").mkdir(parents=True)
    assert server_access.way_to_variables(folder) == 'eval "$(sluice dev env --pipeline ./people)"'


def test_without_servers_of_its_own_a_pipeline_has_no_way(folder: Path) -> None:
    assert server_access.way_to_variables(folder) is None


def with_brokers(brokers: str) -> StageSettings:
    return StageSettings(kafka=KafkaSettings(bootstrap_servers=brokers))


def test_an_error_with_servers_that_answer_has_the_way_as_a_note(folder: Path) -> None:
    left_by_a_demo(folder)
    with socket.create_server(("127.0.0.1", 0)) as broker:
        settings = with_brokers(f"127.0.0.1:{broker.getsockname()[1]}")
        with pytest.raises(SettingsError, match="SINK_DSN") as caught, servers_reached(load_pipeline(folder), settings):
            raise SettingsError("environment variable SINK_DSN is not set")
    assert caught.value.__notes__ == [f"{BROKERS_VARIABLE} is not set: . ./people/.sluice/env"]


def test_with_the_variables_set_an_error_has_no_note(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_by_a_demo(folder)
    monkeypatch.setenv(BROKERS_VARIABLE, "kafka:9092")
    with pytest.raises(EnvironmentFault) as caught, servers_reached(load_pipeline(folder), with_brokers("kafka:9092")):
        raise EnvironmentFault("topic raw.crm.people", "does not exist", "run `sluice topics apply`")
    assert not hasattr(caught.value, "__notes__")


def test_an_address_without_a_listener_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert server_access.answers(f"nowhere,127.0.0.1:{port}")
    assert not server_access.answers(f"127.0.0.1:{port}")


def test_servers_that_ended_with_their_demo_are_reported_as_stopped(folder: Path) -> None:
    state_dir = folder / ".sluice"
    (state_dir / "servers").mkdir(parents=True)
    (state_dir / "servers" / "ports.json").write_text('{"kafka": 19999}')
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:19999")
    settings = StageSettings(kafka=kafka, state_dir=state_dir / "stages")
    with pytest.raises(EnvironmentFault) as caught, server_access.kafka_watched(settings):
        raise EnvironmentFault("Kafka at 127.0.0.1:19999", "does not answer", "start it")
    (note,) = caught.value.__notes__
    assert note.startswith(f"the servers of {state_dir} are stopped")
    others = StageSettings(kafka=KafkaSettings(bootstrap_servers="kafka:9092"), state_dir=state_dir / "stages")
    assert server_access.stopped_servers(others) is None


def test_outside_of_any_pipeline_a_demo_s_variables_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = folder.parent / "examples" / "workforce"
    demo.mkdir(parents=True)
    left_by_a_demo(demo)
    monkeypatch.setattr(server_access, "default_schemas_dir", lambda: folder.parent / "schemas")
    done = CliRunner().invoke(app, ["lag"])
    assert done.exit_code == 2
    assert "pipeline.yaml: No such file or directory" in done.stderr
    assert "a demo left its variables: . ./examples/workforce/.sluice/env" in done.stderr


def test_a_variable_that_is_wrong_is_an_error_of_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_KAFKA__TRANSACTION_TIMEOUT_MS", "soon")
    done = CliRunner().invoke(app, ["lag", "--pipeline", "people"])
    assert done.exit_code == 2
    assert "SLUICE_KAFKA__TRANSACTION_TIMEOUT_MS" in done.stderr
