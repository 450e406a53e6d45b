"""Commands that ask running servers: where the variables for that stand, when they are not set.

`sluice up` and `sluice demo` leave them in `<state directory>/env`; `sluice dev env` prints those of `sluice dev up`.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sluice.errors import EnvironmentFault, SettingsError, Transient
from sluice.kafka.watch import KafkaWatch, silence_of
from sluice.names import Names
from sluice.pipeline import Pipeline, load_pipeline
from sluice.settings.stage import StageSettings, default_schemas_dir

BROKERS_VARIABLE = "SLUICE_KAFKA__BOOTSTRAP_SERVERS"
CONNECT_TIMEOUT_S = 1.0
# Of a state directory, where the stages keep theirs.
STAGES_DIR = "stages"


def chosen_pipeline(given: Path | None, settings: StageSettings) -> Pipeline:
    """The pipeline that a command is about. Raises SettingsError; where there is none, with a note that names a running
    demo's."""
    path = given or settings.pipeline
    try:
        return load_pipeline(path)
    except SettingsError as error:
        demos = sorted((default_schemas_dir().parent / "examples").glob("*/.sluice/env"))
        if not path.exists() and demos:
            error.add_note(f"a demo left its variables: {_sourced(demos[0])}")
        raise


@contextmanager
def kafka_watched(settings: StageSettings) -> Iterator[None]:
    """Around whatever waits for Kafka: that it does not answer is told meanwhile.

    Embedded servers that were stopped, perhaps by a demo that ended meanwhile, are named as such, in errors too.
    """

    def tell(for_s: float) -> None:
        why = stopped_servers(settings) or silence_of(settings.kafka)
        print(f"sluice: for {for_s:.0f} s now: {why}", file=sys.stderr, flush=True)

    watch = KafkaWatch(settings.kafka, Names().faults, tell)
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
    """That the servers which `settings` name are embedded ones at rest, and how to start them; None where they run, or
    are others."""
    from sluice.embedded import stopped_broker

    state_dir = settings.state_dir.expanduser().resolve()
    directory = state_dir.parent if state_dir.name == STAGES_DIR else state_dir
    if not stopped_broker(directory, settings.kafka.bootstrap_servers):
        return None
    return (
        f"the servers of {directory} are stopped: a demo or `sluice up` that ends takes its servers along. Next: start "
        "them again with it, or with `sluice dev up`, which leaves them running"
    )


@contextmanager
def servers_reached(pipeline: Pipeline, settings: StageSettings) -> Iterator[None]:
    """Around whatever asks the servers: an error gets a note with the way to the variables that are not set.

    Raises EnvironmentFault at once where nothing listens at the default address.
    """
    way = None if BROKERS_VARIABLE in os.environ else way_to_variables(pipeline.root)
    if way is None:
        with kafka_watched(settings):
            yield
        return
    brokers = settings.kafka.bootstrap_servers
    if not answers(brokers):
        raise EnvironmentFault(f"Kafka at {brokers}", f"nothing answers, and {BROKERS_VARIABLE} is not set", way)
    try:
        with kafka_watched(settings):
            yield
    except (EnvironmentFault, SettingsError, Transient) as error:
        error.add_note(f"{BROKERS_VARIABLE} is not set: {way}")
        raise


def way_to_variables(root: Path) -> str | None:
    """The command that sets the variables of the servers beside a pipeline; None where there are none."""
    state_dir = root / ".sluice"
    if (state_dir / "env").is_file():
        return _sourced(state_dir / "env")
    if (state_dir / "servers").is_dir():
        return f'eval "$(sluice dev env --pipeline {shlex.quote(_short(root))})"'
    return None


def answers(brokers: str) -> bool:
    """Whether anything listens at one of `host:port,…`."""
    for broker in brokers.split(","):
        host, _, port = broker.strip().rpartition(":")
        try:
            with socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S):
                return True
        except (OSError, ValueError):
            continue
    return False


def _sourced(file: Path) -> str:
    return f". {shlex.quote(_short(file))}"


def _short(path: Path) -> str:
    """Relative to where we are, if it lies below; `.` finds no file without a slash."""
    try:
        relative = path.relative_to(Path.cwd())
    except ValueError:
        return str(path)
    return f"./{relative}"
