"""Processor time and memory are read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys

from bench import usage


def test_ticks_are_those_of_the_process_and_its_ended_children() -> None:
    name = "42 (a (odd) name) S 1 42 42 0 -1 4194304 100 0 0 0 7 11 13 17 20 0 3 0 500 1000 200"
    assert usage.parse_ticks(name) == 7 + 11 + 13 + 17


def test_busy_ticks_leave_out_idle_iowait_and_guest() -> None:
    assert (
        usage.parse_busy("cpu  10 20 30 4000 500 6 7 8 900 1000\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
        == 10 + 20 + 30 + 6 + 7 + 8
    )


def test_a_tree_has_the_children_of_a_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert usage.tree([os.getpid()]) >= {os.getpid(), child.pid}


def test_a_process_that_has_ended_used_nothing() -> None:
    gone = 2**22 + 1  # above the highest pid of Linux
    assert usage.cpu_s([gone]) == 0
    assert usage.rss_bytes([gone]) == 0
    assert usage.tree([gone]) == {gone}


def test_the_threads_of_this_process_are_named() -> None:
    assert any(tid == os.getpid() and seconds > 0 for (tid, _), seconds in usage.threads_cpu_s(os.getpid()).items())
    assert usage.threads_cpu_s(2**22 + 1) == {}


def test_this_process_has_memory_and_has_used_processor_time() -> None:
    assert usage.rss_bytes([os.getpid()]) > 2**20
    assert usage.cpu_s([os.getpid()]) > 0
