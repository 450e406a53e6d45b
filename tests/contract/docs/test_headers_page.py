"""The reference of headers names the headers that Sluice writes, all of them and no others."""

from __future__ import annotations

import re

from sluice import headers
from support.repository import ROOT

PAGE = ROOT / "docs" / "reference" / "headers.md"


def test_the_page_lists_the_headers_that_sluice_writes() -> None:
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`([^`]+)`", row) if not name.startswith(".")}
    of_connect = {name for name in listed if name.startswith(headers.CONNECT)}
    written = {value for name, value in vars(headers).items() if name.endswith("_HEADER")}
    assert of_connect
    assert listed - of_connect == written


def test_no_other_module_spells_a_header() -> None:
    spelled = {value for name, value in vars(headers).items() if name.endswith("_HEADER") and value != "content-type"}
    code = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py")]
    for file in code:
        if file.name != "headers.py":
            assert not [name for name in spelled if f'"{name}"' in file.read_text()], file
