"""How a run of `sluice up` or `sluice demo` ended: its result, the exit code and a sentence for the user."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sluice.errors import ExitCode


class Ending(StrEnum):
    """How a run of a pipeline ended. `STOPPED`: the user stopped it before the check. `NOTHING_SHOWN`: the check found
    nothing wrong, but no golden record could be shown."""

    STOPPED = "stopped"
    VERIFIED = "verified"
    NOTHING_SHOWN = "nothing shown yet"
    NOT_VERIFIED = "not verified"
    FINDINGS = "findings"

    @property
    def exit_code(self) -> ExitCode:
        match self:
            case Ending.STOPPED | Ending.VERIFIED:
                return ExitCode.DONE
            case Ending.NOTHING_SHOWN:
                return ExitCode.NOT_YET
        return ExitCode.FINDING


@dataclass(slots=True)
class RunResult:
    """The result of a run, as `--json` prints it. `memory_mib`: the peak memory of each process and their `total`, in
    MiB."""

    ending: Ending = Ending.STOPPED
    first_golden_record_s: float | None = None
    download_s: float = 0.0
    stages: dict[str, dict[str, int]] = field(default_factory=dict)
    golden_rows: dict[str, int] = field(default_factory=dict)
    verified: bool | None = None
    findings: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    edits: int = 0
    latency_s: dict[str, float | int | None] = field(default_factory=dict)
    memory_mib: dict[str, int] = field(default_factory=dict)


def ending(verified: bool | None, findings: int, *, shown: bool) -> Ending:
    """How a run ended. `verified`: the result of the check, None if there was no check. `findings`: how many
    differences the check found. `shown`: a golden record was shown, or the pipeline has no sink."""
    if verified is None:
        return Ending.STOPPED
    if findings:
        return Ending.FINDINGS
    if not verified:
        return Ending.NOT_VERIFIED
    return Ending.VERIFIED if shown else Ending.NOTHING_SHOWN


def sentence(ending: Ending, waited_s: float, logs: str) -> str:
    """The sentence for the user that says how the run ended; empty for `STOPPED`. `waited_s`: how long the run waited
    for a golden record. `logs`: the folder of the stages' logs."""
    match ending:
        case Ending.STOPPED:
            return ""
        case Ending.VERIFIED:
            return "nothing is lost"
        case Ending.NOTHING_SHOWN:
            return (
                f"nothing is lost, but within {waited_s:.0f} s no golden record could be shown. Next: see what each "
                f"stage waits for in the table above and in {logs}, or let it run longer (--seconds)"
            )
        case Ending.FINDINGS:
            return "something is wrong: the findings above say what and where"
    return "nothing wrong was found, but not everything could be checked: the lines above say what, and what to do"
