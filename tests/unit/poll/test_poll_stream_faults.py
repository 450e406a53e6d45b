"""What is reported of a stream's failing requests."""

from __future__ import annotations

from sluice.errors import EnvironmentFault, Transient
from sluice.telemetry import Health
from sluice_ingress_poller.faults import FAULT_FROM_ATTEMPT, StreamFaults
from sluice_ingress_poller.watermark import CHANGES, ENUMERATION

SECRET = "s3cret-Key_abcdef"
REFUSED = EnvironmentFault("GET https://h/x?a=1", "status 400", "check the parameters")


def shown(health: Health) -> str:
    return health.faults.get("hr/workers enumeration request", "")


def test_a_refused_request_names_the_first_stored_answer_that_says_so() -> None:
    health = Health()
    faults = StreamFaults("hr/workers", health, lambda: [SECRET])
    faults.failed(ENUMERATION, b"1", REFUSED, 1, "id-1")
    assert shown(health) == f"{REFUSED}. Its answer: `sluice responses show id-1`"
    faults.failed(ENUMERATION, b"1", REFUSED, 2, "id-2")
    assert "id-1" in shown(health), "the same refusal is no new cause"
    assert health.active["hr/workers enumeration request"].attempts == 2
    faults.failed(ENUMERATION, b"1", EnvironmentFault("GET https://h/x", "status 404", "check"), 3, "id-3")
    assert "id-3" in shown(health)


def test_without_an_answer_none_is_named() -> None:
    health = Health()
    StreamFaults("hr/workers", health, lambda: [SECRET]).failed(
        ENUMERATION, b"1", Transient("no connection"), FAULT_FROM_ATTEMPT
    )
    assert "responses show" not in shown(health)
    assert shown(health)


def test_only_an_answer_to_what_failed_resolves_its_fault() -> None:
    health = Health()
    health.started()
    faults = StreamFaults("hr/workers", health, lambda: [SECRET])
    faults.failed(ENUMERATION, b"1", REFUSED, 1, "id-1")
    faults.answered(CHANGES, b"2", finished=True)
    faults.answered(ENUMERATION, b"2", finished=False)
    assert shown(health)
    faults.answered(ENUMERATION, b"1", finished=False)
    assert not health.faults
