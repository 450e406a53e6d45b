"""Which modules an author wrote, and how their files are named to people."""

import sys
from pathlib import Path
from typing import NamedTuple

# A pipeline's folder is imported as a package whose name starts with this prefix (see `sluice.pipeline.authored`).
PIPELINE_PACKAGE = "sluice_pipeline_"
_INSTALLED = frozenset({"site-packages", "dist-packages"})


class SourceLine(NamedTuple):
    """A line of an author's file: `sources/hr/mapping.py`, counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def name_in_pipeline(module: str) -> str:
    """`sources.hr.mapping`: the module's name within its pipeline's folder. Outside of pipelines, its full name."""
    top, _, name = module.partition(".")
    return name if top.startswith(PIPELINE_PACKAGE) else module


def file_name(module: str) -> str:
    """`sources.hr.mapping` → `sources/hr/mapping.py`: the path in the pipeline's folder, equal on every machine."""
    return name_in_pipeline(module).replace(".", "/") + ".py"


def is_given(module: str) -> bool:
    """Whether the module belongs to Python or to Sluice."""
    top = module.partition(".")[0]
    return top == "sluice" or top in sys.stdlib_module_names


def is_authored(module: str, file: Path) -> bool:
    """Whether an author wrote the module: it belongs neither to Python, nor to Sluice, nor to an installed package."""
    return not is_given(module) and not is_installed(file)


def is_installed(file: Path) -> bool:
    """Whether the file lies where packages are installed."""
    return not _INSTALLED.isdisjoint(file.parts)
