"""Which partitions the poller watches of its downstream groups: the same that `sluice lag` reports."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from sluice.errors import SettingsError, UnknownCode
from sluice.ingress.backpressure import Flow, LagBounds
from sluice.lag import stage_inputs
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities
from sluice_ingress_poller.lag import BackPressure, DownstreamLag, downstream
from support.people import PIPELINE
from support.waiting import eventually


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


class Unmeasurable:
    """A lag that is first refused with unknown codes and errors, and then high."""

    def __init__(self) -> None:
        self._refusals: list[Exception] = [
            UnknownCode("committed offsets of group mapper", "Kafka says ERR_1234?", "start it again"),
            RuntimeError("Consumer closed"),
        ]

    def measure(self) -> int:
        if self._refusals:
            raise self._refusals.pop()
        return 1_000

    def close(self) -> None: ...


def test_whatever_a_measurement_meets_the_next_one_comes_and_moves_the_level() -> None:
    pressure = BackPressure(cast(DownstreamLag, Unmeasurable()), LagBounds(10, 20), 0.001)
    pressure.start()
    eventually(lambda: pressure.flow is Flow.PAUSED, "a measurement after those that failed")
    pressure.close()
