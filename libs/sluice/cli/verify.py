"""`sluice verify`: checks that nothing is lost, doubled or out of order between the sources and the golden rows."""

from __future__ import annotations

from typing import Annotated

import typer

from sluice.cli.command import JsonOption, PipelineOption, print_result, report_progress, single
from sluice.cli.server_access import pipeline_of_servers, servers_reached
from sluice.verify import verify as run_verification

app = single()


@app.command()
def verify(
    pipeline: PipelineOption = None,
    wait: Annotated[
        float, typer.Option("--wait", help="seconds to wait, in total, for stages that have not processed everything")
    ] = 30.0,
    sources: Annotated[
        bool,
        typer.Option(
            "--sources/--no-sources", help="compare the followed tables in the source databases, or leave them out"
        ),
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check that nothing is lost, doubled or out of order, from the sources to the golden rows.

    Contributions, golden records and rows are computed again from their input and compared with what is stored. Raw
    records are compared with the followed tables, which are read at a snapshot, as far as the source allows. The check
    covers everything up to the ends that the raw topics have at its start.

    A finding is something wrong. What could not be checked is listed apart: work that a stage has not done after
    --wait, a source that is not followed or may not be read, an active fault. The records of an API are never compared
    with the raw records; the report shows how old the last complete listing of the API is.

    The result is "verified" only if everything was checked and is right. Exit codes: 0, verified, or verified except
    for what --no-sources leaves out; 1, there is a finding, or something was not checked or is not done yet.

    The check goes link by link: source-raw, raw-contributions, contributions-canonical, canonical-table. It also checks
    four invariants over all links: I2, effects happen once; I4, nothing goes back to an older state; I5, every record
    that was read is accounted for; I6, every row names its raw records. The report explains each line.
    """
    settings, loaded = pipeline_of_servers(pipeline)
    with servers_reached(loaded, settings):
        report = run_verification(loaded, settings, wait_s=wait, sources=sources, progress=report_progress)
    print_result(as_json, report.to_json(), report.lines(), is_finding=not report.passed)
