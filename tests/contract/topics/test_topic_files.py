"""The topic declarations are complete and true: every topic of a pipeline has one, and each says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sluice.errors import SettingsError
from sluice.kafka.clients import MESSAGE_BYTES_MAX
from sluice.kafka.topics import TopicKind, concrete, load_kinds
from sluice.names import STAGES, Names
from sluice.pipeline import Pipeline, load_pipeline
from sluice.pipeline.authored import load_entities
from sluice.stage.batch import OUTPUT_BYTES_MAX
from sluice.stage.dead_letters import BODY_BYTES_MAX
from sluice.stage.start_decision import ABSENCE_MAX_S
from sluice.state.view import CHECKPOINT_AGE_MAX_S
from support.repository import ROOT

FOLDER = ROOT / "schemas" / "topics"
FILES = sorted(FOLDER.glob("*.yaml"))
KINDS = {kind.name: kind for kind in load_kinds(FOLDER)}
MIB = 1024 * 1024
THIRTY_DAYS_MS = 30 * 86_400_000
PEOPLE = {"operators", "any"}


OF_DEBEZIUM = {
    "raw.{messages_of}.message",
    "raw.{transactions_of}.{transaction}",
    "{heartbeat}.{prefix}raw.{heartbeats_of}",
}
"""Topics that a source has only if its Debezium settings require them."""


def family(name: str) -> str:
    return "" if name in OF_DEBEZIUM else name.partition(".")[0]


def of(*families: str) -> list[TopicKind]:
    return [kind for name, kind in KINDS.items() if family(name) in families]


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(ROOT / "examples" / "workforce")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_is_named_after_its_topic(file: Path) -> None:
    name = yaml.safe_load(file.read_text("utf-8"))["name"]
    assert re.search(".*".join(map(re.escape, file.stem.split("."))), name)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_producers_and_consumers_are_stages_or_people(kind: TopicKind) -> None:
    assert set(kind.producers) <= set(STAGES) | PEOPLE
    assert set(kind.consumers) <= set(STAGES) | PEOPLE
    assert len(set(kind.producers)) == len(kind.producers)


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_schema_that_a_topic_names_exists(kind: TopicKind) -> None:
    assert kind.schema_ == "none" or (FOLDER / kind.schema_).exists()


def test_every_topic_of_a_pipeline_is_declared_under_the_name_that_the_code_uses(pipeline: Pipeline) -> None:
    names = Names("staging.")
    staging = pipeline.model_copy(update={"kafka": pipeline.kafka.model_copy(update={"prefix": names.prefix})})
    entities = list(load_entities(pipeline))
    declared = {topic.name for topic in concrete(list(KINDS.values()), staging, entities)}
    raw = [names.raw(stream.source, stream.stream) for stream in pipeline.streams()]
    contributions = [names.contributions(entity) for entity in entities]
    assert declared == {
        *raw,
        *contributions,
        *(names.canonical(entity) for entity in entities),
        *(names.responses(source) for source in pipeline.poll_sources()),
        *(names.dlq(stage) for stage in STAGES),
        *(names.state("mapper", topic) for topic in raw),
        *(names.state("merger", topic) for topic in contributions),
        *(names.watermarks, names.shards, names.control, names.ledger, names.faults),
    }


def test_topics_that_debeziums_settings_require_have_debeziums_names() -> None:
    settings = {"provide.transaction.metadata": "true", "heartbeat.interval.ms": "5000"}
    source = {"cdc": "postgres", "dsn": {"env": "ERP_DSN"}, "tables": ["public.employee"], "debezium": settings}
    written = {"pipeline": "books", "kafka": {"prefix": "staging."}, "sources": {"erp": source}}
    topics = {topic.name for topic in concrete(list(KINDS.values()), Pipeline.model_validate(written), [])}
    assert {
        "staging.raw.erp.public.employee",
        "staging.raw.erp.message",
        "staging.raw.erp.transaction",
        "__debezium-heartbeat.staging.raw.erp",
    } <= topics


def test_topics_whose_keys_must_share_a_partition_number_have_equal_counts(pipeline: Pipeline) -> None:
    for kind in of("raw", "contributions", "canonical", "state"):
        assert kind.partitions == "pipeline", kind.name
    counts = {t.name: t.partitions for t in concrete(list(KINDS.values()), pipeline, list(load_entities(pipeline)))}
    assert {counts[name] for name in counts if family(name) in ("raw", "contributions", "canonical", "state")} == {
        pipeline.partitions
    }
    assert counts["sluice.shards"] == pipeline.shards


def test_records_that_are_read_to_their_end_lie_in_one_partition() -> None:
    names = ("watermarks", "control", "ledger", "faults")
    assert [KINDS[f"sluice.{name}"].partitions for name in names] == [1, 1, 1, 1]


@pytest.mark.parametrize("kind", of("raw", "contributions", "canonical", "state"), ids=lambda kind: kind.name)
def test_a_deletion_stays_readable_for_thirty_days(kind: TopicKind) -> None:
    assert kind.config["cleanup.policy"] == "compact"
    assert int(kind.config["delete.retention.ms"]) == THIRTY_DAYS_MS


def test_an_absence_is_too_long_at_half_of_what_a_deletion_stays_readable() -> None:
    assert ABSENCE_MAX_S * 1000 * 2 == THIRTY_DAYS_MS
    assert CHECKPOINT_AGE_MAX_S * 1000 * 2 == THIRTY_DAYS_MS


@pytest.mark.parametrize("kind", of("raw", "contributions", "canonical"), ids=lambda kind: kind.name)
def test_history_is_kept_before_it_is_compacted(kind: TopicKind) -> None:
    assert int(kind.config["min.compaction.lag.ms"]) >= 86_400_000


@pytest.mark.parametrize("kind", of("raw", "contributions", "canonical", "state"), ids=lambda kind: kind.name)
def test_data_topics_take_eight_mebibytes_and_nothing_larger_is_sent_to_them(kind: TopicKind) -> None:
    assert int(kind.config["max.message.bytes"]) == 8 * MIB
    assert OUTPUT_BYTES_MAX < 8 * MIB


@pytest.mark.parametrize("kind", of("responses", "dlq"), ids=lambda kind: kind.name)
def test_topics_of_whole_answers_and_dead_letters_take_sixteen(kind: TopicKind) -> None:
    assert int(kind.config["max.message.bytes"]) == 16 * MIB == MESSAGE_BYTES_MAX
    assert BODY_BYTES_MAX < 16 * MIB
    assert kind.config["cleanup.policy"] == "delete"
    assert int(kind.config["retention.ms"]) > 0


def test_only_records_of_bounded_use_expire_by_time() -> None:
    expiring = {name for name, kind in KINDS.items() if "delete" in kind.config["cleanup.policy"]}
    assert expiring == {"responses.{source}", "dlq.{stage}", "sluice.ledger", "sluice.faults", *OF_DEBEZIUM}


def declaration(**changed: Any) -> dict[str, Any]:
    known = yaml.safe_load(FILES[0].read_text("utf-8"))
    return {name: value for name, value in {**known, **changed}.items() if value is not ...}


@pytest.mark.parametrize(
    ("bad", "member"),
    [
        ({"retention": "7d"}, "retention"),
        ({"partition": 6}, "partition"),
        ({"config": {"cleanup.policy": ["compact"]}}, "config.cleanup.policy"),
        ({"config": {"retention.ms": 5}}, "config.retention.ms"),
        ({"partitions": "many"}, "partitions"),
        ({"producers": []}, "producers"),
        ({"consumers": ...}, "consumers"),
        ({"schema": ...}, "schema"),
    ],
)
def test_a_bad_declaration_is_refused_by_file_and_member(tmp_path: Path, bad: dict[str, Any], member: str) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(declaration(**bad)), "utf-8")
    with pytest.raises(SettingsError, match=r"bad\.yaml") as refused:
        load_kinds(tmp_path)
    assert f"{member}" in str(refused.value)


def test_a_good_declaration_is_read(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(declaration()), "utf-8")
    assert [kind.name for kind in load_kinds(tmp_path)] == [declaration()["name"]]


def test_a_folder_without_declarations_is_refused_by_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SLUICE_SCHEMAS_DIR"):
        load_kinds(tmp_path)


def test_placeholders_that_nothing_fills_are_refused(pipeline: Pipeline) -> None:
    kind = KINDS["dlq.{stage}"].model_copy(update={"name": "dlq.{tenant}"})
    with pytest.raises(SettingsError, match="placeholders"):
        concrete([kind], pipeline, [])
