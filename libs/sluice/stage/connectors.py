"""The connectors that a pipeline names: loaded, and checked as far as that goes without asking a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sluice.connector import Connector
from sluice.errors import SettingsError, SluiceError
from sluice.pipeline import Pipeline, reveal_all
from sluice.pipeline.authored import author_s_mistake, load_connector
from sluice.pipeline.load import place_in_file
from sluice.pipeline.secret import missing_variables


def connector_class(
    pipeline: Pipeline, source: str, load: Callable[[Pipeline, str], Any] = load_connector
) -> type[Connector[Any]]:
    """The class that a polled source names. Raises SettingsError with the line of the pipeline file."""
    kind = load(pipeline, source)
    if not (isinstance(kind, type) and issubclass(kind, Connector)):
        declared = pipeline.poll_sources()[source].poll
        where = place_in_file(pipeline, "sources", source, "poll")
        raise SettingsError(f"{where}: {declared} is not a sluice.connector.Connector")
    return kind


def check_connectors(pipeline: Pipeline) -> dict[str, list[str]]:
    """Load every connector, compare settings and stream names with what it declares, and make its streams.

    Returns, by source, the variables that are not set: what needs their text is not checked. Raises SettingsError.
    """
    return {source: _check(pipeline, source) for source in pipeline.poll_sources()}


def _check(pipeline: Pipeline, source: str) -> list[str]:
    declared, kind = pipeline.poll_sources()[source], connector_class(pipeline, source)
    missing = {name: missing_variables(value) for name, value in declared.settings.items()}
    settings = {name: None if missing[name] else reveal_all(value) for name, value in declared.settings.items()}
    with authored_place(pipeline, "sources", source):
        kind.check(source, settings, declared.streams)
    variables = sorted(set().union(*missing.values()))
    if not variables:
        with authored_place(pipeline, "sources", source, "settings"):
            connector = kind(source, settings)
            connector.auth()
        for stream in declared.streams:
            with authored_place(pipeline, "sources", source, "streams", stream):
                connector.stream(stream).first_request(None)
    return variables


@contextmanager
def authored_place(pipeline: Pipeline, *location: str) -> Iterator[None]:
    """Around the author's own code: its mistakes are told with the line of the pipeline file, or with their own."""
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"{place_in_file(pipeline, *location)}: {error}") from None
    except SluiceError:
        raise
    except Exception as error:
        # Its words may hold the settings, and secrets are among them.
        raise author_s_mistake(pipeline, f"making {'.'.join(location)}", error, quoted=False) from None
