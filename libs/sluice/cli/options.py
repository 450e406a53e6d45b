"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PipelineOption = Annotated[Path | None, typer.Option(help="pipeline.yaml, or its folder; else SLUICE_PIPELINE")]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object, last on stdout")]
