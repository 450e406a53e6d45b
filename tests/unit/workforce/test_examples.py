"""Every example record of a mapping is one that the mapping can read."""

import json
from pathlib import Path

import pytest

from sluice.pipeline import load_pipeline
from sluice.pipeline.authored import load_mappings
from support.workforce import FOLDER

EXAMPLES = sorted(FOLDER.glob("sources/*/examples/*/*.json"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_example_record_is_mapped(file: Path) -> None:
    source, stream = file.parts[-4], file.parent.name
    mappings = [m for m in load_mappings(load_pipeline(FOLDER)) if (m.source, m.stream) == (source, stream)]
    assert mappings
    for mapping in mappings:
        (claim,) = mapping.apply(json.loads(file.read_bytes()))
        assert claim.entity_id


def test_every_stream_has_an_example() -> None:
    streams = {(stream.source, stream.stream) for stream in load_pipeline(FOLDER).streams()}
    assert {(file.parts[-4], file.parent.name) for file in EXAMPLES} == streams
