"""A mistake in pipeline.yaml is reported with file, line and member, and never with the value."""

from __future__ import annotations

from pathlib import Path

import pytest

from sluice.errors import SettingsError
from sluice.pipeline import Pipeline, Secret, load_pipeline, reveal_all
from sluice.pipeline.secret import variables_in

RIGHT = """\
pipeline: workforce
sources:
  hr:
    poll: sources.hr.connector:Hr
    streams: {workers: {freshness: 5m}}
  finance:
    cdc: postgres
    dsn: {env: FINANCE_DSN}
    tables: [public.payroll]
sinks:
  warehouse: {postgres: {env: SINK_DSN}}
"""


def loaded(folder: Path, text: str) -> Pipeline:
    (folder / "pipeline.yaml").write_text(text)
    return load_pipeline(folder)


def test_a_pipeline_is_read_with_its_defaults(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path, RIGHT)
    assert pipeline.root == tmp_path.resolve()
    assert (pipeline.partitions, pipeline.source_order) == (6, ("hr", "finance"))
    assert [tuple(stream) for stream in pipeline.streams()] == [
        ("hr", "workers", "poll"),
        ("finance", "public.payroll", "cdc"),
    ]
    assert pipeline.poll_sources()["hr"].streams["workers"].freshness == 300.0


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("freshness: 5m", "freshness: soon", ":5: sources.hr.streams.workers.freshness: "),
        ("tables: [public.payroll]", "tables: [payroll]", ":9: sources.finance.tables.0: "),
        ("dsn: {env: FINANCE_DSN}", "dsn: postgresql://u:hunter2@h/d", ":8: sources.finance.dsn: "),
        ("dsn: {env: FINANCE_DSN}", "dsn: {env: A, file: b}", ":8: sources.finance.dsn: "),
        ("    cdc: postgres\n", "", ":6: sources.finance: a source says poll: or cdc:"),
        ("pipeline: workforce", "pipeline: Workforce", ":1: pipeline: "),
        ("sinks:", "sink:", ":10: sink: "),
        ("pipeline: workforce", "pipeline: [", ": not YAML: "),
        ("pipeline: workforce", "root: /", ":1: root: no such member"),
    ],
)
def test_a_mistake_is_reported_by_line_and_member(tmp_path: Path, right: str, wrong: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(tmp_path, RIGHT.replace(right, wrong))
    assert str(refused.value).startswith(str(tmp_path / "pipeline.yaml"))
    assert message in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_missing_file_names_the_setting_that_points_at_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SLUICE_PIPELINE"):
        load_pipeline(tmp_path / "pipeline.yaml")


def test_a_secret_is_read_from_the_place_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    monkeypatch.setenv("A_SECRET", "from the environment")
    settings = {"url": "https://hr", "keys": [{"env": "A_SECRET"}, {"file": str(tmp_path / "secret")}]}
    assert reveal_all(settings) == {"url": "https://hr", "keys": ["from the environment", "from a file"]}


def test_a_missing_secret_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SECRET", raising=False)
    with pytest.raises(SettingsError, match="NO_SECRET is not set"):
        Secret(env="NO_SECRET").reveal()
    with pytest.raises(SettingsError, match="no-such-file"):
        Secret(file=tmp_path / "no-such-file").reveal()


def test_a_secret_without_a_place_is_refused_when_it_is_read() -> None:
    with pytest.raises(SettingsError, match="never the secret itself"):
        Secret.model_construct().reveal()


def test_the_variables_that_a_pipeline_refers_to_are_known_by_name(tmp_path: Path) -> None:
    own = RIGHT.replace("    streams: {w", "    settings: {token: {env: HR_TOKEN}, key: {file: k}}\n    streams: {w")
    assert variables_in(loaded(tmp_path, own).model_dump()) == {"HR_TOKEN", "FINANCE_DSN", "SINK_DSN"}
