"""The environment variables of the stages of one pipeline on this machine."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from sluice.errors import SettingsError
from sluice.pipeline import Pipeline
from sluice.pipeline.secret import missing_variables
from sluice.settings.stage import default_schemas_dir


def sink_databases(pipeline: Pipeline) -> dict[str, str]:
    """The databases of the sinks on the embedded Postgres: name of the variable with the sink's DSN → name of the
    database."""
    sinks = pipeline.sinks.items()
    return {sink.postgres.env: f"{pipeline.pipeline}_{name}" for name, sink in sinks if sink.postgres.env is not None}


def stage_variables(pipeline: Pipeline, state_dir: Path) -> dict[str, str]:
    """The environment variables that every stage gets, in addition to the addresses of its servers."""
    return {
        "SLUICE_PIPELINE": str(pipeline.file),
        "SLUICE_STATE_DIR": str(state_dir / "stages"),
        "SLUICE_SCHEMAS_DIR": str(default_schemas_dir()),
    }


def require_variables(pipeline: Pipeline, created: Collection[str]) -> None:
    """Raises SettingsError if the pipeline file refers to variables that are neither set nor `created` by the run. The
    error names all of them."""
    missing = sorted(missing_variables(pipeline.model_dump()) - set(created))
    if missing:
        names = " ".join(f"{name}=…" for name in missing)
        raise SettingsError(f"{pipeline.file} refers to variables that are not set, or are empty. Next: export {names}")
