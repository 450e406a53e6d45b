"""`sluice schemas`: generates, checks and registers the Avro schemas of a pipeline's entities."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, chosen_pipeline, group, print_result
from sluice.pipeline.authored import load_entities
from sluice.schemas import subjects as contracts
from sluice.schemas.registry import Registry

app = group()

# A registry that has just started may not answer its first requests, so they are retried for this time. The time is
# short, so that a missing registry is reported soon.
REGISTRY_RETRY_S = 10.0


def _subjects(given: Path | None) -> list[contracts.Subject]:
    _, pipeline = chosen_pipeline(given)
    return contracts.subjects(pipeline, load_entities(pipeline))


@contextmanager
def _opened(url: str, retry_for_s: float = 0.0) -> Iterator[Registry]:
    with tempfile.TemporaryDirectory() as folder, closing(Registry(url, Path(folder), retry_for_s)) as registry:
        yield registry


@app.command()
def apply(
    registry: Annotated[
        str, typer.Option(envvar="SLUICE_REGISTRY__URL", help="the schema registry's URL, without /subjects")
    ],
    pipeline: PipelineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register the schema of every entity in the schema registry.

    Each schema is generated, checked, registered and written to its file.

    Exit code 1: a schema would break readers of its topic; then no schema is registered or written.
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
    """Write the schema file of every entity, without a registry.

    The files are in schemas/canonical of the pipeline's folder.

    Exit code 1: a changed schema would break readers of its topic; then no file is written.
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
    registry: Annotated[
        str | None, typer.Option(help="URL of a schema registry, whose schemas are compared as well")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the schema files with the entities' schemas.

    Exit code 1: a file differs or is missing, or a schema would break readers of the registered one.
    """
    subjects = _subjects(pipeline)
    findings = {one.subject: contracts.file_findings(one) for one in subjects}
    if registry is not None:
        with _opened(registry) as client:
            for one in subjects:
                findings[one.subject] += contracts.registry_findings(one, client)
    _report({}, findings, as_json)


def _report(ids: dict[str, int], findings: dict[str, list[str]], as_json: bool) -> None:
    """Print schema ids and findings, both by registry subject. Raises typer.Exit if there are findings."""
    lines = [f"{subject}  id {schema_id}" for subject, schema_id in ids.items()]
    lines += [f"{subject}  {reason}" for subject, reasons in findings.items() for reason in reasons or ["ok"]]
    wrong = {subject: reasons for subject, reasons in findings.items() if reasons}
    print_result(as_json, {"ids": ids, "findings": wrong}, lines, is_finding=bool(wrong))
