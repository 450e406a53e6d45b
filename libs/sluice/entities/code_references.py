"""The names that a piece of code refers to, and whether it does what no reading of names can follow."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

_LOOKS_UP = frozenset({"eval", "exec", "compile", "globals", "locals", "vars", "setattr", "delattr", "__import__"})
_LOOKED_UP = frozenset({"__subclasses__", "__dict__", "__globals__", "__init_subclass__", "metaclass"})
_READS = frozenset({"open", "__file__", "read_text", "read_bytes", "resources", "get_data"})


@dataclass(slots=True)
class References:
    """`chains`: dotted names as tuples; `texts`: the string constants, which may name files.

    `looks_up`: names are made at run time; `reads_files`: data beside the code is part of it.
    """

    chains: set[tuple[str, ...]] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    looks_up: bool = False
    reads_files: bool = False


def references_of(statement: ast.stmt) -> References:
    """What `statement` refers to; a local variable of a global's name counts as that global."""
    met = References()
    _Visitor(met).visit(statement)
    return met


class _Visitor(ast.NodeVisitor):
    def __init__(self, met: References) -> None:
        self._met = met

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Store):
            self._name((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        chain = tuple(chain_of(node))
        self._met.looks_up |= node.attr in _LOOKED_UP or chain[:2] == ("sys", "modules")
        self._met.reads_files |= node.attr in _READS
        if chain:
            self._name(chain)
        else:
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            named = len(node.args) > 1 and isinstance(node.args[1], ast.Constant)
            self._met.looks_up |= not named
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._met.texts.add(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._met.looks_up |= node.name in _LOOKED_UP
        self._annotation(node.returns)
        self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._annotation(node.returns)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._met.looks_up |= any(keyword.arg in _LOOKED_UP for keyword in node.keywords)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self._annotation(node.annotation)
        self.generic_visit(node)

    def _annotation(self, annotation: ast.expr | None) -> None:
        """Types named in quotes are names, too."""
        for node in ast.walk(annotation) if annotation is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                try:
                    self.visit(ast.parse(node.value, mode="eval").body)
                except SyntaxError:
                    continue

    def _name(self, chain: tuple[str, ...]) -> None:
        self._met.chains.add(chain)
        self._met.looks_up |= chain[0] in _LOOKS_UP
        self._met.reads_files |= chain[0] in _READS


def chain_of(node: ast.AST) -> Iterator[str]:
    """`a`, `b`, `c` of `a.b.c`; nothing where it does not begin with a name."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        before = list(chain_of(node.value))
        if before:
            yield from (*before, node.attr)
