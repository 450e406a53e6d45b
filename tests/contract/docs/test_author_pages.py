"""The references of what an author writes name every member that there is."""

from __future__ import annotations

from inspect import get_annotations

from pydantic import BaseModel

from sluice import connector
from sluice.connector import Connector, ODataStream, RestStream, Stream
from sluice.pipeline.load import OURS
from sluice.pipeline.model import CdcSource, Pipeline, PollSource, PostgresSink, StreamSettings
from support.repository import ROOT

REFERENCE = ROOT / "docs" / "reference"
# Types that an author's editor shows; other names of what sluice.entities has.
NOT_TOLD = {"CursorValue", "Door", "EpochDays", "EpochMicros", "NoAuth", "Paging", "LinkHeader", "NextLink"}


def test_the_pipeline_file_s_members_are_all_told() -> None:
    page = (REFERENCE / "pipeline-file.md").read_text()
    parts: list[type[BaseModel]] = [Pipeline, PollSource, StreamSettings, CdcSource, PostgresSink]
    members = {field.alias or name for part in parts for name, field in part.model_fields.items()} - OURS - {"kafka"}
    assert sorted(member for member in members if f"| `{member}` |" not in page) == []
    assert "| `kafka.prefix` |" in page


def test_the_members_of_connectors_and_streams_are_all_told() -> None:
    page = (REFERENCE / "connectors.md").read_text()
    kinds = (Connector, Stream, RestStream, ODataStream)
    declared = {name for kind in kinds for name in get_annotations(kind)} - {"model", "settings_type"}
    assert sorted(name for name in declared if f"`{name}" not in page) == []
    assert sorted(name for name in set(connector.__all__) - NOT_TOLD if name not in page) == []
