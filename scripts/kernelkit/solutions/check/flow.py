"""Follow the arguments of `run` through the solution's own functions, statement by statement.

One pass in program order, branches joined, loop bodies once: enough to say which memory is an
input's, which is uninitialised, and what is returned. What happens is told as Events; the rules
read them. Nothing is executed.
"""

from __future__ import annotations

import ast

from kernelkit.solutions.check.events import Frame, element, join_tuples, leaves
from kernelkit.solutions.check.expressions import Expressions
from kernelkit.solutions.check.syntax import Function, Module
from kernelkit.solutions.check.values import UNKNOWN, Value, mixed

MAX_DEPTH = 8


class Flow(Expressions):
    """Statements: assignments, branches, loops."""

    def enter(
        self, module: Module, function: Function, arguments: dict[str, Value], depth: int = 0
    ) -> Value:
        """Follow a call of `function`; the joined value of its returns."""
        if depth > MAX_DEPTH or function in self._active:
            return mixed(list(arguments.values()), "call")
        self._active.append(function)
        self.reached.add((module.path, function.name))
        frame = Frame(module, function, dict(arguments), depth)
        self._block(frame, function.body)
        self._active.pop()
        if not frame.results:
            return UNKNOWN
        result = frame.results[0]
        for other in frame.results[1:]:
            result = join_tuples(result, other)
        return result

    def _block(self, frame: Frame, body: list[ast.stmt]) -> None:
        for statement in body:
            self._statement(frame, statement)

    def _statement(self, frame: Frame, node: ast.stmt) -> None:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            self._assign(frame, node)
        elif isinstance(node, ast.AugAssign):
            self._augment(frame, node)
        elif isinstance(node, ast.Return):
            value = self.value(frame, node.value)
            frame.results.append(value)
            if frame.depth == 0:
                self.tell(frame, "return", node, value=value)
        elif isinstance(node, ast.If):
            self._branch(frame, node)
        elif isinstance(node, (ast.For, ast.While)):
            self._loop(frame, node)
        elif isinstance(node, ast.With):
            for item in node.items:
                held = self.value(frame, item.context_expr)
                if item.optional_vars is not None:
                    self.bind(frame, item.optional_vars, held)
            self._block(frame, node.body)
        elif isinstance(node, ast.Try):
            for body in (node.body, *(h.body for h in node.handlers), node.orelse, node.finalbody):
                self._block(frame, body)
        elif isinstance(node, ast.FunctionDef):
            frame.nested[node.name] = node
        elif isinstance(node, ast.Global):
            frame.declared_global.update(node.names)
        elif isinstance(node, ast.Expr):
            self.value(frame, node.value)
        elif isinstance(node, ast.Assert):
            self.value(frame, node.test)

    def _assign(self, frame: Frame, node: ast.Assign | ast.AnnAssign) -> None:
        if node.value is None:
            return
        held = self.value(frame, node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            self.bind(frame, target, held)

    def bind(self, frame: Frame, target: ast.expr, held: Value) -> None:
        """Names, tuples of targets, elements (a write), and tensor.data (a write)."""
        if isinstance(target, ast.Name):
            if target.id in frame.declared_global:
                self.tell(frame, "global", target, target.id, held)
            frame.env[target.id] = held
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(frame, target, held)
        elif isinstance(target, ast.Subscript):
            self._store(frame, target, held, "[]=")
        elif isinstance(target, ast.Attribute) and target.attr == "data":
            self.write(frame, target, "data=", self.value(frame, target.value))

    def _unpack(self, frame: Frame, target: ast.Tuple | ast.List, held: Value) -> None:
        if held.made == "shape":
            self.tell(frame, "unpack", target, value=held)
        starred = any(isinstance(item, ast.Starred) for item in target.elts)
        exact = len(held.parts) == len(target.elts) and not starred
        rest = UNKNOWN if held.made == "shape" else held.step("[]", sure=False)
        for number, item in enumerate(target.elts):
            inner = item.value if isinstance(item, ast.Starred) else item
            self.bind(frame, inner, held.parts[number] if exact else rest)

    def _store(self, frame: Frame, target: ast.Subscript, held: Value, name: str) -> None:
        base = target.value
        if isinstance(base, ast.Name) and base.id not in frame.env:
            if base.id in frame.module.globals:
                self.tell(frame, "global", target, base.id, held)
            return
        self.value(frame, target.slice)
        self.write(frame, target, name, self.value(frame, base))

    def _augment(self, frame: Frame, node: ast.AugAssign) -> None:
        added = self.value(frame, node.value)
        if isinstance(node.target, ast.Subscript):
            self.accumulate(frame, node, "[]+=", self.value(frame, node.target.value))
        elif isinstance(node.target, ast.Name):
            held = frame.env.get(node.target.id, UNKNOWN)
            self.accumulate(frame, node, "+=", held)
            data = held.data | added.data
            frame.env[node.target.id] = Value(
                held.alias, held.sure, data, held.dtype, held.made, held.token, held.steps
            )

    def _branch(self, frame: Frame, node: ast.If) -> None:
        self.value(frame, node.test)
        before, skips = dict(frame.env), self.skips
        start = set(self.settled)
        self._block(frame, node.body)
        first, first_env, self.settled = self.settled, frame.env, set(start)
        frame.env = dict(before)
        self._block(frame, node.orelse)
        second = self.settled
        if leaves(node.body):
            skipped = isinstance(node.body[-1], ast.Continue) and not first - start
            self.skips = skips + skipped
            self.settled = second
        else:
            self.settled = first & second
            for name in {*first_env, *frame.env}:
                one, other = first_env.get(name), frame.env.get(name)
                frame.env[name] = join_tuples(one, other) if one and other else one or other  # type: ignore[assignment]

    def _loop(self, frame: Frame, node: ast.For | ast.While) -> None:
        skips = self.skips
        if isinstance(node, ast.For):
            held = self.value(frame, node.iter)
            self.bind(frame, node.target, element(held, node.iter))
        else:
            self.value(frame, node.test)
        self._block(frame, node.body)
        self.skips = skips
        self._block(frame, node.orelse)
