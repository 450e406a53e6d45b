"""A raw topic that lost its records: a complete enumeration that is not much shorter decides what is deleted."""

from __future__ import annotations

import pytest

from sluice.position import Position
from sluice_ingress_poller.enumeration import ShrinkGuard
from sluice_ingress_poller.raw_topic_reset import RawTopicReset, why_not_swept

SINCE = Position(1, 7, 0)
GUARD = ShrinkGuard()


@pytest.mark.parametrize(
    ("listed", "keys", "sweeps"),
    [
        (40, 40, True),
        (40, 39, True),
        (40, 100, True),
        (40, 29, False),
        (2, 1, True),
        (2, 0, False),
        (1, 0, False),
        (0, 0, True),
        (None, 3, False),
        (None, 0, False),
    ],
)
def test_an_enumeration_sweeps_if_it_is_not_much_shorter_than_before(
    listed: int | None, keys: int, sweeps: bool
) -> None:
    fault, loss = why_not_swept(RawTopicReset(SINCE, listed), keys, 0, GUARD, "", "shop/things")
    assert (fault == "") is sweeps
    if loss is not None:
        assert f"the source lists {keys} keys" in fault
        assert "`sluice deletes accept shop things`" in fault
        assert why_not_swept(RawTopicReset(SINCE, listed), keys, 0, GUARD, loss.digest, "shop/things") == ("", loss)
        assert why_not_swept(RawTopicReset(Position(1, 8, 0), listed), keys, 0, GUARD, loss.digest, "shop/things")[0]


def test_nothing_is_swept_while_a_listed_key_is_not_in_the_topic() -> None:
    fault, loss = why_not_swept(RawTopicReset(SINCE, 40), 40, 2, GUARD, "", "shop/things")
    assert "2 of 40 listed keys are not in it" in fault
    assert loss is not None
    assert why_not_swept(RawTopicReset(SINCE, 40), 40, 3, GUARD, loss.digest, "shop/things")[0], (
        "another loss than accepted"
    )
    assert why_not_swept(RawTopicReset(SINCE, 40), 40, 2, GUARD, loss.digest, "shop/things") == ("", loss)
