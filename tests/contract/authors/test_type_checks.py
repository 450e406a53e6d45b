"""mypy, without plugin or settings, accepts right mappings and finds each kind of author's mistake at its line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from support.how_to import follow, written_by
from support.repository import ROOT

ENTITIES = """
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel

from sluice.entities import UNCLAIMED, Entity, Identity, Json, Money, OpenEnum, Scale, most_recent, prefer


class Grade(OpenEnum):
    SENIOR = "senior"
    UNKNOWN = "unknown"


class Worker(Entity, version=2):
    number: Annotated[str, Identity()]
    name: str
    email: str | None = UNCLAIMED
    height: Annotated[Decimal, Scale(4, 2)] | None = UNCLAIMED
    pay: Annotated[Money | None, prefer("finance", "hr")] = UNCLAIMED
    status: Annotated[Literal["active", "left"] | None, most_recent()] = UNCLAIMED
    grade: Grade | None = UNCLAIMED
    tags: list[str] = UNCLAIMED
    about: Json | None = UNCLAIMED


class Laptop(Entity):
    serial: Annotated[str, Identity()]


class Row(BaseModel):
    id: int
    number: str
    name: str
    email: str | None
    pay: Decimal
    updated_at: datetime

    def changed_at(self) -> datetime:
        return self.updated_at


class LaptopRow(BaseModel):
    serial: str
"""
HEAD = """
from collections.abc import Iterator
from decimal import Decimal

from entities import Grade, Laptop, LaptopRow, Row, Worker

from sluice.entities import UNCLAIMED, Mapping, Money, Output, mapping

"""
RIGHT = """
@mapping("hr.workers", 1, effective_at=Row.changed_at)
def whole(raw: Row) -> Worker:
    return Worker(
        number=str(raw.id),
        name=raw.name,
        email=raw.email or UNCLAIMED,
        height=None,
        pay=Money(raw.pay, "EUR"),
        status="active",
        grade=Grade.SENIOR,
        tags=["a"],
        about={"a": [1, None]},
    )


@mapping(source="hr.workers", version=1, name="filtered", output="other")
def filtered(raw: Row) -> Worker | None:
    if not raw.number:
        return None
    return Worker(number=raw.number, name=raw.name, email=raw.email if raw.email else UNCLAIMED)


@mapping("hr.laptops", 1)
def several(raw: LaptopRow) -> list[Output[Laptop]]:
    return [Output("main", Laptop(serial=raw.serial))]


def seconds(raw: Row) -> int | None:
    return None


@mapping("hr.laptops", 1, effective_at=seconds)
def generated(raw: Row) -> Iterator[Output[Laptop]]:
    yield Output("main", Laptop(serial=raw.number))


def called(row: Row, laptop: LaptopRow) -> tuple[str, str]:
    return whole(row).name, several(laptop)[0].entity.serial


every: list[Mapping] = [whole, filtered, several, generated]
"""
DECLARED = '@mapping("hr.workers", 1)\ndef mapped(raw: Row) -> Worker:\n    '
DATED = "\ndef mapped(raw: Row) -> Worker:\n    return Worker(number=raw.number, name=raw.name)"
WORKER = "return Worker(number=raw.number, name=raw.name, "
# By kind: the code, in which the wrong line ends in `#`, and what mypy says of that line.
MISTAKES = {
    "a misspelt field": (DECLARED + WORKER + "emial=raw.email)  #", 'Unexpected keyword argument "emial" for "Worker"'),
    "a value of a wrong type": (DECLARED + WORKER + "height=raw.name)  #", 'Argument "height" .* type "str"'),
    "a missing field": (DECLARED + "return Worker(number=raw.number)  #", 'Missing named argument "name"'),
    "a missing identity": (DECLARED + "return Worker(name=raw.name)  #", 'Missing named argument "number"'),
    "a misspelt member": (DECLARED + WORKER + "email=raw.emial)  #", '"Row" has no attribute "emial"'),
    "a null for a field that is never null": (
        DECLARED + "return Worker(number=raw.number, name=None)  #",
        'Argument "name" .* type "None"',
    ),
    "a member that may be null": (
        DECLARED + "return Worker(number=raw.number, name=raw.email)  #",
        r'Argument "name" .* type "str \| None"',
    ),
    "a constant that the enum does not have": (DECLARED + WORKER + 'status="on")  #', """Argument "status" .*'on'"""),
    "a text for an enum": (DECLARED + WORKER + 'grade="senior")  #', 'Argument "grade" .* type "str"'),
    "a wrong type next to UNCLAIMED": (DECLARED + WORKER + "email=raw.id or UNCLAIMED)  #", 'Argument "email" .*"int'),
    "an item of a wrong type": (DECLARED + WORKER + "tags=[raw.id])  #", "List item 0 .*int"),
    "an amount without a currency": (DECLARED + WORKER + "pay=Money(raw.pay))  #", 'Missing .*"currency"'),
    "another entity": (DECLARED + "return Laptop(serial=raw.number)  #", 'got "Laptop", expected "Worker"'),
    "no entity": ('@mapping("hr.workers", 1)  #\ndef mapped(raw: Row) -> str:\n    return raw.name', "cannot be .*str"),
    "another entity in an output": (
        '@mapping("hr.workers", 1)\ndef mapped(raw: Row) -> list[Output[Worker]]:\n'
        '    return [Output("main", Laptop(serial=raw.number))]  #',
        'incompatible type "Laptop"; expected "Worker"',
    ),
    "an output without a key": (
        '@mapping("hr.workers", 1)\ndef mapped(raw: LaptopRow) -> list[Output[Laptop]]:\n'
        "    return [Output(Laptop(serial=raw.serial))]  #",
        'Missing positional argument "entity"',
    ),
    "a raw record that is no model": (
        '@mapping("hr.workers", 1)  #\ndef mapped(raw: dict[str, str]) -> Laptop:\n    return Laptop(serial="")',
        "cannot be .*dict",
    ),
    "a misspelt member in effective_at": (
        '@mapping("hr.workers", 1, effective_at=Row.chnged_at)  #' + DATED,
        'has no attribute "chnged_at"',
    ),
    "effective_at of another model": (
        '@mapping("hr.workers", 1, effective_at=Row.changed_at)  #\n'
        "def mapped(raw: LaptopRow) -> Laptop:\n    return Laptop(serial=raw.serial)",
        r"expected .*\[Row\]",
    ),
    "effective_at as a text": ('@mapping("hr.workers", 1, effective_at="updated_at")  #' + DATED, "No overload"),
    "effective_at of a field": ('@mapping("hr.workers", 1, effective_at=Row.updated_at)  #' + DATED, "No overload"),
    "a misspelt argument": (
        '@mapping("hr.workers", 1, effective=Row.changed_at)  #' + DATED,
        'Unexpected .*"effective"',
    ),
    "an async mapping": (
        '@mapping("hr.workers", 1)  #\nasync def mapped(raw: LaptopRow) -> Laptop:\n    return Laptop(serial="")',
        "cannot be .*Coroutine",
    ),
    "a version with a fraction": ('@mapping("hr.workers", 1.5)  #' + DATED, "No overload"),
    "a version that is no number": ('@mapping("hr.workers", "1")  #' + DATED, "No overload"),
    "a call with another raw record": (
        '@mapping("hr.workers", 1)' + DATED + '\nmapped(LaptopRow(serial=""))  #',
        'type "LaptopRow"; expected "Row"',
    ),
}

PAGES = ("add-a-source", "your-own-pipeline")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The errors of one run of mypy, by `file:line`."""
    folder: Path = tmp_path_factory.mktemp("author")
    (folder / "entities.py").write_text(ENTITIES)
    (folder / "right.py").write_text(HEAD + RIGHT)
    for number, (code, _) in enumerate(MISTAKES.values()):
        (folder / f"mistake_{number}.py").write_text(f"{HEAD}\n{code}\n")
    shutil.copytree(ROOT / "examples/workforce", folder / "add_a_source", ignore=shutil.ignore_patterns(".sluice"))
    for page in PAGES:
        for step in written_by(ROOT / f"docs/how-to/{page}.md"):
            follow(folder / page.replace("-", "_"), step)
    options = ["--config-file=", "--explicit-package-bases", f"--cache-dir={folder / 'cache'}"]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "."], cwd=folder, capture_output=True, text=True, check=False
    )
    found: dict[str, list[str]] = defaultdict(list)
    for line in run.stdout.splitlines():
        if at := re.match(r"(\S+\.py:\d+): error: ", line):
            found[at[1]].append(line)
    assert found, run.stdout + run.stderr
    return found


def test_right_mappings_and_what_the_pages_show_have_no_errors(reports: dict[str, list[str]]) -> None:
    assert [at for at in reports if not at.startswith("mistake_")] == []


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_found_at_its_line_and_nowhere_else(kind: str, reports: dict[str, list[str]]) -> None:
    number = list(MISTAKES).index(kind)
    code, message = MISTAKES[kind]
    lines = f"{HEAD}\n{code}\n".splitlines()
    (wrong,) = [at for at, line in enumerate(lines, 1) if line.endswith("#")]
    found = {at: said for at, said in reports.items() if at.startswith(f"mistake_{number}.py:")}
    assert list(found) == [f"mistake_{number}.py:{wrong}"]
    assert re.search(message, found[f"mistake_{number}.py:{wrong}"][0])
