"""A merger whose partition record, contributions or canonical topic were deleted: no golden record is lost."""

from __future__ import annotations

import pytest

from sluice.names import MAPPER, MERGER
from support.handmade import Handmade
from support.stage_flow import StageFlow


@pytest.fixture
def flow(handmade: Handmade) -> StageFlow:
    """P1 from two sources, P2 from one; mapped and merged."""
    flow = StageFlow(handmade)
    handmade.person("P1", "Ada")
    handmade.staff("P1", "12.5", notes="from the ERP")
    handmade.person("P2", "Alan")
    flow.run_to_end(MAPPER, MERGER)
    assert flow.golden().keys() == {"P1", "P2"}
    return flow


def lose(flow: StageFlow, topic: str, how: str) -> None:
    flow.recreate(topic) if how == "re-created" else flow.empty(topic)


@pytest.mark.parametrize("keeps_disk", [True, False], ids=["keeps its disk", "loses its disk"])
@pytest.mark.parametrize("how", ["re-created", "emptied"])
def test_deleted_contributions_delete_no_golden_record(flow: StageFlow, how: str, keeps_disk: bool) -> None:
    before, written = flow.golden(), flow.canonical_count()
    lose(flow, flow.handmade.contributions, how)
    if not keeps_disk:
        flow.lose_disk(MERGER)
    repair = {"re-created": "--to-earliest --execute", "emptied": f"skips accept {flow.handmade.names.group(MERGER)}"}
    flow.fault(MERGER, flow.handmade.contributions, "have the mapper claim again", repair[how])
    assert flow.canonical_count() == written
    flow.fault(MAPPER, flow.handmade.contributions, "--to-earliest --execute")
    flow.reread(MAPPER)
    flow.reread(MERGER)
    assert flow.golden() == before
    assert flow.canonical_count() == written, "a current record was written again"
    flow.handmade.delete("P2")
    flow.run_to_end(MAPPER, MERGER)
    assert flow.golden().keys() == {"P1"}


@pytest.mark.parametrize("keeps_disk", [True, False], ids=["keeps its disk", "loses its disk"])
@pytest.mark.parametrize("how", ["re-created", "emptied"])
def test_a_canonical_topic_that_lost_its_records_is_filled_again(flow: StageFlow, how: str, keeps_disk: bool) -> None:
    before = flow.golden()
    lose(flow, flow.handmade.canonical, how)
    if not keeps_disk:
        flow.lose_disk(MERGER)
    assert flow.golden() == {}
    with flow.running(MERGER):
        flow.await_golden(before)


def test_a_merger_without_its_partition_record_reports_a_fault_and_a_reset_writes_nothing_twice(
    flow: StageFlow,
) -> None:
    before, written = flow.golden(), flow.canonical_count()
    state = flow.handmade.names.state(MERGER, flow.handmade.contributions)
    flow.recreate(state)
    flow.fault(MERGER, f"{state}/", "--to-earliest --execute")
    flow.reread(MERGER)
    assert (flow.golden(), flow.canonical_count()) == (before, written)


def test_a_canonical_topic_re_created_while_the_merger_runs_is_a_fault_and_filled_after_a_restart(
    flow: StageFlow,
) -> None:
    before = flow.golden()
    with flow.running(MERGER):
        flow.recreate(flow.handmade.canonical)
        flow.await_fault(
            MERGER, f"topic {flow.handmade.canonical}", "re-created while this process ran", "restart the stage"
        )
    with flow.running(MERGER):
        flow.await_golden(before)
