"""Committed texts speak of the project alone: links resolve, and nothing points outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.repository import ROOT, tracked_files, tracked_text

TEXTS = {path: text for path, text in tracked_text().items() if path != Path("LICENSE")}
MARKDOWN = {path: text for path, text in TEXTS.items() if path.suffix == ".md"}
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

# Spelled in parts, so that this file does not contain what it searches for.
REGISTRIES = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "npmjs" + ".com", "maven" + ".org"]
REGISTRIES += ["repo.maven" + ".apache", "proxy.golang" + ".org", "crates" + ".io", "test." + "pypi"]
MACHINE_PATHS = re.compile(r"(?<![\w.~$}/-])/(?:wor" + r"k|roo" + r"t|hom" + r"e|Use" + r"rs)/[\w.-]+")


def hits(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path, text in TEXTS.items():
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path}:{number}")
    return found


def test_no_address_of_a_package_registry_is_committed() -> None:
    assert hits(re.compile("|".join(map(re.escape, REGISTRIES)), re.IGNORECASE)) == []


def test_no_path_of_somebodys_machine_is_committed() -> None:
    assert hits(MACHINE_PATHS) == []


def test_the_check_for_machine_paths_sees_one() -> None:
    assert MACHINE_PATHS.search("see " + "/hom" + "e/ada/notes.md")
    assert not MACHINE_PATHS.search("http://example.org" + "/wor" + "k/order")


def links(text: str) -> list[str]:
    """Targets of a page's links inside the repository, without anchors; code blocks are not prose."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [target.partition("#")[0] for target in targets if "://" not in target and not target.startswith("#")]


@pytest.mark.parametrize("page", MARKDOWN, ids=str)
def test_links_of_a_page_lead_to_files_of_the_repository(page: Path) -> None:
    for target in links(MARKDOWN[page]):
        found = (ROOT / page.parent / target).resolve()
        assert found.is_relative_to(ROOT), f"{page}: {target} leaves the repository"
        assert found.exists(), f"{page}: {target} does not exist"


def named_files(text: str) -> set[str]:
    """Files of ours that a page names in backquotes, with their folder."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    folders = r"(?:libs|services|schemas|tests|docs|deploy|helm|examples|requirements|sluice|sluice_[a-z_]+)"
    return {span for span in spans if re.fullmatch(rf"{folders}/[\w./-]+\.(?:py|md|sql|yaml|yml|json|txt|avsc)", span)}


def exists(name: str) -> bool:
    return any((ROOT / root / name).exists() for root in ("", "libs", "services"))


DOCS = [page for page in MARKDOWN if page.parts[0] in ("docs", "deploy") or len(page.parts) == 1]


@pytest.mark.parametrize("page", DOCS, ids=str)
def test_files_that_a_page_names_exist(page: Path) -> None:
    assert [name for name in sorted(named_files(MARKDOWN[page])) if not exists(name)] == []


def test_decisions_are_numbered_once_and_have_their_three_parts() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert numbers
    assert len(set(numbers)) == len(numbers)
    for path in DECISIONS:
        text = path.read_text("utf-8")
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name), path.name
        assert re.match(rf"# {path.name[:4]} \S", text), f"{path.name}: begins with its number and what was decided"
        headings = [heading.lower() for heading in re.findall(r"^## (.+)$", text, re.MULTILINE)]
        assert [h for h in headings if h in ("context", "decision", "price")] == ["context", "decision", "price"]
        assert len(text.splitlines()) <= 80, f"{path.name} is longer than a page"


def test_files_that_every_project_has_are_there() -> None:
    names = {str(path) for path in tracked_files()}
    assert {"LICENSE", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", ".ci/run"} <= names


def test_the_license_is_the_whole_apache_license() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert "limitations under the License." in text


def test_modules_are_small_and_named_after_their_content() -> None:
    sources = [path for path in tracked_files() if path.suffix == ".py" and path.parts[0] in ("libs", "services")]
    assert [p for p in sources if p.stem in ("utils", "util", "common", "helpers", "base", "misc")] == []
    lines = sorted(len((ROOT / path).read_text("utf-8").splitlines()) for path in sources)
    assert lines[int(len(lines) * 0.9)] < 300
