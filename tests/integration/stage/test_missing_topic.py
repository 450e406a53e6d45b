"""A topic that is deleted while a stage writes to it is one fault, which names it and the command that creates it."""

from __future__ import annotations

from support.echo_stage import EchoBench, Running
from support.waiting import eventually

ATTEMPTS = 3


def test_a_missing_topic_is_reported_once_however_often_a_write_fails(bench: EchoBench) -> None:
    bench.feed(b"1")
    stage, echo = bench.stage()
    with Running(stage) as running:
        eventually(lambda: bench.committed() == 1, "the first record")
        bench.delete(bench.out)
        bench.feed(b"2")
        eventually(lambda: echo.handled.count(1) >= ATTEMPTS, "it is tried again and again", 60.0)
        missing = (f"topic {bench.out}", f"topic {bench.out}: does not exist. Next: run `sluice topics apply`")
        assert set(bench.reported) == {missing}
        bench.create(bench.out)
        eventually(lambda: bench.committed() == 2, "the second record", 60.0)
        eventually(lambda: not bench.healths[-1].faults, "no fault is left")
        assert running.error is None
    assert bench.visible(bench.out) == [b"2"]
