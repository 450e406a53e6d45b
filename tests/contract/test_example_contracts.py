"""Every example's contracts: its entities and mappings load, and the files beside it are what the entities generate."""

from pathlib import Path

import fastavro
import pytest

from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_entities, load_mappings
from sluice.schemas import subjects

EXAMPLES = sorted(Path(__file__).parents[2].glob("examples/*/pipeline.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.parent.name))
def test_the_contract_files_are_what_the_entities_generate(file: Path) -> None:
    pipeline = load_pipeline(file)
    found = subjects.subjects(pipeline, load_entities(pipeline))
    assert [finding for one in found for finding in subjects.file_findings(one)] == []
    for one in found:
        fastavro.parse_schema(subjects.read_file(one.file))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.parent.name))
def test_every_mapping_loads_and_has_a_hash_of_its_code(file: Path) -> None:
    pipeline = load_pipeline(file)
    entities = load_entities(pipeline)
    for mapping in load_mappings(pipeline):
        assert mapping.entity.fingerprint == entities[mapping.entity.name].fingerprint
        assert len(mapping.code_hash) == 64


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2
