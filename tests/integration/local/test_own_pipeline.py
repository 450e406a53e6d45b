"""What a reader of the how-to page about an own pipeline writes, runs: from nothing to golden rows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from sluice.embedded import Servers
from support.how_to import follow, written_by
from support.own_pipeline import removed, up
from support.pace import within
from support.repository import ROOT
from support.scripted_source import Answer, Asked, scripted_source

PAGE = ROOT / "docs" / "how-to" / "your-own-pipeline.md"
ROWS = [
    ("978-1", "Sluices", 4.5, "12.50", "new", ["locks", "dams"], "120"),
    ("978-2", "Weirs", None, "8.00", None, [], None),
]
QUERY = "SELECT isbn, title, rating, price::text, shelf, tags, about ->> 'pages' FROM golden.book ORDER BY isbn"


def block(language: str, marker: str) -> str:
    """The page's one code block of a language that contains `marker`."""
    (found,) = [one for one in re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL) if marker in one]
    return str(found)


@pytest.fixture
def mine(tmp_path: Path, servers: Servers) -> Iterator[Path]:
    """The page followed, under a name of its own, its topics with a prefix."""
    for step in written_by(PAGE):
        follow(tmp_path / "mine", step)
    examples = block("sh", "examples/books").replace("mine/", f"{tmp_path}/mine/")
    subprocess.run(["bash", "-euc", examples.partition(".venv/bin/sluice")[0]], check=True)
    with removed(servers, tmp_path / "mine") as folder:
        yield folder


def test_who_follows_the_page_has_golden_books_of_both_sources(mine: Path, servers: Servers) -> None:
    name = re.findall(r"pipeline: (\w+)", (mine / "pipeline.yaml").read_text())[0]
    for database in (f"{name}_shop", f"{name}_warehouse"):
        servers.postgres.create_database(database)
    shop, books = servers.postgres.dsn(f"{name}_shop"), servers.postgres.dsn(f"{name}_warehouse")
    with psycopg.connect(shop, autocommit=True) as connection:
        for statement in block("sql", "CREATE TABLE offer").split(";"):
            if statement.strip():
                connection.execute(statement.encode())
    listed = re.search(r"echo '(.*)' \\", block("sh", "book-api/books.json"))
    assert listed

    def answer(asked: Asked) -> Answer:
        return Answer(listed[1].encode()) if asked.path == "/books.json" else Answer(status=404)

    with scripted_source(answer) as api:
        file = mine / "pipeline.yaml"
        file.write_text(file.read_text().replace("http://127.0.0.1:8720", api.url))
        check = [sys.executable, "-m", "sluice.cli.main", "mappings", "check", "--pipeline", str(mine)]
        checked = subprocess.run(check, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "connector of api: sources.api.connector:BookApi, login none" in checked.stdout
        (sample,) = re.findall(r"```\n(mapping offer.*?)```", PAGE.read_text(), re.DOTALL)
        assert set(sample.splitlines()) <= set(checked.stdout.splitlines())
        done = up(mine, servers, "--seconds", "1", "--json", SHOP_DSN=shop, BOOKS_DSN=books)
        again = up(mine, servers, "--seconds", "1", "--json", SHOP_DSN=shop, BOOKS_DSN=books)
        entities = mine / "entities.py"
        entities.write_text(entities.read_text().replace("rating: float | None", "rating: str | None"))
        breaking = up(mine, servers, "--seconds", "1", SHOP_DSN=shop, BOOKS_DSN=books)
    assert done.returncode == 0, done.stderr
    assert again.returncode == 0, f"nothing has changed since, and no new record can be shown: {again.stderr}"
    assert breaking.returncode == 2
    assert "canonical.book-value: the entity changed in a way that breaks readers of its records" in breaking.stderr
    result = json.loads(done.stdout)
    assert (result["ending"], result["golden_rows"]) == ("verified", {"book": 2})
    with psycopg.connect(books) as connection:
        assert connection.execute(QUERY).fetchall() == ROWS
    assert records_read(mine, servers, f"{name}.canonical.book").keys() == {"978-1", "978-2"}
    assert "nothing is lost" in done.stderr
    assert "step 1 of 2: topics" in done.stderr


def records_read(folder: Path, servers: Servers, topic: str) -> dict[str, str]:
    """What the other page's reader prints: by id, the newest record."""
    (reader,) = written_by(ROOT / "docs" / "how-to" / "read-golden-records.md")
    follow(folder, reader)
    variables = {
        "SLUICE_KAFKA__BOOTSTRAP_SERVERS": servers.kafka.bootstrap_servers,
        "SLUICE_REGISTRY__URL": servers.registry.url,
    }
    command = [sys.executable, str(folder / "read.py"), topic]
    done = subprocess.run(
        command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=within(60)
    )
    assert done.returncode == 0, done.stderr
    printed = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert all(int(revision) > 0 for _, revision, _ in printed)
    return {entity_id: record for entity_id, _, record in printed}


def test_a_pipeline_file_of_another_name_is_the_one_that_is_run(mine: Path, servers: Servers) -> None:
    other = (mine / "pipeline.yaml").rename(mine / "staging.yaml")
    other.write_text(other.read_text().replace("SHOP_DSN", "STAGING_DSN"))
    done = up(other, servers)
    assert done.returncode == 2
    assert (
        "staging.yaml refers to variables that are not set, or are empty. Next: export BOOKS_DSN=… STAGING_DSN=…"
        in done.stderr
    )


def test_of_several_sinks_one_has_to_be_named(mine: Path, servers: Servers) -> None:
    file = mine / "pipeline.yaml"
    declared = yaml.safe_load(file.read_text())
    declared["sinks"]["lake"] = {"postgres": {"env": "LAKE_DSN"}, "schema": "golden"}
    file.write_text(yaml.safe_dump(declared, sort_keys=False))
    done = up(mine, servers)
    assert done.returncode == 2
    assert "this command runs one. Next: export SLUICE_SINK with one of warehouse, lake" in done.stderr


def test_variables_that_are_not_set_are_all_named_before_anything_starts(mine: Path, servers: Servers) -> None:
    done = up(mine, servers, "--seconds", "0")
    assert done.returncode == 2
    assert "refers to variables that are not set, or are empty. Next: export BOOKS_DSN=… SHOP_DSN=…" in done.stderr


def test_a_stage_that_there_is_not_is_refused(mine: Path, servers: Servers) -> None:
    done = up(mine, servers, "--stage", "poller")
    assert done.returncode == 2
    assert "no stage poller; there are ingress-poller" in done.stderr


def test_a_stage_that_the_pipeline_has_no_use_for_is_refused(mine: Path, servers: Servers) -> None:
    file = mine / "pipeline.yaml"
    declared = yaml.safe_load(file.read_text())
    del declared["sinks"]
    file.write_text(yaml.safe_dump(declared))
    done = up(mine, servers, "--stage", "sink-postgres", SHOP_DSN="postgresql://h/shop")
    assert done.returncode == 2
    assert "pipeline.yaml: has no work for sink-postgres" in done.stderr
