"""The interface between an example pipeline and the program that runs it. An example's driver is
`examples/<name>/source.py`.

A driver starts the example's source system outside of Sluice, edits its data, and knows which golden values are right.
`sluice demo` and the scenario tests load it with `load_example`. No stage runs any of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from sluice.errors import SettingsError
from sluice.pipeline.authored import package_of

Truth = dict[str, dict[str, dict[str, object]]]


@dataclass(frozen=True)
class ExampleContext:
    """What an example's driver gets from the program that runs it.

    `postgres_dsn`: a superuser's URL of the Postgres server for the source databases (`wal_level=logical`).
    `cache_dir`: a directory that all runs share and that is never deleted. `state_dir`: a directory of this pipeline,
    which is kept after a run. `progress`: shows one line of text.
    """

    postgres_dsn: str
    cache_dir: Path
    state_dir: Path
    progress: Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """An example's source system that is running. `env`: the environment variables that `pipeline.yaml` refers to.
    `processes`: pids by name.

    `stop` is idempotent and keeps the source's data: the next `start` continues with the same source.
    """

    env: Mapping[str, str]
    processes: Mapping[str, int]
    stop: Callable[[], None]


class Live(Protocol):
    """Live edits of an example's source system, made by a separate process.

    `log`: a file that gets one JSON line for each committed edit, with `model`, `id`, `field`, `value`, `sent_at` and
    `at`. The field `id` with the value null means that the row was deleted. `sent_at` and `at` are Unix microseconds
    before the request and after the answer: the commit lies between them.
    """

    pid: int | None
    log: Path

    def done(self) -> bool:
        """Whether the edits have ended, successfully or not."""

    def wait(self, timeout_s: float) -> int:
        """Wait until the edits have ended, and return the number of committed edits.

        Raises RuntimeError if the edits failed, TimeoutError if they have not ended after `timeout_s`.
        """

    def stop(self) -> None:
        """Stop the edits after the current one. Idempotent."""


class GoldenValue(NamedTuple):
    """A value that the golden row of `entity_id` must have because of an edit in the source.

    `value`: the value of the column `field` in JSON (numbers, ISO dates, Unix µs). `sent_at`: when the edit was sent,
    Unix µs.
    """

    entity: str
    entity_id: str
    field: str
    value: object
    sent_at: int


class ExampleDriver(Protocol):
    """The functions that an example's `source.py` must define."""

    def prepare(self, ctx: ExampleContext) -> None:
        """Create files that all runs of the example share, such as downloads and database templates. Atomic; returns
        fast if they exist."""

    def start(self, ctx: ExampleContext) -> Running:
        """Create the example's source system, or start it with its earlier data. Returns when it answers."""

    def live(
        self, ctx: ExampleContext, running: Running, rate_per_s: float, edits: int | None = None, seed: int = 0
    ) -> Live:
        """Start live edits in the source, `rate_per_s` a second. They end after `edits` edits, or if None, when they
        are stopped."""

    def golden_values(self, running: Running, edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
        """The golden values that must result from `edits`, which are lines of the live log. Deletes and edits that
        change no golden value are left out."""

    def truth(self, running: Running) -> Truth:
        """The golden values that are right now, computed from the source alone: entity → id → field → value, in the
        JSON form of contributions."""


def load_example(folder: Path) -> ExampleDriver:
    """The driver of the example in `folder`: its `source.py`, imported as a module of the pipeline's package. Raises
    SettingsError if there is no such file."""
    if not (folder / "source.py").is_file():
        raise SettingsError(f"{folder}/source.py: not found; an example is a folder with pipeline.yaml and source.py")
    return cast(ExampleDriver, import_module(f"{package_of(folder)}.source"))
