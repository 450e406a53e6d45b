"""What `sluice up` and `sluice demo` share: a session on a screen, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import typer

from sluice.stage.signals import Stop

if TYPE_CHECKING:
    from sluice.demo.session import Wanted


def run_session(wanted: Wanted, *, began: float, as_json: bool) -> None:
    """Run it until it ends or is told to. `began`: when the command did (monotonic seconds). Raises typer.Exit."""
    from sluice.demo.screen import Screen
    from sluice.demo.session import Session

    with Screen(quiet=as_json) as screen:
        session = Session(wanted, screen, began=began)
        session.check()  # imports the author's code: before signals are ours, so that they end a loop in it
        outcome = session.run(Stop.on_signals())
        screen.stopped()
    if as_json:
        print(orjson.dumps(outcome.as_json()).decode())
    if code := outcome.ending.exit_code:
        raise typer.Exit(int(code))
