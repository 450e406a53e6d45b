"""When tables that could not be read are tried again."""

from __future__ import annotations

from sluice_ingress_cdc.session import ReadAgain


def test_what_cannot_be_read_is_tried_more_rarely_each_time_until_an_operator_asks() -> None:
    again = ReadAgain()
    waits = []
    now = 100.0
    for _ in range(6):
        again.tried(now)
        waits.append(again.at - now)
        now = again.at
    assert waits == [30.0, 60.0, 120.0, 240.0, 300.0, 300.0]
    again.at_once()
    assert again.at == 0.0
    again.tried(now)
    assert again.at - now == 30.0
