"""The reference of types says what the code does, and nothing else."""

from __future__ import annotations

from support.types_page import ARRIVES, PAGE, page


def test_the_page_is_written_from_the_code() -> None:
    assert PAGE.read_text() == page(), "write it again: PYTHONPATH=tests python -m support.types_page"


def test_every_type_is_documented_once() -> None:
    assert len({one.sql for one in ARRIVES}) == len(ARRIVES)
