"""`sluice schemas`: the contracts of a pipeline's entities, as files and in the schema registry."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result
from sluice.pipeline.authored import load_entities
from sluice.schemas import subjects as contracts
from sluice.schemas.registry import Registry

app = group()

# A registry that has just started may answer slowly; one that is missing is reported soon enough.
REGISTRY_RETRY_S = 10.0


def _subjects(given: Path | None) -> list[contracts.Subject]:
    _, pipeline = chosen_pipeline(given)
    return contracts.subjects(pipeline, load_entities(pipeline))


@contextmanager
def _opened(url: str, retry_for_s: float = 0.0) -> Iterator[Registry]:
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(url, Path(folder), retry_for_s)
        yield registry
        registry.close()


@app.command()
def apply(
    registry: Annotated[str, typer.Option(envvar="SLUICE_REGISTRY__URL", help="the URL above /subjects")],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register the schema of every entity.

    Each schema is generated, checked, registered and written to its file. If one would break its readers, none is.
    Exit code 1: a schema would break its readers.
    """
    subjects = _subjects(pipeline)
    with _opened(registry, REGISTRY_RETRY_S) as client:
        findings = {one.subject: contracts.registry_findings(one, client) for one in subjects}
        if any(findings.values()):
            _report({}, findings, as_json)
        ids = {one.subject: contracts.apply(one, client) for one in subjects}
    _report(ids, {}, as_json)


@app.command()
def generate(pipeline: PipelineOption = None, as_json: JsonOption = False) -> None:
    """Write the schema files, without a registry.

    They are next to the pipeline. Exit code 1: a change would break readers; then no file is written.
    """
    subjects = _subjects(pipeline)
    findings = {one.subject: contracts.breaks(one) for one in subjects}
    if not any(findings.values()):
        for one in subjects:
            contracts.write_file(one)
    _report({}, findings, as_json)


@app.command()
def check(
    pipeline: PipelineOption = None,
    registry: Annotated[str | None, typer.Option(help="compare with this registry, too")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the schema files with the entities.

    Exit code 1: something differs.
    """
    subjects = _subjects(pipeline)
    findings = {one.subject: contracts.file_findings(one) for one in subjects}
    if registry is not None:
        with _opened(registry) as client:
            for one in subjects:
                findings[one.subject] += contracts.registry_findings(one, client)
    _report({}, findings, as_json)


def _report(ids: dict[str, int], findings: dict[str, list[str]], as_json: bool) -> None:
    """Print the result. Raises typer.Exit if there are findings."""
    lines = [f"{subject}  id {schema_id}" for subject, schema_id in ids.items()]
    lines += [f"{subject}  {reason}" for subject, reasons in findings.items() for reason in reasons or ["ok"]]
    wrong = {subject: reasons for subject, reasons in findings.items() if reasons}
    print_result(as_json, {"ids": ids, "findings": wrong}, lines, is_finding=bool(wrong))
