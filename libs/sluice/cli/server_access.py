"""How a command reaches running servers, and which next step an error names if the environment variables are not set.

`sluice up` and `sluice demo` write the variables of their servers to `<state directory>/env`. `sluice dev env` prints
the variables of the servers that `sluice dev up` started.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka.watch import KafkaWatch, silence_text
from sluice.names import Names
from sluice.pipeline import Pipeline, load_pipeline
from sluice.settings.stage import StageSettings, default_schemas_dir, read_settings

BROKERS_VARIABLE = "SLUICE_KAFKA__BOOTSTRAP_SERVERS"
CONNECT_TIMEOUT_S = 1.0
# The folder inside a state directory in which the stages keep their local state.
STAGES_DIR = "stages"


def pipeline_of_servers(given: Path | None) -> tuple[StageSettings, Pipeline]:
    """The settings and the pipeline, as `chosen_pipeline` reads them.

    Raises SettingsError. If the pipeline file is missing and a demo left its variables, the error has a note with the
    command that sets them.
    """
    settings = read_settings(StageSettings, given)
    path = given or settings.pipeline
    try:
        return settings, load_pipeline(path)
    except SettingsError as error:
        demos = sorted((default_schemas_dir().parent / "examples").glob("*/.sluice/env"))
        if not path.exists() and demos:
            error.add_note(f"a demo left its variables: {_sourced(demos[0])}")
        raise


@contextmanager
def kafka_watched(settings: StageSettings) -> Iterator[None]:
    """A context for code that waits for Kafka: while Kafka does not answer, a line on stderr says so repeatedly.

    If the settings name embedded servers that are stopped, for example because a demo ended, the line says this. Each
    EnvironmentFault or Transient within the context then gets a note that says it, too.
    """

    def report(for_s: float) -> None:
        why = stopped_servers(settings) or silence_text(settings.kafka)
        print(f"sluice: for {for_s:.0f} s now: {why}", file=sys.stderr, flush=True)

    watch = KafkaWatch(settings.kafka, Names().faults, report)
    watch.start()
    try:
        yield
    except (EnvironmentFault, Transient) as error:
        if stopped := stopped_servers(settings):
            error.add_note(stopped)
        raise
    finally:
        watch.close()


def stopped_servers(settings: StageSettings) -> str | None:
    """A text that says how to start the servers again, if `settings` name embedded servers that are stopped; else
    None."""
    from sluice.embedded.running import stopped_broker

    state_dir = settings.state_dir.expanduser().resolve()
    directory = state_dir.parent if state_dir.name == STAGES_DIR else state_dir
    if not stopped_broker(directory, settings.kafka.bootstrap_servers):
        return None
    return (
        f"the servers of {directory} are stopped: a demo or `sluice up` stops its servers when it ends. Next: start "
        "them again with it, or with `sluice dev up`, which leaves them running"
    )


@contextmanager
def servers_reached(pipeline: Pipeline, settings: StageSettings) -> Iterator[None]:
    """A context for code that needs the servers: an error within gets a note that says how to set missing variables.

    Raises EnvironmentFault at once in one case: the variable with the brokers' address is not set, although the
    pipeline has servers of its own, and no server listens at the default address.
    """
    way = None if BROKERS_VARIABLE in os.environ else way_to_variables(pipeline.root)
    brokers = settings.kafka.bootstrap_servers
    if way is not None and not answers(brokers):
        raise EnvironmentFault(f"Kafka at {brokers}", f"nothing answers, and {BROKERS_VARIABLE} is not set", way)
    try:
        with kafka_watched(settings):
            yield
    except (EnvironmentFault, SettingsError, Transient) as error:
        if way is not None:
            error.add_note(f"{BROKERS_VARIABLE} is not set: {way}")
        raise


def way_to_variables(root: Path) -> str | None:
    """The shell command that sets the variables of a pipeline's own embedded servers; None if it has no servers."""
    state_dir = root / ".sluice"
    if (state_dir / "env").is_file():
        return _sourced(state_dir / "env")
    if (state_dir / "servers").is_dir():
        return f'eval "$(sluice dev env --pipeline {shlex.quote(_short(root))})"'
    return None


def answers(brokers: str) -> bool:
    """Whether a server accepts connections at one of `brokers` (`host:port`, separated by commas). Blocks for at most
    a second for each."""
    for broker in brokers.split(","):
        host, _, port = broker.strip().rpartition(":")
        with suppress(OSError, ValueError), socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S):
            return True
    return False


def _sourced(file: Path) -> str:
    return f". {shlex.quote(_short(file))}"


def _short(path: Path) -> str:
    """`path` for a shell command: relative if it is below the working directory.

    A relative path starts with `./`, because the shell's `.` command searches PATH for a name without a slash.
    """
    try:
        relative = path.relative_to(Path.cwd())
    except ValueError:
        return str(path)
    return f"./{relative}"
