"""The reference of what is done to followed tables says what the tests show, and nothing else."""

from __future__ import annotations

from support.postgres_deeds import DEEDS
from support.postgres_sources_page import PAGE, page


def test_the_page_is_written_from_the_cases() -> None:
    assert PAGE.read_text() == page(), "write it again: PYTHONPATH=tests python -m support.postgres_sources_page"


def test_every_case_is_documented_once() -> None:
    assert len({deed.what for deed in DEEDS}) == len(DEEDS)
    assert len(DEEDS) >= 60
