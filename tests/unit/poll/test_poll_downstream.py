"""Which partitions the poller watches of the groups behind it: the same that `sluice lag` tells of."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.errors import SettingsError
from sluice.lag import stage_inputs
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities
from sluice_ingress_poller.lag import downstream
from support.people import PIPELINE


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """CRM and ERP, with a mapping that cannot be imported."""
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(prefix="test.", dsn_file=tmp_path / "dsn"))
    (tmp_path / "entities.py").write_text("from support.people import Person as Person\n")
    (tmp_path / "sources" / "crm").mkdir(parents=True)
    (tmp_path / "sources" / "crm" / "mapping.py").write_text("raise RuntimeError\n")
    return load_pipeline(tmp_path)


def test_the_mapper_is_watched_on_every_raw_partition_whatever_its_mappings_are(pipeline: Pipeline) -> None:
    topics = ("test.raw.crm.people", "test.raw.erp.public.staff")
    assert downstream(pipeline, ["mapper"]) == {"test.mapper": [(topic, p) for topic in topics for p in (0, 1)]}


def test_any_group_of_the_pipeline_can_be_watched(pipeline: Pipeline) -> None:
    inputs = stage_inputs(pipeline, None, load_entities(pipeline))
    watched = downstream(pipeline, ["mapper", "merger", "sink-postgres"])
    assert {group: {topic for topic, _ in parts} for group, parts in watched.items()} == {
        one.group: set(one.topics) for one in inputs
    }


def test_a_group_that_is_none_of_the_pipeline_is_refused_with_those_that_are(pipeline: Pipeline) -> None:
    with pytest.raises(SettingsError, match=r"GROUPS: console is not one of mapper, merger, sink-postgres"):
        downstream(pipeline, ["console"])
