"""Every breakage of `make breakages` fits the code as it is, and names a test that exists."""

from __future__ import annotations

import pytest

from bench.breakage import Breakage
from bench.breakages import BREAKAGES
from support.repository import ROOT


@pytest.mark.parametrize("breakage", BREAKAGES, ids=[one.promise for one in BREAKAGES])
def test_a_breakage_finds_the_code_that_it_breaks_once_and_its_test(breakage: Breakage) -> None:
    text = (ROOT / breakage.file).read_text("utf-8")
    assert text.count(breakage.was) == 1, f"{breakage.file} reads differently now"
    path, _, name = breakage.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / path).read_text("utf-8"), f"{breakage.test} does not exist"
