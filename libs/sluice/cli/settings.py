"""`sluice settings`: lists the environment variables of the stages, with default, allowed values and effect."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from typing import Annotated

import typer

from sluice.cli.command import JsonOption, print_result, require_known, single
from sluice.names import STAGES
from sluice.settings.stage import StageSettings
from sluice.settings.variables import Variable, variables_of

app = single()

EVERY = "every stage"


@app.command()
def settings(
    stage: Annotated[
        str | None, typer.Argument(help="list only the variables that this stage reads; default: of all stages")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the environment variables of the stages, each with its default, allowed values and effect.

    A variable's name contains its unit: _S seconds, _MS milliseconds, _BYTES bytes, _KIB KiB. The list is also in
    docs/reference/variables.md.
    """
    if stage is not None:
        require_known(stage, STAGES, f"no stage {stage}")
    found = settings_by_stage()
    chosen = {name: of for name, of in found.items() if stage is None or name in (EVERY, stage)}
    columns = shutil.get_terminal_size().columns
    print_result(
        as_json,
        {name: [one._asdict() for one in of] for name, of in chosen.items()},
        (line for name, of in chosen.items() for line in [f"{name}:", *lines(of, columns)]),
    )


def lines(variables: Sequence[Variable], columns: int) -> Iterator[str]:
    """Lines about settings variables: name, default and allowed values on one line, then the variable's effect.

    The text of the effect is wrapped to `columns` characters.
    """
    for one in variables:
        default = f"default {one.default}" if one.default else "no default"
        allowed = f"; allowed: {one.allowed}" if one.allowed else ""
        yield f"  {one.name}  {default}{allowed}"
        yield textwrap.fill(one.what, max(40, columns - 1), initial_indent=" " * 6, subsequent_indent=" " * 6)


def settings_by_stage() -> dict[str, list[Variable]]:
    """The settings variables by stage: first, under `EVERY`, those that every stage reads; then each stage's own."""
    shared = list(variables_of(StageSettings))
    found = {EVERY: shared}
    kinds = {one.name: one for one in entry_points(group="sluice.settings")}
    for stage in STAGES:
        own = [one for one in variables_of(kinds[stage].load()) if one not in shared] if stage in kinds else []
        if own:
            found[stage] = own
    return found
