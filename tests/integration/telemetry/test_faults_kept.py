"""An active fault is kept in Kafka until it is resolved, even if the process that reported it ends."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.errors import EnvironmentFault, ExitCode
from sluice.kafka import KafkaSettings, LogReader
from sluice.lag.faults import ActiveFaults, active_faults
from sluice.telemetry import telemetry
from support.handmade import Handmade
from support.stage_processes import environment_of
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("logs_as_before")

TABLE = "table golden.person"
WHY = "table golden.person: was dropped. Next: run `sluice sink rebuild person`"


def active(handmade: Handmade) -> ActiveFaults:
    with LogReader(handmade.kafka) as reader:
        return active_faults(reader, handmade.names)


def abouts(handmade: Handmade) -> set[tuple[str, str]]:
    return {(one.stage, one.about) for one in active(handmade).faults}


def lag(handmade: Handmade, *options: str, exit_code: ExitCode = ExitCode.FINDING) -> str:
    """The output of `sluice lag`. No process polls in these tests, which is a finding."""
    environment = environment_of(handmade.settings, COLUMNS="300")
    done = CliRunner().invoke(app, ["lag", *options], env=environment)
    assert done.exit_code == exit_code, done.output
    return done.output


def test_lag_shows_a_fault_first_until_it_is_resolved(handmade: Handmade) -> None:
    with telemetry(handmade.settings, handmade.names, "sink-postgres") as health:
        health.started()
        health.fault(TABLE, WHY)
        eventually(lambda: abouts(handmade) == {("sink-postgres", TABLE)}, "the fault is kept")
        first = lag(handmade).splitlines()[0]
        assert first.startswith("FAULT since ")
        assert first.endswith("sink-postgres: table golden.person: was dropped. Next: run `sluice sink rebuild person`")
        (fault,) = orjson.loads(lag(handmade, "--json").splitlines()[-1])["faults"]
        assert (fault["stage"], fault["about"], fault["why"]) == ("sink-postgres", TABLE, WHY)
        assert abs(fault["since_s"] - health.active[TABLE].since_us / 1e6) < 1e-3
        health.resolve(TABLE)
        eventually(lambda: not active(handmade).faults, "it is resolved")
    assert TABLE not in lag(handmade)


def test_a_restarted_process_resolves_its_own_faults_that_it_does_not_report_again(handmade: Handmade) -> None:
    other = handmade.settings.model_copy(update={"instance": "1"})
    for settings in (handmade.settings, other):
        with telemetry(settings, handmade.names, "mapper") as health:
            health.started()
            health.fault("raw.crm.people/0", "moved forward")
            health.fault("raw.crm.people/1", "moved forward")
    assert len(active(handmade).faults) == 4, "the end of a process resolves nothing"
    with telemetry(handmade.settings, handmade.names, "mapper") as health:
        health.fault("raw.crm.people/1", "moved forward")
        health.started()
        left = {("0", "raw.crm.people/1"), ("1", "raw.crm.people/0"), ("1", "raw.crm.people/1")}
        eventually(
            lambda: {(one.instance, one.about) for one in active(handmade).faults} == left, "the others are resolved"
        )


def test_what_ended_a_stage_is_its_last_fault(handmade: Handmade) -> None:
    with pytest.raises(EnvironmentFault), telemetry(handmade.settings, handmade.names, "merger"):
        raise EnvironmentFault("topic canonical.person", "does not exist", "run `sluice topics apply`")
    (fault,) = active(handmade).faults
    assert fault.why == "the process ended: topic canonical.person: does not exist. Next: run `sluice topics apply`"


def test_a_bug_that_ended_a_stage_is_reported_without_the_text_of_the_exception(handmade: Handmade) -> None:
    with pytest.raises(ValueError, match="Ada Lovelace"), telemetry(handmade.settings, handmade.names, "merger"):
        raise ValueError("Ada Lovelace")
    (fault,) = active(handmade).faults
    assert "a bug in Sluice ended the process (ValueError)" in fault.why
    assert "Ada" not in fault.why


def test_a_topic_that_was_never_applied_breaks_neither_stage_nor_lag_and_both_name_the_command(
    handmade: Handmade,
) -> None:
    for deleted in handmade.admin.delete_topics([handmade.names.faults]).values():
        deleted.result(10)
    eventually(lambda: "does not exist" in active(handmade).unknown, "the topic is deleted")
    assert f"whether faults are active is not known: topic {handmade.names.faults}: does not exist" in lag(handmade)
    with telemetry(handmade.settings, handmade.names, "mapper") as health:
        health.started()
        health.fault(TABLE, WHY)
        why = eventually(lambda: health.faults.get(handmade.names.faults), "the missing topic is a fault")
        assert "run `sluice topics apply`" in why
        handmade.apply_topics()
        eventually(lambda: abouts(handmade) == {("mapper", TABLE)}, "the fault is kept after the topic exists")
        eventually(lambda: list(health.faults) == [TABLE], "the missing topic is no longer a fault")


def test_lag_shows_faults_even_if_it_cannot_measure_lag(handmade: Handmade) -> None:
    with telemetry(handmade.settings, handmade.names, "sink-postgres") as health:
        health.started()
        health.fault(TABLE, WHY)
        eventually(lambda: abouts(handmade) == {("sink-postgres", TABLE)}, "the fault is kept")
    for deleted in handmade.admin.delete_topics([handmade.crm]).values():
        deleted.result(10)
    eventually(lambda: handmade.crm not in handmade.admin.list_topics(timeout=10).topics, "the topic is deleted")
    output = lag(handmade, exit_code=ExitCode.ENVIRONMENT)
    assert WHY in output
    assert f"topic {handmade.crm}: does not exist" in output
    found = orjson.loads(lag(handmade, "--json", exit_code=ExitCode.ENVIRONMENT).splitlines()[0])
    assert [one["about"] for one in found["faults"]] == [TABLE]
    assert handmade.crm in found["lag_unknown"]
    assert found["stages"] == {}


def test_a_kafka_that_does_not_answer_blocks_no_stage(tmp_path: Path, handmade: Handmade) -> None:
    unreachable = KafkaSettings(bootstrap_servers="127.0.0.1:9")
    with telemetry(handmade.settings.model_copy(update={"kafka": unreachable}), handmade.names, "mapper") as health:
        health.started()
        health.fault(TABLE, WHY)
        assert list(health.faults) == [TABLE]
    assert not active(handmade).faults
