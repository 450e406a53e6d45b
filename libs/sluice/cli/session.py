"""What `sluice up` and `sluice demo` share: a session on a screen, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import typer

from sluice.stage.signals import Stop

if TYPE_CHECKING:
    from sluice.local.session import Wanted


def run_session(wanted: Wanted, *, started_at: float, as_json: bool) -> None:
    """Run until the time is over or a signal comes. `started_at`: monotonic seconds, when the command started.

    Raises typer.Exit with the exit code.
    """
    from sluice.local.screen import Screen
    from sluice.local.session import Session

    with Screen(quiet=as_json) as screen:
        session = Session(wanted, screen, started_at=started_at)
        session.check()  # imports the author's code, before signals are handled here: Ctrl-C then ends a loop in it
        result = session.run(Stop.on_signals())
        screen.stopped()
    if as_json:
        print(orjson.dumps(result.as_json()).decode())
    if code := result.ending.exit_code:
        raise typer.Exit(int(code))
