"""The members of an author's classes of streams and connectors, which are checked when the classes are created.

Without these checks, a misspelt member would not be read, and the default would apply without notice.
"""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Any, Generic, Protocol

from sluice.connector.cursor import Cursor
from sluice.errors import SettingsError, suggestion
from sluice.http import Limits

# Members that older versions of Sluice had, and what replaced them.
_RENAMED = {
    "concluded": "implicit_end",
    "ends_open": "end_is_implicit",
    "looks_before_delete": "listings_before_delete",
}
# Two names are similar from here on (difflib): cursor and curser, page_size and page_sise, but not records and reads.
_SIMILAR = 0.8
_FOUNDATION = (object, ABC, Generic, Protocol)


def _is_key(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, list | tuple) and bool(names) and all(isinstance(one, str) and one for one in names)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_paging(value: Any) -> bool:
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in ("first", "next"))


def _is_path(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, tuple) and all(isinstance(step, str) for step in value))


# For each member: whether a value is possible, and how an author writes one.
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "count": (lambda value: isinstance(value, bool), "count = False"),
    "cursor": (lambda value: value is None or isinstance(value, Cursor), 'cursor = Cursor("modifiedAt")'),
    "enumerate_every": (
        lambda value: isinstance(value, timedelta) and value > timedelta(),
        "enumerate_every = timedelta(hours=1), which is positive",
    ),
    "filter": (lambda value: isinstance(value, str), "filter = \"status eq 'open'\""),
    "key": (_is_key, 'key = "id", or a tuple of names'),
    "limits": (lambda value: isinstance(value, Limits), "limits = Limits(deadline_s=…)"),
    "listings_before_delete": (_is_count, "listings_before_delete = 2, a whole number from 1"),
    "not_paging": (
        lambda value: not isinstance(value, str) and _is_path(tuple(value) if isinstance(value, list) else value),
        'not_paging = ("total",), a tuple of names',
    ),
    "order_by": (lambda value: value is None or isinstance(value, str), 'order_by = "ID"'),
    "page_size": (lambda value: value is None or _is_count(value), "page_size = 100, a whole number from 1"),
    "paging": (_is_paging, 'paging = NextLink("links.next"), LinkHeader(), Offset() or SinglePage()'),
    "params": (lambda value: isinstance(value, Mapping), 'params = {"name": "value"}'),
    "path": (lambda value: isinstance(value, str), 'path = "/books"'),
    "records": (_is_path, 'records = "data"'),
    "streams": (lambda value: isinstance(value, Mapping), 'streams = {"books": Books}'),
}


def require_members(kind: type) -> None:
    """Check the members that an author wrote in the class `kind`, and in its bases that are not Sluice's.

    Raises SettingsError, which names the class and the member: for a public member that Sluice does not know, a value
    in place of a method, and a value of a wrong type.
    """
    known = {name: value for base in _bases(kind, ours=True) for name, value in _public(base)}
    own: set[str] = set()
    for base in _bases(kind, ours=False):
        annotations = inspect.get_annotations(base)
        own |= {name for name, annotation in annotations.items() if "ClassVar" in str(annotation)}
        for name, value in vars(base).items():
            where = f"{base.__qualname__}.{name}"
            if name in known:
                _require_value(where, name, known[name], value)
            elif not name.startswith("_"):
                _refuse_unknown(where, name, list(known), own=name in own or _is_code(value))


def refuse_renamed(kind: type) -> None:
    """Raises SettingsError if the class `kind` has a member under the name that it had in an older version of Sluice,
    because Sluice would not read it."""
    for name in vars(kind).keys() & _RENAMED.keys():
        if hasattr(kind, _RENAMED[name]):
            raise SettingsError(f"{kind.__qualname__}.{name} is now {_RENAMED[name]}. Next: rename it")


def _bases(kind: type, *, ours: bool) -> Iterator[type]:
    """The class `kind` and its bases, from the most general one on: those of Sluice, or those of an author."""
    for base in reversed(kind.__mro__):
        if base not in _FOUNDATION and (base.__module__.partition(".")[0] == "sluice") is ours:
            yield base


def _public(kind: type) -> Iterator[tuple[str, Any]]:
    members = {**dict.fromkeys(inspect.get_annotations(kind)), **vars(kind)}
    return ((name, value) for name, value in members.items() if not name.startswith("_"))


def _is_code(value: Any) -> bool:
    """Whether a member is a function, a property or a class, rather than a value."""
    return hasattr(type(value), "__get__") or isinstance(value, type)


def _require_value(where: str, name: str, ours: Any, value: Any) -> None:
    if inspect.isfunction(ours) and (isinstance(value, type) or not (_is_code(value) or callable(value))):
        raise SettingsError(f"{where}: {name} is a method, and not a value. Next: write def {name}(self, …)")
    possible, written = _VALUES.get(name, (None, ""))
    computed = hasattr(type(value), "__get__") and not inspect.isfunction(value)
    if possible is None or computed or possible(value):
        return
    if name == "paging" and isinstance(value, type):
        raise SettingsError(f"{where}: paging is a class; write {value.__name__}(…)")
    raise SettingsError(f"{where} cannot have this value. Next: write {written}")


def _refuse_unknown(where: str, name: str, known: list[str], *, own: bool) -> None:
    """Raises SettingsError for the member `name`, which Sluice does not know. A member that is the author's `own` is
    refused only if its name is similar to a known one."""
    if _RENAMED.get(name) in known:
        raise SettingsError(f"{where} is now {_RENAMED[name]}. Next: rename it")
    if not own or get_close_matches(name, known, 1, _SIMILAR):
        raise SettingsError(
            f"{where}: no such member ({suggestion(name, known)}). Next: correct the name; "
            f"if it is a name of your own, write _{name}"
        )
