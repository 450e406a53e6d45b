"""Contracts as files in the pipeline's folder: generated, compared, never replaced by one that readers misread."""

from pathlib import Path

import orjson
import pytest

from sluice.errors import SettingsError
from sluice.pipeline.model import Pipeline
from sluice.schemas import avro_schema, subjects
from support.workers import LedgerEntry, Worker


def _subject(root: Path) -> subjects.Subject:
    pipeline = Pipeline.model_validate(
        {
            "pipeline": "workforce",
            "sources": {"hr": {"cdc": "postgres", "dsn": {"env": "HR_DSN"}, "tables": ["public.worker"]}},
            "kafka": {"prefix": "t."},
            "root": root,
        }
    )
    worker, _ = subjects.subjects(pipeline, {"worker": Worker.contract(), "ledger_entry": LedgerEntry.contract()})
    return worker


def test_a_subject_is_the_topics_value_and_its_file_is_in_the_pipelines_folder(tmp_path: Path) -> None:
    worker = _subject(tmp_path)
    assert worker.subject == "t.canonical.worker-value"
    assert worker.file == tmp_path / "schemas" / "canonical" / "worker.avsc"
    assert worker.schema == avro_schema(Worker.contract(), "workforce")


def test_a_missing_and_an_old_file_are_findings_and_writing_repairs_them(tmp_path: Path) -> None:
    worker = _subject(tmp_path)
    assert "is missing" in subjects.file_findings(worker)[0]
    subjects.write_file(worker)
    assert subjects.file_findings(worker) == []
    older = {**worker.schema, "fields": [f for f in worker.schema["fields"] if f["name"] != "remote"]}
    worker.file.write_bytes(orjson.dumps(older))
    assert "is not what the entity generates" in subjects.file_findings(worker)[0]
    assert subjects.breaks(worker) == []


def test_a_change_that_readers_would_misread_is_named(tmp_path: Path) -> None:
    worker = _subject(tmp_path)
    subjects.write_file(worker)
    text = worker.file.read_text().replace('"scale": 3', '"scale": 2')
    worker.file.write_text(text)
    assert subjects.breaks(worker) == ["height has scale 3, and had 2"]


def test_a_file_that_is_no_schema_is_refused_by_name(tmp_path: Path) -> None:
    worker = _subject(tmp_path)
    subjects.write_file(worker)
    for text in ("{", "[]", "{}"):
        worker.file.write_text(text)
        with pytest.raises(SettingsError, match=r"worker\.avsc"):
            subjects.file_findings(worker)
