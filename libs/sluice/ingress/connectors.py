"""Loads the connectors that a pipeline file names, and checks them without a request to a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sluice.connector import Connector, RestStream, Stream
from sluice.connector.paging import ImplicitEnd
from sluice.connector.record import SourceRecord, UnreadableKey, source_key
from sluice.errors import SettingsError, SluiceError
from sluice.json_text import Missing, NotJson, member, spelled
from sluice.pipeline import Pipeline, reveal_all
from sluice.pipeline.authored import author_error, error_text, load_connector
from sluice.pipeline.examples import examples_of, read_example
from sluice.pipeline.load import place_in_file
from sluice.pipeline.secret import missing_variables


def connector_class(
    pipeline: Pipeline, source: str, load: Callable[[Pipeline, str], Any] = load_connector
) -> type[Connector[Any]]:
    """The class of the connector that the pipeline file names for `source`.

    Raises SettingsError with the line of the pipeline file if the name leads to no class of a connector.
    """
    kind = load(pipeline, source)
    if not (isinstance(kind, type) and issubclass(kind, Connector)):
        declared = pipeline.poll_sources()[source].poll
        where = place_in_file(pipeline, "sources", source, "poll")
        raise SettingsError(f"{where}: {declared} is not a sluice.connector.Connector")
    return kind


class Checked(NamedTuple):
    """What a check found out about a connector without a mistake.

    `unset`: environment variables that have no value here; the settings that name them were not checked. `login`: the
    class that adds the credentials to requests, or "none". `streams`: how each stream is read, as a text.
    """

    unset: list[str]
    login: str
    streams: dict[str, str]


def check_connectors(pipeline: Pipeline) -> dict[str, Checked]:
    """Check the connector of every polled source: its settings, the names of its streams, and their examples.

    Returns the results by source. Raises SettingsError, with file and line, if a connector has a mistake.
    """
    return {source: _check(pipeline, source) for source in pipeline.poll_sources()}


def _check(pipeline: Pipeline, source: str) -> Checked:
    declared, kind = pipeline.poll_sources()[source], connector_class(pipeline, source)
    missing = {name: missing_variables(value) for name, value in declared.settings.items()}
    settings = {name: None if missing[name] else reveal_all(value) for name, value in declared.settings.items()}
    plain = {name for name, value in declared.settings.items() if isinstance(value, str)}
    with authored_place(pipeline, "sources", source, "settings"):
        mistakes = list(kind.mistakes(settings, plain, declared.streams))
    if mistakes:
        places = (place_in_file(pipeline, "sources", source, *one.location) for one in mistakes)
        raise SettingsError("; ".join(f"{place}: {one.why}" for place, one in zip(places, mistakes, strict=True)))
    streams = {}
    for stream in declared.streams:
        with authored_place(pipeline, "sources", source, "streams", stream):
            kind.streams[stream].require_declared()
            _require_members(pipeline, source, stream, kind.streams[stream])
            streams[stream] = "; ".join(_how(kind.streams[stream]))
    unset = sorted(set().union(*missing.values()))
    signs = kind.auth is not Connector.auth
    if unset:
        return Checked(unset, "by its method auth" if signs else "none", streams)
    with authored_place(pipeline, "sources", source, "settings"):
        connector = kind(source, settings)
        login = connector.login if signs else "none"
    for stream in declared.streams:
        with authored_place(pipeline, "sources", source, "streams", stream):
            connector.stream(stream).first_request(None)
    return Checked(unset, login, streams)


def _how(kind: type[Stream[Any]]) -> Iterator[str]:
    """How a stream of the class `kind` is read, as texts: its path, records, key, cursor and paging."""
    if issubclass(kind, RestStream):
        yield kind.path
        yield f"records in {spelled(kind.records)}" if kind.records else "records are the body"
    yield f"key {', '.join(_keys(kind))}"
    yield f"changes by {kind.cursor.field}" if kind.cursor is not None else "no cursor: everything is listed each time"
    if issubclass(kind, RestStream):
        yield f"pages by {kind.paging.declared}" if isinstance(kind.paging, ImplicitEnd) else type(kind.paging).__name__


def _keys(kind: type[Stream[Any]]) -> tuple[str, ...]:
    return (kind.key,) if isinstance(kind.key, str) else kind.key


def _require_members(pipeline: Pipeline, source: str, stream: str, kind: type[Stream[Any]]) -> None:
    """Raises SettingsError if an example of the stream has no key, or if no example has the member of the cursor."""
    cursor = kind.cursor.field if kind.cursor is not None and kind.cursor_of is Stream.cursor_of else None
    examples = examples_of(pipeline, source, stream)
    records = {file: SourceRecord(read_example(pipeline, file)) for file in examples}
    for file, record in records.items():
        try:
            source_key(record, _keys(kind))
        except UnreadableKey as error:
            raise SettingsError(
                f"{file.relative_to(pipeline.root)}: {error}. Next: correct key of {kind.__qualname__}, or the example"
            ) from None
    if cursor is not None and records and not any(_has(record, cursor) for record in records.values()):
        raise SettingsError(
            f"{examples[0].parent.relative_to(pipeline.root)}: no example has the cursor's member {cursor}. "
            f"Next: correct cursor of {kind.__qualname__}, or the examples"
        )


def _has(record: SourceRecord, path: str) -> bool:
    """Whether `record` has a member at `path`; a member with the value null counts."""
    try:
        member(record.raw, path)
    except (Missing, NotJson):
        return False
    return True


@contextmanager
def authored_place(pipeline: Pipeline, *location: str) -> Iterator[None]:
    """A context for calls of the author's code. An error in them is raised as a SettingsError that names a line of the
    pipeline file (at `location`) or of the author's module."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"{place_in_file(pipeline, *location)}: {error_text(pipeline, error)}") from None
    except SluiceError:
        raise
    except (Exception, SystemExit) as error:
        # The text of this error is not repeated, because it may quote settings, and a setting may be a secret.
        doing = f"making {'.'.join(location)}"
        raise author_error(pipeline, doing, error, quoted=False, place=place_in_file(pipeline, *location)) from None
