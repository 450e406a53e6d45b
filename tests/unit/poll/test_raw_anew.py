"""A raw topic that lost what it held: the first whole listing that is not much shorter says what is gone."""

from __future__ import annotations

import pytest

from sluice.position import Position
from sluice_ingress_poller.enumeration import ShrinkGuard
from sluice_ingress_poller.raw_anew import RawAnew, why_not_swept

SINCE = Position(1, 7, 0)
GUARD = ShrinkGuard()


@pytest.mark.parametrize(
    ("listed", "seen", "sweeps"),
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
def test_a_listing_sweeps_where_it_is_not_much_less_than_before(listed: int | None, seen: int, sweeps: bool) -> None:
    alarm, loss = why_not_swept(RawAnew(SINCE, listed), seen, 0, GUARD, "", "shop/things")
    assert (alarm == "") is sweeps
    if loss is not None:
        assert f"the source lists {seen} keys" in alarm
        assert "`sluice deletes accept shop things`" in alarm
        assert why_not_swept(RawAnew(SINCE, listed), seen, 0, GUARD, loss.digest, "shop/things") == ("", loss)
        assert why_not_swept(RawAnew(Position(1, 8, 0), listed), seen, 0, GUARD, loss.digest, "shop/things")[0]


def test_nothing_is_swept_while_a_listed_key_is_not_in_the_topic() -> None:
    alarm, loss = why_not_swept(RawAnew(SINCE, 40), 40, 2, GUARD, "", "shop/things")
    assert "2 of 40 listed keys are not in it" in alarm
    assert loss is not None
    assert why_not_swept(RawAnew(SINCE, 40), 40, 3, GUARD, loss.digest, "shop/things")[0], "another loss than accepted"
    assert why_not_swept(RawAnew(SINCE, 40), 40, 2, GUARD, loss.digest, "shop/things") == ("", loss)
