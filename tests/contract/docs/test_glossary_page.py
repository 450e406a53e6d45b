"""The glossary's terms are the words that are used, and words that were replaced are not."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

from support.repository import ROOT, tracked_text

PAGE = Path("docs/reference/glossary.md")
HERE = Path("tests/contract/docs/test_glossary_page.py")
SUFFIXES = (".py", ".md", ".sql", ".yaml", ".json", ".tpl", ".toml", "")
LINES = (ROOT / PAGE).read_text("utf-8").splitlines()
ROWS = [re.fullmatch(r"\| \*\*(.+)\*\* \| .+ \| (.*?) ?\|", line) for line in LINES if line.startswith("| **")]
TERMS = [row[1] for row in ROWS if row]
TEXTS = {path: text for path, text in tracked_text(*SUFFIXES).items() if path not in (PAGE, HERE)}
PROSE = "\n".join(text for path, text in TEXTS.items())

RETIRED = (
    r"told|untold|tells?|telling|held|holds?|holding|anew|mend(?:s|ed|ing)?|strangers?|nobody|whoever|besides?"
    r"|harm(?:s|ed|ful|less)?|alarms?|graves?|bury|buried|dug|born|begun|owe[sd]?"
)
# Where such a word is data: in stored JSON, in tables of running systems, in texts of other programs, in a licence.
KEPT = {
    ".ci/run": {"tells"},
    "CHANGELOG.md": {"begun", "graves", "held", "hold", "holds", "told"},
    "LICENSE": {"harmless", "hold"},
    "bench/breakages.py": {"graves"},
    "docs/decisions/0022-each-followed-table-has-a-watermark.md": {"held"},
    "docs/decisions/0033-a-raw-topic-that-lost-its-records-is-swept.md": {"anew"},
    "libs/sluice/cdc/watermarks.py": {"held"},
    "libs/sluice/cli/deletes.py": {"alarms"},
    "libs/sluice/embedded/postgres.py": {"nobody"},
    "libs/sluice/golden/sql/merge_old_tombstones.sql": {"graves"},
    "libs/sluice/golden/sql/note_table.sql": {"beside"},
    "libs/sluice/golden/sql/read_notes.sql": {"beside"},
    "libs/sluice/golden/sql/rename_old_tombstones.sql": {"graves"},
    "libs/sluice/golden/sql/watch.sql": {"beside"},
    "libs/sluice/golden/tables.py": {"graves"},
    "libs/sluice/golden/watch.py": {"beside"},
    "libs/sluice/state/store.py": {"hold"},
    "tests/unit/cdc/test_table_metric.py": {"held"},
    "tests/unit/cdc/test_watermarks.py": {"held"},
    "services/sluice_ingress_poller/watermark.py": {"alarms", "anew"},
    "tests/integration/sink/test_golden_tables.py": {"graves"},
}


def test_every_row_is_read() -> None:
    assert len(TERMS) == len(ROWS) > 20
    assert all(ROWS)


def test_terms_are_in_order_and_exist_once() -> None:
    tables = [list(rows) for is_row, rows in groupby(LINES, lambda line: line.startswith("| **")) if is_row]
    assert all(rows == sorted(rows) for rows in tables)
    assert len(TERMS) == len(set(TERMS))


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_used(term: str) -> None:
    assert re.search(rf"\b{re.escape(term).replace(chr(92) + ' ', '[ _]')}", PROSE, re.IGNORECASE)


def test_a_word_that_was_replaced_is_used_nowhere() -> None:
    found = {str(path): _retired(str(path), text) for path, text in TEXTS.items()}
    assert {path: words for path, words in found.items() if words} == {}


def _retired(path: str, text: str) -> set[str]:
    words = re.findall(rf"(?<![A-Za-z])(?:{RETIRED})(?![A-Za-z])", text, re.IGNORECASE)
    return {word.lower() for word in words} - KEPT.get(path, set())
