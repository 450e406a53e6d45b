"""Sluice as a contestant: stages of this checkout, or of another commit, run by `sluice run` over their own topics."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.checkouts import HERE, checkout_of
from bench.contestant import Contestant, Job, Running, spawn
from bench.sampling import BenchError
from bench.topics import Topics
from sluice.embedded.fetching import Progress

PIPELINES = Path(__file__).parent / "pipelines"
Rewrites = Sequence[tuple[str, str]]
"""Texts in the author's files, each with the one that replaces it for an older commit; `{source}` is the source."""
NO_PACKAGE: Rewrites = (
    ("from ...entities import ", "from entities import "),
    ("from .mapping import ", "from sources.{source}.mapping import "),
)
"""For commits in which the pipeline's folder was no package."""
NO_STRUCTS: Rewrites = (
    (
        "import msgspec\n",
        "from pydantic import BaseModel, ConfigDict\nfrom pydantic.alias_generators import to_camel\n",
    ),
    ('(msgspec.Struct, rename="camel"):\n', "(BaseModel):\n    model_config = ConfigDict(alias_generator=to_camel)\n"),
    ("(msgspec.Struct):", "(BaseModel):"),
)
"""For commits whose raw models are pydantic models only."""


class SluiceStages(Contestant):
    """Stages of one checkout. `revision`: a commit to compare with; None for this checkout."""

    def __init__(
        self, name: str, stages: Sequence[str], revision: str | None = None, share: float = 1.0, sources: str = "erp"
    ) -> None:
        self.name, self.share = name, share
        self._stages, self._revision, self._sources = stages, revision, sources.split(",")
        self._root = HERE

    def build(self, progress: Progress) -> Mapping[str, str]:
        if self._revision is None:
            return {}
        self._root = checkout_of(self._revision, progress)
        return {"sluice": self._root.name}

    def start(self, job: Job) -> Running:
        """Start the stages. `prepare` was called before."""
        running = Running(lambda: self._spawned(job), job.folder)
        running.resume()
        return running

    def prepare(self, job: Job, topics: Topics) -> None:
        """Write the pipeline's folder, create the topics and register the schemas."""
        write_pipeline(job, self._sources, rewrites_for(self._root / "libs/sluice/entities"))
        for command in (("topics", "apply"), ("schemas", "apply")):
            done = subprocess.run(
                [*self._sluice(), *command],
                env=self._environment(job, "0"),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchError(f"{self.name}: sluice {' '.join(command)} failed: {done.stdout}{done.stderr}")

    def _sluice(self) -> list[str]:
        return [str(self._root / ".venv/bin/python"), "-m", "sluice.cli.main"]

    def _spawned(self, job: Job) -> list[subprocess.Popen[bytes]]:
        return [
            spawn([*self._sluice(), "run", stage], job, f"{stage}-{number}", self._environment(job, str(number)))
            for stage in self._stages
            for number in range(job.processes)
        ]

    def _environment(self, job: Job, instance: str) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "SLUICE_PIPELINE": str(job.folder / "pipeline" / "pipeline.yaml"),
            "SLUICE_STATE_DIR": str(job.folder / f"state-{instance}"),
            "SLUICE_INSTANCE": instance,
            "SLUICE_KAFKA__BOOTSTRAP_SERVERS": job.bootstrap_servers,
            "SLUICE_REGISTRY__URL": job.registry_url,
            "SINK_DSN": job.dsn,
            "SOURCE_DSN": job.source_dsn,
        }


def rewrites_for(entities: Path) -> list[tuple[str, str]]:
    """The rewrites that a commit needs whose package `sluice.entities` is the folder `entities`."""
    packages = (entities / "authored_files.py").exists()
    structs = (entities / "raw_models.py").exists()
    return [*(() if packages else NO_PACKAGE), *(() if structs else NO_STRUCTS)]


def write_pipeline(job: Job, sources: Sequence[str], rewrites: Rewrites) -> Path:
    """Copy the bench's pipeline into the job's folder, with the job's prefix and number of partitions."""
    folder = job.folder / "pipeline"
    shutil.copytree(PIPELINES / "ledger", folder, ignore=shutil.ignore_patterns("__pycache__"))
    for unused in {one.name for one in (folder / "sources").iterdir()} - set(sources):
        shutil.rmtree(folder / "sources" / unused)
    for file in folder.rglob("*.py"):
        text = file.read_text()
        for now, before in rewrites:
            text = text.replace(now, before.format(source=file.parent.name) if "{" in before else before)
        file.write_text(text)
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline_of(job, sources), sort_keys=False))
    return folder


def pipeline_of(job: Job, sources: Sequence[str]) -> dict[str, Any]:
    """The content of the pipeline file. Sources rank in the order of `sources`. The source `books` is followed, the
    others are polled."""
    declared = {source: _followed(job) if source == "books" else _polled(source) for source in sources}
    sinks = {"warehouse": {"postgres": {"env": "SINK_DSN"}, "schema": job.schema}} if job.schema else {}
    return {
        "pipeline": "ledger",
        "partitions": job.partitions,
        "kafka": {"prefix": job.prefix},
        "sources": declared,
        "entities": "entities",
        **({"sinks": sinks} if sinks else {}),
    }


def _polled(source: str) -> dict[str, Any]:
    return {
        "poll": f"sources.{source}.connector:{source.capitalize()}",
        "settings": {"base_url": "http://127.0.0.1:9"},
        "streams": {"entries": {"freshness": "60s"}},
    }


def _followed(job: Job) -> dict[str, Any]:
    return {"cdc": "postgres", "dsn": {"env": "SOURCE_DSN"}, "slot": job.name, "tables": [job.source_table]}
