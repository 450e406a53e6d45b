"""The example records of a source (`sources/<source>/examples/<stream>/*.json`), which its mappings must map.

The mapper maps the examples when it starts. So it refuses a faulty mapping before the mapping parks any real record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sluice.entities import Claim, Mapping
from sluice.errors import DeadRecord, SettingsError, suggestion
from sluice.pipeline.model import Pipeline

_SHOWN_MAX = 3

Decode = Callable[[bytes], Any]


class Mapped(NamedTuple):
    """The file of an example record, and the claims that a mapping makes of the record."""

    file: Path
    claims: list[Claim]


def examples_of(pipeline: Pipeline, source: str, stream: str) -> list[Path]:
    """The files with the example records of a stream, ordered by name."""
    folder = pipeline.root / "sources" / source / "examples" / stream
    return sorted(file for file in folder.glob("*.json") if not file.is_dir())


def read_example(pipeline: Pipeline, file: Path) -> bytes:
    """The bytes of an example file. Raises SettingsError if the file cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(f"{file.relative_to(pipeline.root)}: {error.strerror}") from None


def require_examples_mapped(pipeline: Pipeline, mappings: Iterable[Mapping], decode: Decode) -> dict[str, list[Mapped]]:
    """Map every example record with each mapping of its stream. Returns the mapped examples by mapping name.

    `decode`: reads JSON as the stages do, and raises ValueError for other bytes. Raises SettingsError if an example
    cannot be mapped; the error names the refused examples and the reasons.
    """
    mapped: dict[str, list[Mapped]] = {}
    refused: list[str] = []
    for mapping in mappings:
        done = mapped[mapping.name] = []
        for file in examples_of(pipeline, mapping.source, mapping.stream):
            name = file.relative_to(pipeline.root)
            try:
                record = decode(read_example(pipeline, file))
                if not isinstance(record, dict):
                    raise ValueError("not a JSON object")
                done.append(Mapped(file, mapping.apply(record)))
            except ValueError as error:
                refused.append(f"{name}: {error}")
            except DeadRecord as error:
                refused.append(f"{name}: mapping {mapping.name} refuses it: {error.reason}")
    if refused:
        more = len(refused) - _SHOWN_MAX
        shown = [*refused[:_SHOWN_MAX], *([f"and {more} more"] if more > 0 else [])]
        raise SettingsError(f"{'; '.join(shown)}. Next: correct the mapping, or the example if it is wrong")
    return mapped


def require_example_folders(pipeline: Pipeline) -> None:
    """Raises SettingsError if the name of an examples folder is not a stream's: its examples would never be mapped."""
    streams: dict[str, list[str]] = {source: [] for source in pipeline.sources}
    for one in pipeline.streams():
        streams[one.source].append(one.stream)
    for source, known in streams.items():
        for folder in sorted((pipeline.root / "sources" / source / "examples").glob("*/")):
            if folder.name not in known:
                place = folder.relative_to(pipeline.root)
                raise SettingsError(
                    f"{place}: source {source} has no stream {folder.name} ({suggestion(folder.name, known)})"
                )
