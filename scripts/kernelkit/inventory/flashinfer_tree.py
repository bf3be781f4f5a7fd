"""Which APIs a FlashInfer has, and which of them carry a trace template: read from its sources.

Nothing is imported, so that it works without a GPU, and on a checkout as on an installed package.
A dotted name is followed through packages and re-exports to the file that defines it; releases move
their modules (norm.py became norm/), and a table of files would call moved kernels missing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import util
from pathlib import Path

from kernelkit import lazily
from kernelkit.errors import UsageError
from kernelkit.inventory.revisions import revision_of

DECORATOR = "flashinfer_api"
_METHODS = ("run", "forward", "__call__")  # what a wrapper class is called by
_SKIPPED = ("data", "tests", "__pycache__")


@dataclass(frozen=True)
class Api:
    """One function or wrapper class. `template` is the trace template's name, None without one."""

    name: str
    file: str  # relative to the folder that holds the package
    line: int
    template: str | None
    moved: bool = False  # not where the dotted name says, but defined elsewhere in the package


@dataclass(frozen=True)
class FlashInferTree:
    """The sources of one FlashInfer: `package` is the folder `flashinfer` itself."""

    package: Path
    version: str | None = None
    revision: str | None = None
    _modules: dict[Path, ast.Module | None] = field(default_factory=dict, repr=False, compare=False)

    def find(self, dotted: str) -> Api | None:
        """The API behind a dotted path such as `flashinfer.norm.rmsnorm`, or None."""
        parts = dotted.split(".")[1:]
        found = self._at(parts) if parts else None
        return found or self._anywhere(parts[-1] if parts else dotted)

    def _at(self, parts: list[str]) -> Api | None:
        """Follow the path as an import statement would."""
        for cut in range(len(parts) - 1, -1, -1):
            module = self._file(self.package.joinpath(*parts[:cut]))
            if module is not None:
                return self._named(module, parts[cut], set())
        return None

    def _named(self, file: Path, name: str, seen: set[tuple[Path, str]]) -> Api | None:
        """A name of a module: defined there, or imported from another one."""
        if (file, name) in seen:
            return None
        seen.add((file, name))
        tree = self._parsed(file)
        if tree is None:
            return None
        for node in statements(tree.body):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name:
                return self._api(file, tree, name)
        for source, original in imports_of(tree, name):
            module = self._imported(file, source)
            if module and (found := self._named(module, original or name, seen)):
                return found
        return None

    def _api(self, file: Path, tree: ast.Module, name: str, *, moved: bool = False) -> Api:
        nodes = [
            node
            for node in statements(tree.body)
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == name
        ]
        node = nodes[-1]  # earlier ones are overloads
        return Api(name, self.relative(file), node.lineno, self._template(tree, node), moved)

    def _template(self, tree: ast.Module, node: ast.AST) -> str | None:
        if isinstance(node, ast.FunctionDef):
            return trace_argument(node)
        if not isinstance(node, ast.ClassDef):
            return None
        for method in _METHODS:
            for child in node.body:
                if isinstance(child, ast.FunctionDef) and child.name == method:
                    if (found := trace_argument(child)) is not None:
                        return found
        bases = {base.id for base in node.bases if isinstance(base, ast.Name)} - {node.name}
        inherited = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name in bases)
        return next((t for n in inherited if (t := self._template(tree, n)) is not None), None)

    def _anywhere(self, name: str) -> Api | None:
        """A definition of that name in any other module of public APIs: the API has moved."""
        pattern = re.compile(rf"^(?:def|class) {re.escape(name)}\b".encode(), re.MULTILINE)
        for file in self._files:
            if pattern.search(file.read_bytes()):
                tree = self._parsed(file)
                if tree and DECORATOR.encode() in file.read_bytes():
                    return self._api(file, tree, name, moved=True)
        return None

    @cached_property
    def _files(self) -> list[Path]:
        files = (p for p in self.package.rglob("*.py"))
        return sorted(
            p for p in files if not set(_SKIPPED) & set(p.relative_to(self.package).parts[:-1])
        )

    def _imported(self, file: Path, source: tuple[int, str]) -> Path | None:
        """The file of a `from SOURCE import`; None for another package's."""
        level, module = source
        if level:
            base = file.parent
            for _ in range(level - 1):
                base = base.parent
        elif module == "flashinfer" or module.startswith("flashinfer."):
            base, module = self.package, module.partition(".")[2]
        else:
            return None
        return self._file(base.joinpath(*module.split(".")) if module else base)

    def _file(self, stem: Path) -> Path | None:
        for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if file.is_file():
                return file
        return None

    def _parsed(self, file: Path) -> ast.Module | None:
        if file not in self._modules:
            try:
                self._modules[file] = lazily.parse(file.read_bytes())
            except (SyntaxError, ValueError, OSError):
                self._modules[file] = None
        return self._modules[file]

    def relative(self, file: Path) -> str:
        """The path as evidence names it: `flashinfer/norm/__init__.py`."""
        return file.relative_to(self.package.parent).as_posix()


def locate(path: Path | None = None) -> FlashInferTree | None:
    """The FlashInfer in `path` (a checkout, a site-packages folder or the package itself).

    Without `path` the installed one, found but not imported; None where none is installed. Raises
    UsageError for a path that holds none.
    """
    if path is None:
        found = util.find_spec("flashinfer")
        places = list(found.submodule_search_locations or ()) if found else []
        return _opened(Path(places[0])) if places else None
    path = path.expanduser()
    for package in (path, path / "flashinfer"):
        if (package / "api_logging.py").is_file() and (package / "__init__.py").is_file():
            return _opened(package.resolve())
    raise UsageError(
        "no FlashInfer sources in this folder",
        received=path,
        allowed="a checkout, a site-packages folder, or the package folder flashinfer/",
    )


def _opened(package: Path) -> FlashInferTree:
    return FlashInferTree(package, _version(package), revision_of(package))


def _version(package: Path) -> str | None:
    """The version as the build wrote it, or as the checkout's version.txt says it."""
    for file, pattern in (
        (package / "_build_meta.py", r'^__version__\s*=\s*["\']([^"\']+)'),
        (package.parent / "version.txt", r"^\s*(\S+)"),
    ):
        if file.is_file() and (match := re.search(pattern, file.read_text("utf-8"), re.MULTILINE)):
            return match.group(1)
    return None


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, those inside its `if`, `try` and `with` blocks included."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from statements(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body)


def imports_of(tree: ast.Module, name: str) -> Iterator[tuple[tuple[int, str], str | None]]:
    """Where a module has a name from: ((level, module), original name); None after a star."""
    for node in statements(tree.body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield (node.level, node.module or ""), alias.name
                elif alias.name == "*":
                    yield (node.level, node.module or ""), None


def trace_argument(node: ast.FunctionDef) -> str | None:
    """The `trace=` of a function's FlashInfer decorator, as written; None without one."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and _name(decorator.func) == DECORATOR:
            for keyword in decorator.keywords:
                if keyword.arg == "trace":
                    return ast.unparse(keyword.value)
    return None


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
