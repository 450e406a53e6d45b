"""Example records beside a mapping (`sources/<source>/examples/<stream>/*.json`): what it must be able to map.

They are tried before a mapper begins, so that a mapping that could map nothing is refused before it parks anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sluice.entities import Mapping
from sluice.errors import DeadRecord, SettingsError
from sluice.pipeline.model import Pipeline

_TOLD_MAX = 3

Decode = Callable[[bytes], Any]


def examples_of(pipeline: Pipeline, mapping: Mapping) -> list[Path]:
    """The files that hold records of the mapping's stream, in the order of their names."""
    return sorted((pipeline.root / "sources" / mapping.source / "examples" / mapping.stream).glob("*.json"))


def require_examples_mapped(pipeline: Pipeline, mappings: Iterable[Mapping], decode: Decode) -> None:
    """Map every example. `decode` reads JSON as the stages do, and raises ValueError.

    Raises SettingsError that names each example which its mapping refuses, and why.
    """
    refused = [told for mapping in mappings for told in _refusals(pipeline, mapping, decode)]
    if refused:
        more = len(refused) - _TOLD_MAX
        told = [*refused[:_TOLD_MAX], *([f"and {more} more"] if more > 0 else [])]
        raise SettingsError(f"{'; '.join(told)}. Next: mend the mapping, or the example if it is wrong")


def _refusals(pipeline: Pipeline, mapping: Mapping, decode: Decode) -> Iterator[str]:
    for file in examples_of(pipeline, mapping):
        name = file.relative_to(pipeline.root)
        try:
            record = decode(file.read_bytes())
            if not isinstance(record, dict):
                raise ValueError("not a JSON object")
            mapping.apply(record)
        except ValueError as error:
            yield f"{name}: {error}"
        except DeadRecord as error:
            yield f"{name}: mapping {mapping.name} refuses it: {error.reason}"
