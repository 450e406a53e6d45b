"""The text of a module that an author wrote: what each top-level name is made of, and what acts when it is imported.

Read, never executed. `mapping_code` follows from name to name with it.
"""

import ast
import copy
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from typing import NamedTuple

_Documented = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Imported(NamedTuple):
    """What an imported name stands for: `name` of `module`, or the module itself."""

    module: str
    name: str | None


@dataclass(slots=True)
class AuthoredModule:
    """`definitions`: the statements that bind a name; `acts`: those that do more than bind one when they run.

    A mapping that reaches a module depends on all of its acts, since nobody can see what they change.
    """

    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[Imported]] = field(default_factory=dict)  # each that may be the one at run time
    modules: list[str] = field(default_factory=list)  # of every import in it: they act, too
    stars: list[str] = field(default_factory=list)
    acts: list[ast.stmt] = field(default_factory=list)

    def knows(self, name: str) -> bool:
        return name in self.definitions or name in self.imports


def read_module(text: bytes, name: str, is_package: bool, is_authored: Callable[[str], bool]) -> AuthoredModule:
    """The module `name` from its text. `is_authored` tells whether a module's text is followed, by its name.

    Raises SyntaxError.
    """
    tree = ast.parse(text)
    module = AuthoredModule()
    package = name if is_package else name.rpartition(".")[0]
    for statement in tree.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                _read_import(module, node, package)
        for bound in _bound_names(statement):
            module.definitions.setdefault(bound, []).append(statement)
    module.acts = [s for s in tree.body if _acts(s, module, is_authored)]
    return module


def imported_by(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, Imported]]:
    """(name bound, what it stands for); the name bound by `from m import *` is `*`."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                alias.asname or alias.name.partition(".")[0],
                Imported(alias.name if alias.asname else alias.name.partition(".")[0], None),
            )
        return
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    origin = ".".join([*parents, *([node.module] if node.module else [])])
    for alias in node.names:
        yield alias.asname or alias.name, Imported(origin, alias.name)


def normalised(statement: ast.stmt) -> str:
    """The statement without comments, docstrings, layout and places."""
    return ast.dump(_Undocumented().visit(copy.deepcopy(statement)))


def without_fields(statement: ast.stmt, names: Set[str]) -> ast.stmt:
    """A class without the annotated fields in `names`; any other statement as it is."""
    if not isinstance(statement, ast.ClassDef):
        return statement
    kept = copy.copy(statement)
    kept.body = [s for s in statement.body if not isinstance(s, ast.AnnAssign) or names.isdisjoint(_bound_names(s))]
    return kept


class _Undocumented(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, _Documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node


def _read_import(module: AuthoredModule, node: ast.Import | ast.ImportFrom, package: str) -> None:
    for bound, imported in imported_by(node, package):
        if bound == "*":
            module.stars.append(imported.module)
        else:
            module.imports.setdefault(bound, []).append(imported)
    named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    module.modules += named or [imported.module for _, imported in imported_by(node, package)][:1]


def _bound_names(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, _Documented):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _acts(statement: ast.stmt, module: AuthoredModule, is_authored: Callable[[str], bool]) -> bool:
    """Whether running the statement can change what it does not bind: a call of the author's own code, a table filled.

    What Python, Sluice and installed packages offer to call at the top level (`mapping`, `Decimal`, `Annotated`) makes
    values; what authors write may also keep registers.
    """

    def own(name: str) -> bool:
        return name in module.definitions or any(is_authored(one.module) for one in module.imports.get(name, ()))

    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return False
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return any(own(root_name(decorator)) for decorator in statement.decorator_list)
        case ast.AugAssign(target=ast.Name(id=name)):
            return name in module.imports or _calls_own(statement.value, own)
        case ast.AnnAssign(target=ast.Name()):
            return statement.value is not None and _calls_own(statement.value, own)
        case ast.Assign():
            plain = all(isinstance(target, ast.Name | ast.Tuple) for target in statement.targets)
            return not plain or _calls_own(statement.value, own)
        case ast.If(test=test, orelse=[]):
            return not _never_on_import(test)
    return True


def _never_on_import(test: ast.expr) -> bool:
    """Whether it is `TYPE_CHECKING` (`typing.TYPE_CHECKING`) or `__name__ == "__main__"`, and nothing besides."""
    match test:
        case ast.Name(id="TYPE_CHECKING") | ast.Attribute(value=ast.Name(), attr="TYPE_CHECKING"):
            return True
        case ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]):
            return True
    return False


def _calls_own(value: ast.expr, own: Callable[[str], bool]) -> bool:
    return any(isinstance(node, ast.Call) and own(root_name(node.func)) for node in ast.walk(value))


def root_name(expression: ast.expr) -> str:
    """`a` of `a`, `a.b`, `a.b(…)[…]`; empty for anything else."""
    while isinstance(expression, ast.Attribute | ast.Call | ast.Subscript):
        expression = expression.func if isinstance(expression, ast.Call) else expression.value
    return expression.id if isinstance(expression, ast.Name) else ""
