"""Every page is reachable from the README within two clicks, and every link and anchor leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.repository import ROOT

PAGES = sorted(
    page
    for page in ROOT.rglob("*.md")
    if not {".venv", ".sluice", "node_modules", ".pytest_cache"} & set(page.relative_to(ROOT).parts)
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```", re.DOTALL)
CLICKS_MAX = 2


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Where a page's links into the repository lead: file or folder, and anchor."""
    for target in _LINK.findall(_CODE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield ((page.parent / path) if path else page).resolve(), anchor


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", _CODE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert not dead


def test_every_page_is_two_clicks_from_the_readme_at_most() -> None:
    reached, newest = {ROOT / "README.md"}, {ROOT / "README.md"}
    for _ in range(CLICKS_MAX):
        targets = {target for page in newest for target, _ in links(page)}
        newest = {page for target in targets for page in ([target] if target.is_file() else target.glob("*.md"))}
        newest = {page for page in newest if page.suffix == ".md"} - reached
        reached |= newest
    assert sorted(str(page.relative_to(ROOT)) for page in set(PAGES) - reached) == []
