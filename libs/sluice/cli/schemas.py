"""`sluice schemas`: the contracts of a pipeline's entities, as files and in the schema registry."""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sluice.errors import ExitCode
from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities
from sluice.schemas import subjects as contracts
from sluice.schemas.registry import Registry
from sluice.settings.stage import StageSettings, read_settings

app = typer.Typer(add_completion=False, help="Avro contracts of the pipeline's entities.", no_args_is_help=True)

PipelineOption = Annotated[Path, typer.Option(envvar="SLUICE_PIPELINE", help="pipeline.yaml, or its folder")]
RegistryOption = Annotated[str, typer.Option(envvar="SLUICE_REGISTRY__URL", help="where /subjects begins")]
# A registry that was started a moment ago may be slow to answer; one that is not there is told of in time.
PATIENCE_S = 10.0
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object, last on stdout")]


def _subjects(pipeline: Path) -> list[contracts.Subject]:
    read_settings(StageSettings, pipeline)  # refuses variables that nothing reads
    loaded = load_pipeline(pipeline)
    return contracts.subjects(loaded, load_entities(loaded))


@app.command()
def apply(
    registry: RegistryOption, pipeline: PipelineOption = Path("pipeline.yaml"), as_json: JsonOption = False
) -> None:
    """Generate, check, register and write every entity's schema. Refuses all if one would break its readers."""
    todo = _subjects(pipeline)
    with tempfile.TemporaryDirectory() as folder:
        client = Registry(registry, Path(folder), PATIENCE_S)
        findings = {one.subject: contracts.registry_findings(one, client) for one in todo}
        if any(findings.values()):
            _report({}, findings, as_json)
            raise typer.Exit(ExitCode.FINDING)
        ids = {one.subject: contracts.apply(one, client) for one in todo}
        client.close()
    _report(ids, {}, as_json)


@app.command()
def generate(pipeline: PipelineOption = Path("pipeline.yaml"), as_json: JsonOption = False) -> None:
    """Write the files beside the pipeline without a registry. Refuses a change that would break readers."""
    todo = _subjects(pipeline)
    findings = {one.subject: contracts.breaks(one) for one in todo}
    if not any(findings.values()):
        for one in todo:
            contracts.write_file(one)
    _report({}, findings, as_json)
    if any(findings.values()):
        raise typer.Exit(ExitCode.FINDING)


@app.command()
def check(
    pipeline: PipelineOption = Path("pipeline.yaml"),
    registry: Annotated[str | None, typer.Option(help="compare with this registry, too")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the files beside the pipeline with what the entities generate. Exit code 1: a finding."""
    todo = _subjects(pipeline)
    findings = {one.subject: contracts.file_findings(one) for one in todo}
    if registry is not None:
        with tempfile.TemporaryDirectory() as folder:
            client = Registry(registry, Path(folder))
            for one in todo:
                findings[one.subject] += contracts.registry_findings(one, client)
            client.close()
    _report({}, findings, as_json)
    if any(findings.values()):
        raise typer.Exit(ExitCode.FINDING)


def _report(ids: dict[str, int], findings: dict[str, list[str]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ids": ids, "findings": {name: told for name, told in findings.items() if told}}))
        return
    for subject, schema_id in ids.items():
        print(f"{subject}  id {schema_id}")
    for subject, told in findings.items():
        for reason in told or ["ok"]:
            print(f"{subject}  {reason}")
