"""What a state directory contains, and what a reset may delete."""

from pathlib import Path

from sluice.embedded.java import parse_major
from sluice.embedded.layout import Layout, reachable_by_all


def test_a_reset_empties_a_directory_that_is_sluices_own(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "state")
    (layout.state_dir / "run").mkdir()
    (layout.home("kafka")).mkdir()
    layout.delete()
    assert sorted(path.name for path in layout.state_dir.iterdir()) == [".sluice-state", "servers"]
    assert list(layout.servers.iterdir()) == []


def test_a_reset_of_a_directory_with_other_things_in_it_leaves_them(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    layout = Layout.of(tmp_path)
    (layout.home("kafka")).mkdir()
    layout.delete()
    assert (tmp_path / "thesis.txt").exists()
    assert list(layout.servers.iterdir()) == []


def test_a_directory_below_a_private_one_is_not_reachable_by_all(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "inside").mkdir(parents=True)
    private.chmod(0o700)
    assert not reachable_by_all(private / "inside")


def test_two_state_directories_never_share_a_marker(tmp_path: Path) -> None:
    markers = {Layout(tmp_path / a).marker(b) for a in ("x", "y") for b in ("kafka", "postgres")}
    assert len(markers) == 4


def test_javas_major_version_is_read_from_what_it_says() -> None:
    assert parse_major('openjdk version "25.0.2" 2026-01-20 LTS') == 25
    assert parse_major('java version "1.8.0_292"') == 1
    assert parse_major("command not found") is None
