"""The references of what an author writes name every member that there is."""

from __future__ import annotations

import re
import sys
from inspect import get_annotations
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from sluice import connector
from sluice.connector import Connector, ODataStream, RestStream, Stream
from sluice.pipeline.load import OURS
from sluice.pipeline.model import CdcSource, Pipeline, PollSource, PostgresSink, StreamSettings
from support.repository import ROOT

REFERENCE = ROOT / "docs" / "reference"
# Types for annotations; the same as EpochDate and MicroTimestamp of sluice.entities; those that another page explains.
NOT_SHOWN = {"CursorValue", "Door", "EpochDays", "EpochMicros", "NoAuth", "Paging", "LinkHeader", "NextLink"}


def test_the_pipeline_file_s_members_are_all_documented() -> None:
    page = (REFERENCE / "pipeline-file.md").read_text()
    parts: list[type[BaseModel]] = [Pipeline, PollSource, StreamSettings, CdcSource, PostgresSink]
    members = {field.alias or name for part in parts for name, field in part.model_fields.items()} - OURS - {"kafka"}
    assert sorted(member for member in members if f"| `{member}` |" not in page) == []
    assert "| `kafka.prefix` |" in page


def test_the_members_of_connectors_and_streams_are_all_documented() -> None:
    page = (REFERENCE / "connectors.md").read_text()
    kinds = (Connector, Stream, RestStream, ODataStream)
    declared = {name for kind in kinds for name in get_annotations(kind)} - {"model", "settings_type"}
    assert sorted(name for name in declared if not re.search(rf"`{name}\b", page)) == []
    exported = set(connector.__all__) - NOT_SHOWN
    assert sorted(name for name in exported if not re.search(rf"\b{name}\b", page)) == []


def test_the_connector_that_the_page_shows_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    (shown, *_) = re.findall(r"```python\n(.*?)```", (REFERENCE / "connectors.md").read_text(), re.DOTALL)
    monkeypatch.setitem(sys.modules, "catalog", ModuleType("catalog"))
    mapping = ModuleType("catalog.mapping")
    mapping.CatalogBook = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, mapping.__name__, mapping)
    made: dict[str, Any] = {"__name__": "catalog.connector", "__package__": "catalog"}
    exec(compile(shown, "connectors.md", "exec", dont_inherit=True), made)  # noqa: S102 - what the page shows an author to write
    catalog = made["Catalog"]("catalog", {"base_url": "https://h", "user": "a", "password": "b"})
    assert catalog.login == "BasicAuth"
    assert catalog.stream("books").first_request(None).url == "/odata/v4/catalog/Books?$orderby=ID&$count=true"
