"""The entry point of the command line `sluice`.

The module of a sub-command is imported only when the sub-command is called. So a stage's process does not load the
code of the other commands.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from sluice.errors import ExitCode, SettingsError, SluiceError, frames_of

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

# The help text of each command. The module `sluice.cli.<command>` contains the command's Typer `app`.
GROUPS = {
    "cdc": "Check, set up, watch and repair sources that are followed by change data capture.",
    "deletes": "Confirm that a polled source really deleted records.",
    "dev": "Run Kafka, Postgres and the schema registry for development.",
    "mappings": "Check mappings and connectors without a server.",
    "responses": "Show a stored response of a polled source.",
    "schemas": "Generate, check and register the Avro contracts of the entities.",
    "sink": "Rebuild golden tables.",
    "skips": "Confirm that a group was moved forward on purpose.",
    "topics": "Create, configure and check the pipeline's topics.",
}
COMMANDS = {
    "demo": "Run an example with all servers, all stages and a live source.",
    "explain": "Show where every value of an entity comes from.",
    "lag": "Show how many records each stage has not processed yet, and what is wrong.",
    "settings": "List the environment variables of the stages.",
    "up": "Run your own pipeline in one terminal: servers, topics, schemas, every stage.",
    "verify": "Check that nothing is lost, doubled or out of order, from source to golden row.",
}


class LazyGroup(TyperGroup):
    """The command `sluice`, which imports the module of a sub-command only when the sub-command is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted([*super().list_commands(ctx), *GROUPS, *COMMANDS])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in GROUPS or cmd_name in COMMANDS:
            command = get_command(importlib.import_module(f"sluice.cli.{cmd_name}").app)
            command.help = GROUPS.get(cmd_name, command.help)
            return command
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            rows = {**GROUPS, **COMMANDS, "run": "Run one stage until SIGTERM or Ctrl-C."}
            formatter.write_dl(sorted(rows.items()))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.meaning) for code in ExitCode])

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the command line. A SluiceError ends it with one line on stderr and the error's exit code.

        Any other error is a bug: its frames are printed, and the exit code is 70.
        """
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # escape characters that the terminal's encoding does not have
                stream.reconfigure(errors="backslashreplace")
        try:
            _require_text(sys.argv)
            return super().main(*args, **more)
        except SettingsError as error:
            _end(ExitCode.SETTINGS, error)
        except SluiceError as error:
            _end(ExitCode.ENVIRONMENT, error)
        # Python's own exit code after an exception is 1, which for Sluice means that a command found something wrong.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _FULL:
                _end(ExitCode.ENVIRONMENT, Exception(f"cannot write any more: {error.strerror}"))
            print(f"sluice: a bug of Sluice: {frames_of(error)}", file=sys.stderr)
            sys.exit(int(ExitCode.BUG))


class RunCommand(TyperCommand):
    """The command `sluice run`. Its `--help` also lists the environment variables that the stage reads."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        from sluice.names import STAGES

        ctx.meta["stage"] = next((one for one in args if one in STAGES), None)
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from sluice.cli.settings import EVERY, lines, settings_by_stage

        for name, variables in settings_by_stage().items():
            if name in (EVERY, ctx.meta["stage"]):
                formatter.write(f"\nEnvironment variables of {name}:\n")
                formatter.write("".join(f"{line}\n" for line in lines(variables, formatter.width)))
        if ctx.meta["stage"] is None:
            formatter.write("\n`sluice run STAGE --help` lists those of one stage as well, `sluice settings` all.\n")


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _require_text(arguments: Sequence[str]) -> None:
    """Raises SettingsError if a command-line argument is not UTF-8."""
    for number, argument in enumerate(arguments):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise SettingsError(f"argument {number} is not UTF-8: {argument!r}") from None


def _end(code: ExitCode, error: Exception) -> None:
    print("\n".join([f"sluice: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
    sys.exit(int(code))


app = typer.Typer(
    cls=LazyGroup,
    name="sluice",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw records of many source systems in, golden records out, every field with its provenance.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"sluice {version('sluice')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")] = False,
) -> None:
    """Raw records of many source systems in, golden records out, every field with its provenance."""


@app.command(cls=RunCommand)
def run(
    stage: Annotated[str, typer.Argument(help="ingress-poller, ingress-cdc, mapper, merger or sink-postgres")],
) -> None:
    """Run one stage until SIGTERM or Ctrl-C.

    `sluice settings STAGE` lists the environment variables that the stage reads.
    """
    from importlib.metadata import entry_points

    found = entry_points(group="sluice.stages", name=stage)
    if not found:
        known = ", ".join(sorted(entry_points(group="sluice.stages").names))
        raise SettingsError(f"no stage {stage}; there are {known}")
    try:
        code = _imported(next(iter(found)))()
    except SluiceError:
        raise
    except Exception as error:
        import structlog

        event = "bug; stopping, nothing of the open batch is committed"
        structlog.get_logger().error(event, stage=stage, exception=frames_of(error))
        sys.exit(int(ExitCode.BUG))
    sys.exit(code)


def _imported(stage: EntryPoint) -> Callable[[], int]:
    """The main function of a stage. Its import takes 0.3 s of processor time and therefore imports nothing in vain."""
    # structlog imports rich if it is installed: 30 ms and 5 MiB for tracebacks in colour, which no log of Sluice has.
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]
        importlib.import_module("structlog")
        del sys.modules["rich"]
    # Garbage collections during the import find nothing and take 7 % of its time. Later collections leave out the
    # imported objects, because they exist until the process ends.
    gc.disable()
    main: Callable[[], int] = stage.load()
    gc.freeze()
    gc.enable()
    # The objects of a batch live until its delivery. Python's defaults search them again and again, which takes 8 % of
    # the sink's processor time.
    gc.set_threshold(20_000, 20, 20)
    return main


if __name__ == "__main__":
    app()
