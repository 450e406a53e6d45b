"""`docs/reference/variables.md`, written from the settings classes.

`PYTHONPATH=tests python -m support.variables_page` writes it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sluice.cli.settings import EVERY, settings_by_stage
from sluice.settings.variables import Variable

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "variables.md"

_HEAD = """# Environment variables

`sluice settings` prints the same. Names contain their unit: `_S` seconds, `_MS` milliseconds, `_BYTES`, `_KIB`. A
variable that nothing reads is refused by name ([what else is refused](settings.md)).
"""
_TAIL = """
## Of other commands
| variable | what |
|---|---|
| `SLUICE_CACHE_DIR` | where downloaded servers are kept; default: the user's cache folder |
| `SLUICE_ARTIFACTS_DIR` | a folder with the servers' files, which are used before anything is downloaded |
| `SLUICE_POSTGRES_DSN` | printed by `sluice dev env`: the embedded Postgres |
| `NO_COLOR` | no colours on the screen of `sluice up` and `sluice demo` |
"""


def page() -> str:
    """The page as the code has it."""
    return _HEAD + "".join(_sections()) + _TAIL


def _sections() -> Iterator[str]:
    for name, variables in settings_by_stage().items():
        title = "Every stage" if name == EVERY else f"`{name}`"
        rows = "\n".join(map(_row, variables))
        yield f"\n## {title}\n| variable | default | allowed | what |\n|---|---|---|---|\n{rows}\n"


def _row(one: Variable) -> str:
    default = f"`{one.default}`" if one.default else "none"
    return f"| `{one.name}` | {default} | {one.allowed} | {one.what} |"


if __name__ == "__main__":
    PAGE.write_text(page())
