"""An explanation as text, whatever the logs contain."""

from __future__ import annotations

from typing import cast

import pytest

from sluice.explain.evidence import current_claims
from sluice.explain.explanation import ClaimOrigin, Explanation, LosingClaim
from sluice.explain.explanation import FieldExplained as Field
from sluice.explain.raw_places import RawPlace, ResponsePlace
from sluice.explain.rendering import lines
from sluice.kafka import LogReader
from sluice.provenance import RawRef
from support.claims import contribution
from support.memory_log import MemoryLogs

RAW = RawRef("raw.hr.workers", 0, 7)


def text_of(effective_at: int, fetched_ms: int = 0) -> str:
    origin = ClaimOrigin("hr", "workers", "{}", "worker", 1, RAW, 0, effective_at)
    place = RawPlace("exists", 7, ResponsePlace("id", "responses.hr", 0, 1, fetched_ms))
    field = Field("name", "Ada", "source_order", origin, [], False)
    return "\n".join(lines(Explanation("worker", "W", "not-stored", None, (), [field], {RAW: place})))


def test_a_time_of_the_calendar_is_printed_as_a_time() -> None:
    assert "effective 2026-03-01T12:00:00Z" in text_of(1_772_366_400_000_000)


@pytest.mark.parametrize("micros", [-(10**17), 2**63 - 1, 10**30])
def test_a_time_outside_of_the_calendar_is_printed_as_its_number(micros: int) -> None:
    assert f"effective {micros} µs" in text_of(micros)


def test_a_timestamp_is_printed_as_a_time_and_that_of_a_losing_claim_too() -> None:
    origin = ClaimOrigin("hr", "workers", "{}", "worker", 1, RAW, 0, None)
    losing = [LosingClaim(1_772_366_400_000_000, origin._replace(source="erp"))]
    field = Field("updated_at", 1_772_366_401_500_000, "source_order", origin, losing, False, "timestamp")
    shown = "\n".join(lines(Explanation("worker", "W", "not-stored", None, (), [field], {})))
    assert "updated_at: 2026-03-01T12:00:01.500000Z\n" in shown
    assert "lost: 2026-03-01T12:00:00Z from erp.workers" in shown
    number = field._replace(kind="int")
    assert "updated_at: 1772366401500000\n" in "\n".join(
        lines(Explanation("worker", "W", "not-stored", None, (), [number], {}))
    )


def test_a_response_after_the_calendar_is_printed_with_its_number() -> None:
    assert f"fetched {(2**48 - 1) * 1_000} µs" in text_of(0, 2**48 - 1)


def test_a_contribution_with_the_key_of_another_is_no_claim() -> None:
    logs = MemoryLogs()
    good = contribution()
    stray = contribution(source="foreign")
    for key, claim in ((good.key, good), (b"[]", stray), (stray.key, good), (None, stray)):
        logs.append("contributions.worker", 0, key, claim.to_json(), [])
    reader = cast(LogReader, logs)
    assert current_claims("contributions.worker", 0, good.entity_id, reader) == [good]
