"""The page of change events shows what the code writes."""

from __future__ import annotations

from support.change_events_page import PAGE, page


def test_the_page_shows_what_the_code_writes() -> None:
    assert PAGE.read_text() == page(), "write it again: PYTHONPATH=tests python -m support.change_events_page"
