"""What every rule reads: the solution, its definition, its modules, and what happens in `run`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from functools import cached_property

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, Language
from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.events import Event
from kernelkit.solutions.check.flow import Flow
from kernelkit.solutions.check.syntax import Function, Module, positional
from kernelkit.solutions.check.values import Value

PYTHONS = (Language.PYTHON, Language.TRITON, Language.TILELANG)
ATTENTION = ("gqa_paged", "gqa_ragged", "mla_paged", "mla_ragged", "dsa_paged")

Rule = Callable[["Context"], Iterator[Finding]]


class Context:
    """One solution against one definition."""

    def __init__(self, spec: BuildSpec, definition: Definition, sources: dict[str, str]) -> None:
        self.spec = spec
        self.definition = definition
        self.sources = sources
        self.modules: dict[str, Module] = {}
        self.broken: dict[str, SyntaxError | ValueError] = {}
        for path, text in sources.items():
            if path.endswith(".py") or (self.is_python and path == spec.entry_file):
                try:
                    self.modules[path] = Module(path, text)
                except (SyntaxError, ValueError, RecursionError) as error:
                    self.broken[path] = error  # type: ignore[assignment]

    @property
    def is_python(self) -> bool:
        """Whether the entry point is a Python function."""
        return self.spec.language in PYTHONS

    @property
    def passing(self) -> bool:
        """Whether outputs come as arguments."""
        return self.spec.destination_passing_style

    @cached_property
    def entry(self) -> Module | None:
        """The module of the entry point."""
        return self.modules.get(self.spec.entry_file) if self.is_python else None

    @cached_property
    def run(self) -> Function | None:
        """The entry function, also where the entry file imports it from another own file."""
        return self._located[1] if self._located else None

    @cached_property
    def home(self) -> Module | None:
        """The module that defines `run`."""
        return self._located[0] if self._located else None

    @cached_property
    def _located(self) -> tuple[Module, Function] | None:
        if self.entry is None:
            return None
        symbol = self.spec.entry_symbol
        if symbol in self.entry.functions:
            return self.entry, self.entry.functions[symbol]
        imported = self.entry.imports.get(symbol)
        return self.entry.resolve(imported, self.modules) if imported else None

    @cached_property
    def roles(self) -> dict[str, str]:
        """Parameter of run -> the input or output that is passed there, by position."""
        if self.run is None:
            return {}
        passed = [*self.definition.inputs, *(self.definition.outputs if self.passing else ())]
        return dict(zip(positional(self.run), passed, strict=False))

    @cached_property
    def flow(self) -> Flow:
        """The events from the arguments of run to its result."""
        flow = Flow(self.modules)
        if self.run is not None and self.home is not None:
            arguments = {own: self._argument(role) for own, role in self.roles.items()}
            flow.enter(self.home, self.run, arguments)
        return flow

    def _argument(self, role: str) -> Value:
        if role in self.definition.outputs:
            dtype = self.definition.outputs[role].dtype.value
            return Value(made="empty", dtype=dtype, token=role)
        spec = self.definition.inputs[role]
        if spec.shape is None:
            return Value(made="scalar", data=frozenset((role,)), steps=(role,))
        names = frozenset((role,))
        return Value(names, True, names, spec.dtype.value, "argument")

    def events(self, *kinds: str) -> list[Event]:
        """The events of these kinds, in program order."""
        return [event for event in self.flow.events if event.kind in kinds]

    @cached_property
    def text(self) -> str:
        """All sources, joined, without comments of Python."""
        return "\n".join(_without_comments(path, text) for path, text in self.sources.items())

    def mentions(self, pattern: str) -> bool:
        """Whether a regular expression occurs in the sources, comments and docstrings aside."""
        return re.search(pattern, self.text) is not None

    @cached_property
    def imported(self) -> set[str]:
        """Top-level names of the packages that any source imports."""
        return {
            dotted.split(".")[0]
            for module in self.modules.values()
            for dotted in module.imports.values()
            if not dotted.startswith(".")
        }

    def hot(self) -> Iterator[tuple[Module, ast.AST]]:
        """Every node in the bodies of the functions that a call of run may reach, once."""
        seen: set[ast.AST] = set()
        for path, name in sorted(self.flow.reached):
            module = self.modules[path]
            for function in (n for n in module.nodes if isinstance(n, ast.FunctionDef)):
                if function.name != name:
                    continue
                for node in (n for statement in function.body for n in ast.walk(statement)):
                    if node not in seen:
                        seen.add(node)
                        yield module, node

    def hot_calls(self) -> Iterator[tuple[Module, ast.Call, str]]:
        """Calls in them, with dotted names."""
        for module, node in self.hot():
            if isinstance(node, ast.Call):
                yield module, node, module.dotted(node.func)

    @property
    def const(self) -> dict[str, int]:
        """The definition's constant axes."""
        return self.definition.const_axes

    @property
    def is_attention(self) -> bool:
        """Whether the definition is of an attention family."""
        return self.definition.op_type in ATTENTION or "lse" in self.definition.outputs

    def stands_for(self, names: set[str]) -> set[str]:
        """Parameters of run that carry these inputs."""
        return {own for own, role in self.roles.items() if role in names}


def finding(code: str, module: Module | str, node: ast.AST | None, message: str) -> Finding:
    """A finding at a node."""
    path = module if isinstance(module, str) else module.path
    return Finding(code, path, message, getattr(node, "lineno", None))


def at(code: str, event: Event, message: str) -> Finding:
    """A finding at an event."""
    return Finding(code, event.module.path, message, event.line)


def _without_comments(path: str, text: str) -> str:
    """Python without comments and docstrings; other sources as they are."""
    if not path.endswith(".py"):
        return text
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return text
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                body[0].value.value = ""
    return ast.unparse(tree)
