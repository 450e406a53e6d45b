"""What counts as a mapping's code, and the hash by which changed code with an unchanged version is noticed.

From the mapping's function, its raw model and its entity, every name is followed to its definition in the author's own
modules, and from there on. What cannot be followed counts whole: better a version too many than a change unseen.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluice.entities import claims_in_text, module_place
from sluice.entities.authored_module import AuthoredModule, Imported, normalised, read_module, without_fields
from sluice.entities.code_references import References, references_of
from sluice.entities.module_place import Kind
from sluice.errors import SettingsError

if TYPE_CHECKING:
    from sluice.entities.entity import Entity

# Raised with a change of Sluice after which the same code would claim something else of the same record.
READING_RULES = 1
_WHOLE = "*"


@dataclass(slots=True)
class MappingCode:
    """`parts`: (module, name) → normalised text. `packages`: "name version" of what is installed and used.

    `modules`: the authored modules within reach; the definitions in them keep their lines.
    """

    parts: dict[tuple[str, str], str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    modules: dict[str, AuthoredModule] = field(default_factory=dict)

    def resolved(self, module: str, chain: tuple[str, ...]) -> set[tuple[str, str]]:
        """(module, name) of each definition that a dotted name in `module` may stand for, through whatever imports."""
        todo, met, found = [(module, chain)], set[tuple[str, tuple[str, ...]]](), set[tuple[str, str]]()
        while todo:
            module, chain = place = todo.pop()
            if not chain or module not in self.modules or place in met:
                continue
            met.add(place)
            known, (name, *rest) = self.modules[module], chain
            for imported in known.imports.get(name, ()):
                todo.append((imported.module, (*([imported.name] if imported.name else []), *rest)))
            if name in known.definitions and not rest:
                found.add((module, name))
            elif not known.knows(name) and f"{module}.{name}" in self.modules:
                todo.append((f"{module}.{name}", tuple(rest)))
            elif not known.knows(name):
                todo += [(star, chain) for star in known.stars]
        return found

    def statements(self) -> Iterator[tuple[str, ast.stmt]]:
        """Everything that counts, with the module in which it stands."""
        for module, name in self.parts:
            known = self.modules.get(module)
            found = [] if known is None else known.definitions.get(name, []) if name else known.acts
            yield from ((module, statement) for statement in found)

    def sha256(self) -> str:
        """64 hex digits; the minor version of Python counts, since values are read and written with it."""
        facts = [
            READING_RULES,
            list(sys.version_info[:2]),
            sorted(self.packages),
            sorted([*where, text] for where, text in self.parts.items()),
        ]
        return hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogatepass")).hexdigest()

    def told(self) -> str:
        """For people: module by module the names that count, then the packages."""
        by_module: dict[str, list[str]] = {}
        for module, name in sorted(self.parts):
            by_module.setdefault(module, []).append("all of it" if name == _WHOLE else name)
        places = [f"{module} ({', '.join(n for n in names if n)})" for module, names in by_module.items()]
        return ", ".join([*places, *sorted(self.packages), "Python {}.{}".format(*sys.version_info[:2])])


def mapping_code(function: Callable[[Any], Any], raw_model: type, entity: type["Entity"]) -> MappingCode:
    """The code of a mapping from its three roots. Raises SettingsError where there is no source text.

    Of the entity's fields only those count that the code claims, where it can be seen that it claims no others.
    """
    if module_place.file_of(function.__module__) is None:
        raise SettingsError(f"{function.__module__}.{function.__name__}: has no source file, so its code has no hash")
    walk = _Walk((entity.__module__, entity.__qualname__))
    for module, name in (
        (function.__module__, function.__qualname__),
        (raw_model.__module__, raw_model.__qualname__),
    ):
        if module_place.kind_of(module) is Kind.AUTHORED:
            walk.need(module, name)
    walk.finish()
    claimed = None if walk.blind else claims_in_text.all_claimed(walk.code, entity)
    walk.need_entity(set() if claimed is None else entity.model_fields.keys() - claimed)
    walk.finish()
    return walk.code


class _Walk:
    """Follows names until nothing new is met. A name that its module does not show makes the module count whole.

    The `entity` (module, class) is left out until `need_entity`. `blind`: some code makes names at run time.
    """

    def __init__(self, entity: tuple[str, str]) -> None:
        self.code = MappingCode()
        self._entity = entity
        self._todo: list[tuple[str, ast.stmt]] = []
        self._followed: set[tuple[str, str]] = set()
        self.blind = False

    def need(self, module: str, name: str) -> None:
        """Count the definition of `name` in an authored module."""
        if (module, name) in self._followed or (module, name) == self._entity:
            return
        self._followed.add((module, name))
        known = self._enter(module)
        imports = known.imports.get(name, [])
        for imported in imports:
            self._follow(imported, ())
        if name in known.definitions:
            self._count(module, name, known.definitions[name])
        elif not imports or (module, name) in imports:
            self._whole(f"{module}.{name}" if module_place.exists(f"{module}.{name}") else module)

    def need_entity(self, unclaimed: Set[str]) -> None:
        """Count the entity's class without the fields that the mapping leaves to others."""
        module, name = self._entity
        self._entity = ("", "")
        if module_place.kind_of(module) is not Kind.AUTHORED:
            return
        statements = self._enter(module).definitions.get(name)
        if statements is None:
            self.need(module, name)
        else:
            self._count(module, name, [without_fields(one, unclaimed) for one in statements])

    def finish(self) -> None:
        """Follow what was met so far; if some code looks names up itself, every module within reach counts whole."""
        while self._todo:
            module, statement = self._todo.pop()
            self._references(module, references_of(statement))
            if self.blind and not self._todo:
                for reached in list(self.code.modules):
                    self._whole(reached)

    def _enter(self, module: str) -> AuthoredModule:
        """Read a module, count what acts in it, and enter the authored modules that it imports."""
        if module in self.code.modules:
            return self.code.modules[module]
        text, is_package = module_place.text_of(module)
        if text is None:
            known = AuthoredModule()
        else:
            try:
                known = read_module(text, module, is_package, lambda n: module_place.kind_of(n) is Kind.AUTHORED)
            except (SyntaxError, ValueError):  # not Python's text: its bytes count as they are
                known = AuthoredModule()
                self.code.parts[module, _WHOLE] = hashlib.sha256(text).hexdigest()
        self.code.modules[module] = known
        if known.acts:
            self._count(module, "", known.acts)
        for starred in known.stars:
            self._follow(Imported(starred, None), ())
        for imported in known.modules:
            if module_place.kind_of(imported) is Kind.AUTHORED:
                self._enter(imported)
        parent = module.rpartition(".")[0]
        if parent and module_place.kind_of(parent) is Kind.AUTHORED:
            self._enter(parent)
        return known

    def _count(self, module: str, name: str, statements: list[ast.stmt]) -> None:
        if (module, name) in self.code.parts:
            return
        self.code.parts[module, name] = "\n".join(map(normalised, statements))
        self._todo += [(module, statement) for statement in statements]

    def _whole(self, module: str) -> None:
        if (module, _WHOLE) in self.code.parts:
            return
        known = self._enter(module)
        self.code.parts.setdefault((module, _WHOLE), "")
        for name, statements in known.definitions.items():
            self._count(module, name, statements)
        for imports in known.imports.values():
            for imported in imports:
                self._follow(imported, ())

    def _references(self, module: str, met: References) -> None:
        known = self.code.modules[module]
        self.blind = self.blind or met.looks_up
        if met.reads_files:
            self.code.parts |= module_place.data_beside(module, met.texts)
        for chain in sorted(met.chains):
            name, *attributes = chain
            if name in known.definitions:
                self.need(module, name)
            for imported in known.imports.get(name, ()):
                self._follow(imported, tuple(attributes))

    def _follow(self, imported: Imported, attributes: tuple[str, ...]) -> None:
        kind = module_place.kind_of(imported.module)
        if kind is Kind.PACKAGE:
            self.code.packages |= module_place.versions_of(imported.module)
        elif kind is Kind.ABSENT:  # an optional one that may be installed one day
            self.code.packages.add(f"no {imported.module}")
        elif kind is Kind.LOOKS_UP:
            self.blind = True
        if kind is not Kind.AUTHORED:
            return
        path = attributes if imported.name is None else (imported.name, *attributes)
        module = imported.module
        while path and not self._enter(module).knows(path[0]) and module_place.exists(f"{module}.{path[0]}"):
            module, path = f"{module}.{path[0]}", path[1:]
        if path:
            self.need(module, path[0])
        else:
            self._whole(module)
