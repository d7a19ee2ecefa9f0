"""Which code decides a result: the definitions that its builder reaches, found from the code itself.

The unit is a top-level definition of this package: a function, a class, an assignment. From the builder on, every name that
a unit loads is followed through the module's own definitions and its imports. A unit is hashed as a syntax tree without
comments, docstrings, type hints of functions and formatting, and names are spelled as what they lead to. So formatting,
moving or renaming a module leaves every key as it was, and a changed token makes stale all that can reach it.

What reaches a builder through its parameters is not followed: those are settings and inputs, and keys hold their values.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]

Unit = tuple[str, str]  # module and name; the name "" is what a module does when it is imported


@dataclass(frozen=True)
class CodeVersion:
    """The code behind a result: one hash of all, and one for each module, so that a change can be named."""

    version: str
    modules: dict[str, str]


@dataclass
class _Module:
    name: str
    path: Path | None
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)  # alias -> full dotted name


class SourceCode:
    """The modules of a package, read without importing them.

    Args:
        root: the package's folder; its name is the package's.
    """

    def __init__(self, root: Path) -> None:
        self.package = root.name
        self.modules: dict[str, _Module] = {}
        self._normalised: dict[Unit, tuple[str, frozenset[Unit]]] = {}
        for path in sorted(root.rglob("*.py")):
            parts = (root.name, *path.relative_to(root).with_suffix("").parts)
            name = ".".join(parts).removesuffix(".__init__")
            self.add(name, path.read_text(encoding="utf-8"), path)

    def add(self, name: str, source: str, path: Path | None = None) -> None:
        """Takes in a module's source, or a notebook's under a name of its own."""
        module = _Module(name, path)
        inside = name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]
        for statement in ast.parse(source).body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                module.imports |= _aliases(statement, inside)
                continue
            for bound in _bound_names(statement) or [""]:
                module.definitions.setdefault(bound, []).append(statement)
            for inner in _imports_within(statement, only_module_level=True):
                module.imports |= _aliases(inner, inside)
        self.modules[name] = module

    def version(self, module: str, name: str | None = None) -> CodeVersion:
        """The code that a definition reaches; without a name, all that the module holds."""
        digests: dict[str, list[str]] = {}
        for unit in self._reached(self._all_of(module) if name is None else [(module, name)]):
            digests.setdefault(unit[0], []).append(self._normalise(unit)[0])
        # a set: the same definition in two modules decides what one would
        whole = sorted({d for found in digests.values() for d in found})
        short = {m.removeprefix(f"{self.package}."): _hash(*sorted(found)) for m, found in digests.items()}
        return CodeVersion(_hash(*whole), dict(sorted(short.items())))

    def _reached(self, start: Iterable[Unit]) -> set[Unit]:
        seen: set[Unit] = set()
        todo = list(start)
        while todo:
            unit = todo.pop()
            if unit in seen or unit[1] not in self.modules[unit[0]].definitions:
                continue
            seen.add(unit)
            todo += self._normalise(unit)[1]
            todo.append((unit[0], ""))
        return seen

    def _all_of(self, module: str) -> list[Unit]:
        return [(module, name) for name in self.modules[module].definitions if name != "__doc__"]

    def _normalise(self, unit: Unit) -> tuple[str, frozenset[Unit]]:
        if unit not in self._normalised:
            module = self.modules[unit[0]]
            reader = _Reader(self, module)
            trees = [ast.dump(reader.read(s)) for s in module.definitions[unit[1]]]
            self._normalised[unit] = _hash(unit[1], *trees), frozenset(reader.reached)
        return self._normalised[unit]

    def resolve(self, dotted: str) -> tuple[str, list[Unit]]:
        """How a full dotted name is spelled in a hash, and the units that it leads to; none for another package's."""
        if dotted in self.modules:
            return "<module>", self._all_of(dotted)
        head, _, last = dotted.rpartition(".")
        if head in self.modules:
            module = self.modules[head]
            if last in module.definitions:
                return last, [(head, last)]
            if last in module.imports:
                return self.resolve(module.imports[last])
            return last, []
        return dotted, []

    @cached_property
    def files(self) -> dict[str, str]:
        """File name -> module, for workers that are started by their file."""
        return {m.path.name: m.name for m in self.modules.values() if m.path is not None}


class _Reader(ast.NodeTransformer):
    """Rewrites a definition into its normal form and gathers what it reaches."""

    def __init__(self, code: SourceCode, module: _Module) -> None:
        self.code = code
        self.module = module
        self.reached: set[Unit] = set()
        self.aliases = dict(module.imports)
        self.local: set[str] = set()  # names that a function binds itself: its arguments and variables

    def read(self, statement: ast.stmt) -> ast.AST:
        inside = self.module.name if self._is_package() else self.module.name.rpartition(".")[0]
        for inner in _imports_within(statement):
            self.aliases |= _aliases(inner, inside)
        copy = ast.parse(ast.unparse(statement)).body[0]
        return self.visit(copy)

    def _is_package(self) -> bool:
        return self.module.path is not None and self.module.path.name == "__init__.py"

    def _spell(self, dotted: str) -> str:
        spelled, units = self.code.resolve(dotted)
        self.reached.update(units)
        return f"<{spelled}>"

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if node.id in self.local:
            return node
        if node.id in self.aliases:
            return ast.Name(self._spell(self.aliases[node.id]), node.ctx)
        if node.id in self.module.definitions:
            return ast.Name(self._spell(f"{self.module.name}.{node.id}"), node.ctx)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        chain, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            chain.insert(0, value.attr)
            value = value.value
        if not isinstance(value, ast.Name) or value.id not in self.aliases or value.id in self.local:
            return self.generic_visit(node)
        dotted = self.aliases[value.id]
        while chain and dotted in self.code.modules:  # the module's definition, not the whole module
            dotted = f"{dotted}.{chain.pop(0)}"
        out: ast.expr = ast.Name(self._spell(dotted), ast.Load())
        for attribute in chain:
            out = ast.Attribute(out, attribute, ast.Load())
        return out

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A text that names a module, or a module's file, starts it as a program; one of a table beside it reads that."""
        if not isinstance(node.value, str):
            return node
        if self.module.path is not None and re.fullmatch(r"[\w-]+\.(?:yaml|csv|tsv)", node.value):
            table = self.module.path.with_name(node.value)
            return ast.Constant(hashlib.sha256(table.read_bytes()).hexdigest() if table.is_file() else node.value)
        module = self.code.files.get(node.value, node.value if node.value in self.code.modules else None)
        if module is None or module == self.code.package:
            return node
        self.reached.update(self.code._all_of(module))
        return ast.Constant("<module>")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._visit_function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._within(node)

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        node.body = _without_docstring(node.body)
        return self._within(node)

    def _within(self, node: ast.AST) -> ast.AST:
        outside = self.local
        bound = {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        bound |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        shared = {name for n in ast.walk(node) if isinstance(n, ast.Global) for name in n.names}
        self.local = outside | (bound - shared)
        out = self.generic_visit(node)
        self.local = outside
        return out

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = _without_docstring(node.body)
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body


def _bound_names(statement: ast.stmt) -> list[str]:
    """The module-level names that a statement defines or adds to; none where it only acts."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return ["__doc__"]
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        # TABLE["row"] = … adds to TABLE
        names = [_root(t) for target in targets for t in getattr(target, "elts", [target])]
        return [name for name in dict.fromkeys(names) if name]
    inner = [s for part in ("body", "orelse", "finalbody") for s in getattr(statement, part, [])]
    return list(dict.fromkeys(name for s in inner for name in _bound_names(s)))


def _root(target: ast.expr) -> str | None:
    """The name that an assignment's target begins with."""
    while isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        target = target.value
    return target.id if isinstance(target, ast.Name) else None


def _imports_within(node: ast.AST, only_module_level: bool = False) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not (only_module_level and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)):
            yield from _imports_within(child, only_module_level)


def _aliases(node: ast.Import | ast.ImportFrom, inside: str) -> dict[str, str]:
    """Alias -> full dotted name; ``inside`` is the package that a relative import starts from."""
    if isinstance(node, ast.Import):
        return {
            a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0] for a in node.names
        }
    start = node.module or ""
    if node.level:
        parts = inside.split(".")
        above = parts[: len(parts) - node.level + 1]
        start = ".".join([*above, start] if start else above)
    return {a.asname or a.name: f"{start}.{a.name}" for a in node.names}


def changed_modules(earlier: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of the modules whose reached definitions differ; a module that was only moved or renamed is none.

    Those of ``now`` where there are any: a module that is gone shows in those that reached it.
    """
    unchanged = set(earlier.values()) & set(now.values())
    return sorted(m for m, h in now.items() if h not in unchanged) or sorted(
        m for m, h in earlier.items() if h not in unchanged
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@lru_cache(maxsize=1)
def _package() -> SourceCode:
    return SourceCode(PACKAGE)


@lru_cache(maxsize=512)
def _version_of(module: str, name: str | None) -> CodeVersion:
    return _package().version(module, name)


def of(builder: Callable[..., Any]) -> CodeVersion:
    """The code behind a builder: that of the top-level function in which it is written.

    A builder that is written elsewhere than in this package (a user's notebook) is hashed by its own compiled code.
    """
    if builder.__module__ in _package().modules:
        return _version_of(builder.__module__, builder.__qualname__.partition(".")[0])
    code = builder.__code__
    version = _hash(code.co_code.hex(), repr(code.co_consts), repr(code.co_names))
    return CodeVersion(version, {builder.__module__: version})


def for_host(cell: Mapping[str, Any]) -> bool:
    """Whether a notebook's cell only brings the kit to Colab or Kaggle: no part of results nor of pages."""
    return "hosted" in cell["metadata"].get("tags", ())


def of_notebook(cells: Iterable[str]) -> CodeVersion:
    """The code of this package that a notebook's code cells reach; magics are passed over."""
    lines = [line for cell in cells for line in [*cell.splitlines(), ""] if not line.lstrip().startswith(("%", "!"))]
    code = _package()
    try:
        code.add("notebook", "\n".join(lines))
        found = code.version("notebook")
    finally:
        code.modules.pop("notebook", None)
        code._normalised = {u: n for u, n in code._normalised.items() if u[0] != "notebook"}
    modules = {m: h for m, h in found.modules.items() if m != "notebook"}
    return CodeVersion(_hash(*sorted(modules.values())), modules)
