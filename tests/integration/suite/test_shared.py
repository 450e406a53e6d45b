"""A shared fixture that fails or breaks is reported once, and created again for the tests after it."""

import re
from collections.abc import Callable

PLUGIN = ("-p", "support.shared")

FAILS_ONCE = """
import pytest
tries = []

@pytest.fixture(scope="module")
def shared():
    tries.append(1)
    if len(tries) == 1:
        raise OSError("no port is free")
    yield len(tries)

@pytest.fixture(scope="module")
def user(shared):
    yield shared

def test_first(user): ...
def test_second(user): assert user == 2
def test_third(user): assert user == 2
"""


def outcomes(output: str) -> set[tuple[str, str]]:
    """The outcome of each test, with its name."""
    return set(re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", output, re.MULTILINE))


def test_a_shared_fixture_that_fails_to_start_is_started_again_by_the_next_test(
    output_of: Callable[..., str],
) -> None:
    said = output_of(FAILS_ONCE, *PLUGIN)
    assert "1 error" in said
    assert outcomes(said) == {("ERROR", "test_first"), ("PASSED", "test_second"), ("PASSED", "test_third")}


def test_a_fixture_that_never_starts_is_tried_twice_and_then_reported_in_a_line(output_of: Callable[..., str]) -> None:
    said = output_of(FAILS_ONCE.replace("len(tries) == 1", "True"), *PLUGIN)
    assert len(re.findall("^E +OSError: no port is free", said, re.MULTILINE)) == 2
    assert said.count("shared failed to start 2 times, see the tests before") >= 1
    assert "3 errors" in said


PIPELINE = """
import pytest
from types import SimpleNamespace
from support import scenario

class Pipeline:
    created = 0
    run = SimpleNamespace(state_dir="/somewhere")
    def __init__(self):
        Pipeline.created += 1
        self.number, self.why = Pipeline.created, ""
    def broken(self):
        return self.why

@pytest.fixture(scope="session")
def session():
    return object()

sessions = set()

@pytest.fixture(scope="module")
def pipeline(session):
    sessions.add(id(session))
    running = Pipeline()
    scenario.STARTED.append(running)
    yield running
    scenario.STARTED.remove(running)
    print("ended", running.number)

@pytest.fixture(scope="module")
def user(pipeline):
    yield pipeline

def test_good(user): assert user.number == 1
def test_breaks_it(user):
    user.why = "the broker is gone"
    raise AssertionError
def test_behind(user):
    assert user.number == 2
    assert len(sessions) == 1
    assert scenario.running() == [user]
def test_fails_and_leaves_it_whole(user): raise AssertionError
def test_last(user): assert user.number == 2
"""


def test_a_pipeline_that_a_failed_test_left_broken_is_named_once_and_restarted(
    output_of: Callable[..., str],
) -> None:
    said = output_of(PIPELINE, *PLUGIN)
    assert outcomes(said) == {
        ("PASSED", "test_good"),
        ("FAILED", "test_breaks_it"),
        ("PASSED", "test_behind"),
        ("FAILED", "test_fails_and_leaves_it_whole"),
        ("PASSED", "test_last"),
    }
    message = "broken after test_given.py::test_breaks_it; the tests behind it start a new one:\nthe broker is gone"
    assert said.count(message) == 1
    assert said.count("start a new one") == 1
