"""A mapper whose state or claims were deleted from Kafka: it reads no record and reports a fault. After a reset it
reads its input again, finds its claims in contributions, and retracts each claim that raw has no record of."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import NewPartitions
from typer.testing import CliRunner

from sluice.cli.main import app
from sluice.errors import EnvironmentFault
from sluice.names import MAPPER
from sluice_mapper.wiring import mapper_topics
from support.handmade import Handmade
from support.stage_flow import StageFlow
from support.stage_processes import environment_of


@pytest.fixture
def flow(handmade: Handmade) -> StageFlow:
    """P1 and P2 in both sources, P3 in one; all mapped."""
    flow = StageFlow(handmade)
    for number in ("P1", "P2"):
        handmade.person(number, "Ada")
        handmade.staff(number, "12.5", notes="a note that an update may leave out")
    handmade.person("P3", "Alan")
    flow.run_to_end(MAPPER)
    assert len(flow.claimed()) == 5
    return flow


def lose_state(flow: StageFlow, how: str) -> None:
    for topic in (flow.handmade.crm, flow.handmade.erp):
        state = flow.handmade.names.state(MAPPER, topic)
        flow.recreate(state) if how == "re-created" else flow.empty(state)
    if how == "emptied, and the disk lost":
        flow.lose_disk(MAPPER)


def lag(flow: StageFlow) -> str:
    """What `sluice lag` prints."""
    environment = environment_of(flow.handmade.settings, COLUMNS="2000")
    return CliRunner().invoke(app, ["lag"], env=environment).stdout


LOSSES = ["re-created", "emptied", "emptied, and the disk lost"]


@pytest.mark.parametrize("how", LOSSES)
def test_a_mapper_without_its_state_reports_a_fault_and_handles_deletes_after_a_reset(
    flow: StageFlow, how: str
) -> None:
    lose_state(flow, how)
    flow.handmade.delete("P2")
    before = flow.claimed()
    fault = flow.fault(MAPPER, f"{flow.handmade.names.state(MAPPER, flow.handmade.crm)}/", "--to-earliest --execute")
    assert f"--group {flow.handmade.names.group(MAPPER)} --topic {flow.handmade.crm}" in fault
    assert flow.claimed() == before, "it read a record before the fault"
    assert f"blocked: {flow.handmade.crm}/" in (shown := lag(flow))
    assert fault.partition("Next: ")[2] in shown
    flow.reread(MAPPER)
    assert set(flow.claimed()) == {"crm_person/P1", "crm_person/P3", "erp_staff/P1", "erp_staff/P2"}
    flow.handmade.delete("P1")
    flow.run_to_end(MAPPER)
    assert set(flow.claimed()) == {"crm_person/P3", "erp_staff/P1", "erp_staff/P2"}


def test_a_current_claim_is_not_written_again(flow: StageFlow) -> None:
    before = len(flow.handmade.records(flow.handmade.contributions))
    lose_state(flow, "re-created")
    flow.reread(MAPPER)
    assert len(flow.handmade.records(flow.handmade.contributions)) == before


def test_a_key_without_a_raw_record_is_retracted_when_the_pass_ends(flow: StageFlow) -> None:
    """Its delete was compacted away: only contributions contains the key."""
    flow.recreate(flow.handmade.crm, flow.handmade.names.state(MAPPER, flow.handmade.crm))
    flow.handmade.person("P1", "Ada")
    flow.handmade.person("P3", "Alan")
    flow.reread(MAPPER)
    assert set(flow.claimed()) == {"crm_person/P1", "crm_person/P3", "erp_staff/P1", "erp_staff/P2"}


def test_a_parked_record_keeps_the_older_claim_current(flow: StageFlow) -> None:
    before = flow.claimed()
    flow.handmade.raw(flow.handmade.crm, '{"id":"P1"}', b"no json", [("sluice-op", b"u")])
    lose_state(flow, "re-created")
    flow.reread(MAPPER)
    assert flow.claimed() == before


def test_a_value_that_an_update_leaves_out_is_known_again(flow: StageFlow) -> None:
    lose_state(flow, "re-created")
    flow.reread(MAPPER)
    flow.handmade.staff("P1", "13", left_out=["notes"])
    flow.run_to_end(MAPPER)
    newest = [c for c in flow.contributions() if (c.mapping, c.entity_id) == ("erp_staff", "P1")][-1]
    assert newest.fields["notes"] == "a note that an update may leave out"


def test_a_pass_that_was_stopped_continues_and_has_the_same_result(flow: StageFlow) -> None:
    lose_state(flow, "re-created")
    flow.reset_to_earliest(MAPPER)
    with flow.running(MAPPER):
        pass
    flow.lose_disk(MAPPER)
    flow.handmade.delete("P2")
    flow.run_to_end(MAPPER)
    assert set(flow.claimed()) == {"crm_person/P1", "crm_person/P3", "erp_staff/P1", "erp_staff/P2"}


@pytest.mark.parametrize("how", ["re-created", "emptied"])
def test_deleted_claims_are_a_fault_and_are_claimed_again_after_a_reset(flow: StageFlow, how: str) -> None:
    before, topic = flow.claimed(), flow.handmade.contributions
    flow.recreate(topic) if how == "re-created" else flow.empty(topic)
    flow.fault(MAPPER, topic, f"--topic {flow.handmade.crm} --reset-offsets --to-earliest --execute")
    assert flow.claimed() == {}
    flow.reread(MAPPER)
    assert flow.claimed() == before
    flow.handmade.delete("P3")
    flow.run_to_end(MAPPER)
    assert "crm_person/P3" not in flow.claimed()


def test_a_re_created_raw_topic_is_read_after_a_reset_and_deletes_find_the_old_claims(
    flow: StageFlow,
) -> None:
    before = flow.claimed()
    flow.recreate(flow.handmade.crm)
    flow.handmade.person("P1", "Ada")
    flow.fault(MAPPER, f"{flow.handmade.crm}/", "re-created", "--to-earliest --execute")
    flow.reread(MAPPER)
    assert set(flow.claimed()) == set(before)
    flow.handmade.delete("P3")
    flow.run_to_end(MAPPER)
    assert "crm_person/P3" not in flow.claimed()


def test_a_raw_topic_with_more_partitions_is_repaired_as_the_check_says(flow: StageFlow) -> None:
    topics = [flow.handmade.crm, flow.handmade.names.state(MAPPER, flow.handmade.crm)]
    with flow.running(MAPPER):
        flow.handmade.admin.create_partitions([NewPartitions(flow.handmade.crm, 3)])[flow.handmade.crm].result(30)
        flow.await_fault(MAPPER, f"{topics[1]}/2", "sluice topics check")
    with pytest.raises(EnvironmentFault, match=r"has 3 partitions where 2 are declared") as refused:
        mapper_topics(flow.handmade.pipeline, flow.handmade.settings)
    assert f"delete {flow.handmade.crm} and, where there is one, the topic state.<stage>." in str(refused.value)
    flow.recreate(*topics)
    flow.handmade.person("P1", "Ada")
    flow.handmade.person("P3", "Alan")  # the source has deleted P2 meanwhile
    flow.run_to_end(MAPPER)
    assert set(flow.claimed()) == {"crm_person/P1", "crm_person/P3", "erp_staff/P1", "erp_staff/P2"}


def test_a_raw_topic_without_records_retracts_nothing(flow: StageFlow) -> None:
    before = flow.claimed()
    flow.recreate(flow.handmade.crm, flow.handmade.names.state(MAPPER, flow.handmade.crm))
    flow.fault(MAPPER, flow.handmade.crm, "it is empty", "ingress-poller")
    assert flow.claimed() == before


def test_an_operator_confirms_that_an_emptied_raw_topic_is_complete_again(flow: StageFlow) -> None:
    before = flow.claimed()
    lose_state(flow, "re-created")
    flow.empty(flow.handmade.crm)
    flow.handmade.person("P1", "Ada")
    flow.reset_to_earliest(MAPPER)
    flow.fault(
        MAPPER, "ingress-poller", f"sluice skips accept {flow.handmade.names.group(MAPPER)} {flow.handmade.crm} "
    )
    assert set(flow.claimed()) == set(before)
    flow.handmade.person("P3", "Alan")
    flow.reread(MAPPER)
    assert set(flow.claimed()) == {"crm_person/P1", "crm_person/P3", "erp_staff/P1", "erp_staff/P2"}


def test_a_state_topic_re_created_while_the_mapper_runs_is_a_fault_before_a_delete_is_lost(flow: StageFlow) -> None:
    state = flow.handmade.names.state(MAPPER, flow.handmade.crm)
    with flow.running(MAPPER):
        flow.recreate(state)
        flow.await_fault(MAPPER, f"topic {state}", "re-created while this process ran", "restart the stage")
    flow.handmade.delete("P2")
    flow.fault(MAPPER, f"{state}/", "--to-earliest --execute")
    flow.reread(MAPPER)
    assert "crm_person/P2" not in flow.claimed()
