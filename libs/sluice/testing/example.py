"""The contract between an example's live source (`examples/<name>/source.py`) and the program that runs it.

A driver starts a source system outside of Sluice, edits it, and knows which values are right. `sluice demo` and the
scenario tests load it with `load_example`. No stage runs any of it.
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
    """What a driver gets.

    `postgres_dsn`: a superuser's URL on the server of the source databases (`wal_level=logical`). `cache_dir`: kept
    for ever and shared by all runs. `state_dir`: of this pipeline, kept after a run. `progress`: shows one line.
    """

    postgres_dsn: str
    cache_dir: Path
    state_dir: Path
    progress: Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """A source that runs: the environment variables that `pipeline.yaml` refers to, and its processes.

    `stop` is idempotent and keeps the data: the next `start` continues with the same source.
    """

    env: Mapping[str, str]
    processes: Mapping[str, int]
    stop: Callable[[], None]


class Live(Protocol):
    """Live edits, made by a process of their own.

    `log` gets one JSON line per committed change: `model`, `id`, `field`, `value` (field `id` with null: deleted),
    `sent_at` and `at` (Unix microseconds before the request and after the answer; the commit lies between them).
    """

    pid: int | None
    log: Path

    def done(self) -> bool:
        """Whether the edits have ended, with or without a failure."""

    def wait(self, timeout_s: float) -> int:
        """Wait for the end and return the number of committed edits.

        Raises RuntimeError on failure, TimeoutError if late.
        """

    def stop(self) -> None:
        """Stop after the current edit. Idempotent."""


class GoldenValue(NamedTuple):
    """A value that a golden row must have because of an edit.

    `value`: in the field's column, as JSON (numbers, ISO dates, Unix µs). `sent_at`: when the edit was sent, Unix µs.
    """

    entity: str
    entity_id: str
    field: str
    value: object
    sent_at: int


class ExampleDriver(Protocol):
    """The functions of an example's `source.py`."""

    def prepare(self, ctx: ExampleContext) -> None:
        """Create what is created once and cached (downloads, templates). Atomic; fast if it is there already."""

    def start(self, ctx: ExampleContext) -> Running:
        """Create or re-open the source and return when it answers."""

    def live(
        self, ctx: ExampleContext, running: Running, rate_per_s: float, edits: int | None = None, seed: int = 0
    ) -> Live:
        """Start live edits at `rate_per_s`: `edits` of them, or until stopped if None."""

    def golden_values(self, running: Running, edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
        """The golden values that these lines of the live log lead to, without deletes and without invisible changes."""

    def truth(self, running: Running) -> Truth:
        """Entity → id → field → expected value, in the JSON of contributions, from the source alone."""


def load_example(folder: Path) -> ExampleDriver:
    """Import `<folder>/source.py` as a part of the pipeline's package. Raises SettingsError if there is none."""
    if not (folder / "source.py").is_file():
        raise SettingsError(f"{folder}/source.py: not found; an example is a folder with pipeline.yaml and source.py")
    return cast(ExampleDriver, import_module(f"{package_of(folder)}.source"))
