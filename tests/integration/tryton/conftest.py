"""A running Tryton for the tests of this folder. Its template comes from the user's cache, or is created (about a
minute, once)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.embedded import Servers
from sluice.embedded.fetching import cache_dir
from sluice.testing.example import ExampleContext, ExampleDriver, load_example
from support.tryton import EXAMPLE, Erp


@pytest.fixture(scope="session")
def tryton_driver() -> ExampleDriver:
    return load_example(EXAMPLE)


@pytest.fixture(scope="session")
def tryton_ctx(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory, tryton_driver: ExampleDriver
) -> ExampleContext:
    ctx = ExampleContext(servers.postgres.dsn(), cache_dir(), tmp_path_factory.mktemp("tryton"), print)
    tryton_driver.prepare(ctx)
    return ctx


@pytest.fixture(scope="module")
def erp(
    tryton_driver: ExampleDriver, tryton_ctx: ExampleContext, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Erp]:
    """A company that only one module uses."""
    state_dir: Path = tmp_path_factory.mktemp("tryton-state")
    ctx = ExampleContext(tryton_ctx.postgres_dsn, tryton_ctx.cache_dir, state_dir, print)
    running = tryton_driver.start(ctx)
    yield Erp(tryton_driver, ctx, running)
    running.stop()
