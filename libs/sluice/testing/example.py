"""The contract between an example's live source (`examples/<name>/source.py`) and whoever runs it.

A driver makes a source system that exists outside of Sluice: it starts it, edits it and knows the truth about it.
`sluice demo` and the scenario tests load it with `load_example`; nothing of it runs inside a stage.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from sluice.errors import SettingsError

Truth = dict[str, dict[str, dict[str, object]]]


@dataclass(frozen=True)
class ExampleContext:
    """What a driver is given.

    `postgres_dsn` is a superuser's URL on the server that holds the source databases (`wal_level=logical`);
    `cache_dir` outlives everything and is shared by runs; `state_dir` is this pipeline's and outlives a run;
    `progress` takes one line for people.
    """

    postgres_dsn: str
    cache_dir: Path
    state_dir: Path
    progress: Callable[[str], None]


@dataclass(frozen=True)
class Running:
    """A source that answers: the environment variables that `pipeline.yaml` refers to, its processes, its end.

    `stop` is idempotent and keeps the data, so that the next `start` goes on with the same source.
    """

    env: Mapping[str, str]
    processes: Mapping[str, int]
    stop: Callable[[], None]


class Live(Protocol):
    """Edits under way in a process of their own.

    `log` gets one JSON line per committed change: `model`, `id`, `field`, `value` (field `id` with null: deleted),
    `sent_at` and `at` (Unix microseconds before the request and after the answer; the commit lies between them).
    """

    pid: int | None
    log: Path

    def done(self) -> bool:
        """Whether the edits have ended, well or not."""

    def wait(self, timeout_s: float) -> int:
        """Wait for the end; the number of committed edits. Raises RuntimeError on failure, TimeoutError if late."""

    def stop(self) -> None:
        """End after the edit in hand. Idempotent."""


class GoldenValue(NamedTuple):
    """What a golden row must show because of an edit: `value` in the field's column, spelled as JSON (numbers, ISO
    dates, Unix µs). `sent_at`: of the edit, Unix µs."""

    entity: str
    entity_id: str
    field: str
    value: object
    sent_at: int


class ExampleDriver(Protocol):
    """The functions of an example's `source.py`."""

    def prepare(self, ctx: ExampleContext) -> None:
        """Make what is made once and cached (downloads, templates). Atomic; quick when it is done."""

    def start(self, ctx: ExampleContext) -> Running:
        """Create or re-open the source and return when it answers."""

    def live(
        self, ctx: ExampleContext, running: Running, rate_per_s: float, edits: int | None = None, seed: int = 0
    ) -> Live:
        """Begin to edit: `edits` of them, or until stopped, at `rate_per_s`."""

    def golden_values(self, running: Running, edits: Sequence[Mapping[str, Any]]) -> list[GoldenValue]:
        """What these lines of the live log call for. Deletes, and what shows nowhere, are left out."""

    def truth(self, running: Running) -> Truth:
        """Entity → id → field → expected value, in the JSON of contributions, from the source alone."""


def load_example(folder: Path) -> ExampleDriver:
    """Import `<folder>/source.py`, with the folder on the import path. Raises SettingsError if there is none."""
    file = folder.resolve() / "source.py"
    if not file.is_file():
        raise SettingsError(f"{file}: not found; an example is a folder with pipeline.yaml and source.py")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    name = f"sluice_example_{file.parent.name}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{file}: not a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return cast(ExampleDriver, module)
