"""The glossary's terms are the words that are used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.repository import ROOT, tracked_text

PAGE = Path("docs/reference/glossary.md")
TERMS = re.findall(r"^\| \*\*(.+?)\*\* \| .* \| (.*?) ?\|$", (ROOT / PAGE).read_text(), re.MULTILINE)
# Where an older word has to stand: the page itself, and what takes over databases that still have it.
STATEMENTS = "libs/sluice/golden/sql"
OLDER = {PAGE, Path(f"{STATEMENTS}/rename_old_tombstones.sql"), Path(f"{STATEMENTS}/merge_old_tombstones.sql")}
OLDER |= {Path("libs/sluice/golden/tables.py"), Path("tests/integration/sink/test_golden_tables.py")}
OLDER |= {Path("bench/breakages.py"), Path("CHANGELOG.md"), Path("tests/contract/docs/test_glossary_page.py")}
TEXTS = {path: text for path, text in tracked_text().items() if path.suffix in (".py", ".md", ".sql", ".yaml")}
PROSE = "\n".join(text for path, text in TEXTS.items() if path != PAGE)


def test_terms_stand_in_order_and_once() -> None:
    names = [name for name, _ in TERMS]
    assert names
    assert names == sorted(set(names))


@pytest.mark.parametrize("term", [name for name, _ in TERMS])
def test_a_term_is_used(term: str) -> None:
    assert re.search(rf"\b{term.replace(' ', r'[ _]')}", PROSE, re.IGNORECASE)


@pytest.mark.parametrize("retired", [word for _, words in TERMS for word in words.split(", ") if word])
def test_a_word_that_was_replaced_is_used_nowhere(retired: str) -> None:
    found = re.compile(rf"(?<![a-z]){retired}s?(?![a-z])", re.IGNORECASE)
    assert [str(path) for path, text in TEXTS.items() if path not in OLDER and found.search(text)] == []
