"""Where a module's code is kept: written by the author, installed as a package, or part of Python and Sluice."""

import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Mapping
from enum import Enum, auto
from functools import cache
from importlib import metadata
from pathlib import Path

_INSTALLED = frozenset({"site-packages", "dist-packages"})
_PYTHON = Path(sysconfig.get_path("stdlib"))
_NAME_BYTES_MAX = 255  # of one folder or file
_PATH_BYTES_MAX = 4_095
_FINDS_MODULES = frozenset({"importlib", "pkgutil", "runpy", "inspect", "gc"})


class Kind(Enum):
    """AUTHORED is followed by its text, PACKAGE counts by its version, LOOKS_UP finds other code at run time."""

    AUTHORED = auto()
    PACKAGE = auto()
    LOOKS_UP = auto()
    GIVEN = auto()  # Python and Sluice themselves
    ABSENT = auto()


def kind_of(module: str) -> Kind:
    """Where `module` (dotted name) is from. What lies on the path and nobody installed is the author's."""
    top = module.partition(".")[0]
    if top == "sluice":
        return Kind.GIVEN
    places = _places(module)
    if any(place.is_relative_to(_PYTHON) and _INSTALLED.isdisjoint(place.parts) for place in places):
        return Kind.LOOKS_UP if top in _FINDS_MODULES else Kind.GIVEN
    if any(not _INSTALLED.isdisjoint(place.parts) for place in places) and versions_of(module):
        return Kind.PACKAGE
    if places:
        return Kind.AUTHORED
    return Kind.GIVEN if top in sys.stdlib_module_names else Kind.ABSENT


def exists(module: str) -> bool:
    """Whether there is such a module, with a file or as a folder of modules."""
    return module in sys.modules or bool(_places(module))


def file_of(module: str) -> Path | None:
    """The module's file; None for a folder of modules, for what is built in, and for what does not exist."""
    return next((place for place in _places(module) if place.is_file()), None)


def _places(module: str) -> list[Path]:
    """The module's file, or its folders where it has none."""
    known = sys.modules.get(module)
    if known is not None:
        file, folders = getattr(known, "__file__", None), getattr(known, "__path__", ())
        return [Path(file)] if file else [Path(folder) for folder in folders]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return []
    if spec is not None and spec.has_location and spec.origin:
        return [Path(spec.origin)]
    return [Path(folder) for folder in spec.submodule_search_locations or ()] if spec is not None else []


def text_of(module: str) -> tuple[bytes | None, bool]:
    """The module's text (None for a folder of modules) and whether it is a package's `__init__`."""
    file = file_of(module)
    return (None, True) if file is None else (file.read_bytes(), file.stem == "__init__")


def versions_of(module: str) -> frozenset[str]:
    """ "name version" of the installed distributions that a module's top level may come from."""
    return _versions(module.partition(".")[0])


@cache
def _versions(top: str) -> frozenset[str]:
    names = [top] if top in _distributions() else _importable().get(top, ())
    return frozenset(f"{name} {metadata.version(name)}" for name in names)


@cache
def _distributions() -> frozenset[str]:
    return frozenset(one.name for one in metadata.distributions())


@cache
def _importable() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def data_beside(module: str, texts: set[str]) -> dict[tuple[str, str], str]:
    """Files that a module which reads files may mean, by (module, file's name), with their hash.

    Those in its own folder that are no code, and those that one of `texts` names from there or from the folder that
    its imports begin in; of a folder named so, the files directly in it.
    """
    file = file_of(module)
    if file is None:
        return {}
    root = file.parents[module.count(".") + (file.stem == "__init__")]
    named = [folder / text for folder in {file.parent, root} for text in texts if _is_relative(text)]
    found = {one for place in [file.parent, *named] for one in _data_at(place)}
    return {(module, str(one.relative_to(root))): _sha256(one) for one in found if one.is_relative_to(root)}


def _is_relative(text: str) -> bool:
    """Whether a text can be the name of a file below a folder."""
    encoded = text.encode("utf-8", "surrogatepass")
    if not 0 < len(encoded) <= _PATH_BYTES_MAX or "\0" in text or text.startswith("/") or ".." in text:
        return False
    return all(len(part) <= _NAME_BYTES_MAX for part in encoded.split(b"/"))


def _data_at(place: Path) -> list[Path]:
    """The data file at `place`, or those directly in it; none where the system takes it for no place at all."""
    try:
        return [one for one in (place.iterdir() if place.is_dir() else [place]) if _is_data(one)]
    except (OSError, ValueError):
        return []


def _is_data(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.suffix not in {".py", ".pyc", ".so"}


def _sha256(file: Path) -> str:
    """In hex, read piece by piece; what cannot be read counts as such, since the mapping cannot read it either."""
    try:
        with file.open("rb") as data:
            return hashlib.file_digest(data, "sha256").hexdigest()
    except OSError:
        return "unreadable"
