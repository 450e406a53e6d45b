"""Runs Python code that is generated from a contract or a schema, and makes its lines visible in tracebacks."""

from __future__ import annotations

import linecache
from typing import Any


def run_generated(source: str, file: str, names: dict[str, Any]) -> dict[str, Any]:
    """Run `source`, which defines a function. Returns `names`, which then contains the function.

    `names`: what the code uses, by name. `file`: what a traceback shows as the name of the code's file. The caller puts
    only checked identifiers and quoted constants into `source`, because `source` is run as it is.
    """
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    exec(compile(source, file, "exec"), names)  # noqa: S102
    return names
