"""The page of dead letters explains every cause that the code has, and no other."""

from __future__ import annotations

import re

from support.repository import ROOT

PAGE = ROOT / "docs" / "how-to" / "read-dead-letters.md"
# Of ingress, which makes its dead letters from values instead of raising.
OF_INGRESS = {"unreadable-key", "too-large"}


def test_every_cause_is_explained_and_no_other() -> None:
    code = [file.read_text() for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py")]
    raised = {cause for text in code for cause in re.findall(r'(?:DeadRecord|_dead)\(\s*"([a-z-]+)"', text)}
    raised |= {"missing-member"}  # the code chooses between it and wrong-type
    rows = re.findall(r"^\| [^|]*`[a-z-]+`[^|]* \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    rows += re.findall(r"^\| every stage \| ([^|]+) \|", PAGE.read_text(), re.MULTILINE)
    assert {cause for row in rows for cause in re.findall(r"`([a-z-]+)`", row)} == raised | OF_INGRESS
