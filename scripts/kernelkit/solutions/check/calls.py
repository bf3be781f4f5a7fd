"""Calls: of torch, of other packages, of the solution's own functions, and launches of kernels."""

from __future__ import annotations

import ast
from dataclasses import replace

from kernelkit.solutions.check import values
from kernelkit.solutions.check.events import Frame, Recorder, asked_dtype, copies
from kernelkit.solutions.check.kernels import own_function, stored_parameters
from kernelkit.solutions.check.syntax import (
    Function,
    Module,
    keyword,
    literal,
    method_of,
    positional,
)
from kernelkit.solutions.check.values import UNKNOWN, Value, mixed

_TORCH = ("torch.", "torch.nn.functional.", "torch.linalg.", "torch.special.")
_NUMBERS = ("int", "float", "bool", "len", "range", "max", "min", "sum", "abs", "round")


class Calls(Recorder):
    """What a call gives, writes and reaches."""

    def on_call(self, frame: Frame, node: ast.Call) -> Value:
        """A launch, an own function, an operation on a tensor, or a foreign function."""
        args = [self.value(frame, item) for item in node.args]
        named = {k.arg or "**": self.value(frame, k.value) for k in node.keywords}
        if isinstance(node.func, ast.Subscript):
            return self._launch(frame, node, args, named)
        dotted = frame.module.dotted(node.func)
        own = self._own(frame, node)
        if own is not None:
            return self._own_call(frame, own, node, args, named)
        if (method := method_of(node)) and not dotted:
            base = self.value(frame, node.func.value)  # type: ignore[attr-defined]
            return self._operation(frame, node, method, method, base, args, named)
        for prefix in _TORCH:
            name = dotted.removeprefix(prefix)
            if name != dotted and "." not in name:
                base, rest = (args[0], args[1:]) if args else (UNKNOWN, [])
                return self._operation(frame, node, name, dotted, base, rest, named)
        return self._foreign(frame, node, dotted, args, named)

    def _foreign(
        self, frame: Frame, node: ast.Call, dotted: str, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """A builtin, or a function of another package."""
        name = dotted or (node.func.id if isinstance(node.func, ast.Name) else "")
        every = [*args, *named.values()]
        self.tell(frame, "call", node, name, args[0] if args else UNKNOWN, tuple(args), named)
        if name in _NUMBERS:
            return Value(data=frozenset() if name == "len" else mixed(every, "").data, made="host")
        if dotted:  # what a library fills is no longer uninitialised
            for held in every:
                self.mark(held)
        return mixed(every, name)

    def _operation(self, frame: Frame, node: ast.Call, name: str, dotted: str, base: Value,
                   args: list[Value], named: dict[str, Value]) -> Value:  # fmt: skip
        """A method of a tensor, or torch's function of that name."""
        self.tell(frame, "call", node, dotted, base, (base, *args), named)
        if (out := named.get("out")) is not None:
            for part in out.parts or (out,):
                self.write(frame, node, f"{name}(out=)", part)
            return out
        if name.endswith("_") and not name.startswith("_") and name != "requires_grad_":
            act = self.write if name in values.PLAIN_WRITES else self.accumulate
            act(frame, node, name, base)
            return base.step(name)
        asked = asked_dtype(frame.module, node)
        if asked is None:
            held = [v.dtype for v in (*args, *named.values()) if v.made == "metadata"]
            asked = next((d for d in held if d), None)
        if name in values.EMPTY or name in values.FILLED:
            return self._allocate(node, name, asked or "", base, frame)
        if name in ("cat", "concat", "concatenate", "stack"):
            return Value(data=base.data, made="cat", parts=base.parts, dtype=base.dtype)
        if name in ("sort", "topk"):
            parts = (Value(data=base.data, dtype=base.dtype), Value(data=base.data, dtype="int64"))
            return Value(data=base.data, made="tuple", parts=parts)
        if name in values.HOST_READS and name != "cpu":
            return Value(data=base.data, made="host")
        if copies(node):
            return base.fresh(name, asked)
        result = values.apply(base, values.MERGE if _merges_rows(node, name) else name, asked)
        if result.alias or result.token:
            return result
        others = [*args, *named.values()]
        if not result.dtype and asked is None:
            result = replace(result, dtype=values.result_dtype(name, [base, *others]))
        return replace(result, data=result.data | mixed(others, "").data)

    def _allocate(self, node: ast.Call, name: str, dtype: str, base: Value, frame: Frame) -> Value:
        token = f"{frame.module.path}:{node.lineno}:{node.col_offset}"
        like = base.dtype if name.endswith("_like") or name in ("clone", "new_empty") else ""
        if name not in values.EMPTY:
            keeps = name in ("clone", "copy", "tensor", "as_tensor")
            data = base.data if keeps else frozenset()
            steps = base.steps if keeps else ()
            return Value(made="filled", dtype=dtype or like, data=data, steps=steps)
        return Value(made="empty", dtype=dtype or like, token=token)

    def _own(self, frame: Frame, node: ast.Call) -> tuple[Module, Function] | None:
        if isinstance(node.func, ast.Name) and node.func.id in frame.nested:
            return frame.module, frame.nested[node.func.id]
        return own_function(frame.module, node.func, self.known)

    def _own_call(self, frame: Frame, own: tuple[Module, Function], node: ast.Call,
                  args: list[Value], named: dict[str, Value]) -> Value:  # fmt: skip
        module, function = own
        self.tell(frame, "call", node, f".{function.name}", args[0] if args else UNKNOWN,
                   tuple(args), named)  # fmt: skip
        starred = any(isinstance(item, ast.Starred) for item in node.args)
        bound = {} if starred else dict(zip(positional(function), args, strict=False))
        bound |= {name: held for name, held in named.items() if name != "**"}
        if function.name in frame.nested:
            bound = {**frame.env, **bound}
        return self.enter(module, function, bound, frame.depth + 1)

    def _launch(
        self, frame: Frame, node: ast.Call, args: list[Value], named: dict[str, Value]
    ) -> Value:
        """kernel[grid](...): what the kernel stores into is written."""
        launched = node.func.value  # type: ignore[attr-defined]
        name = launched.id if isinstance(launched, ast.Name) else ""
        own = own_function(frame.module, launched, self.known)
        self.tell(frame, "launch", node, name, UNKNOWN, tuple(args), named)
        bound = dict(zip(positional(own[1]), args, strict=False)) | named if own else {}
        stored, added = stored_parameters(own, self.known) if own else (set(), set())
        for parameter, held in bound.items():
            if parameter in added:
                self.accumulate(frame, node, f"{name}: tl.atomic", held)
            elif parameter in stored:
                self.write(frame, node, f"{name}: tl.store", held)
        if own is None:
            for held in (*args, *named.values()):
                self.mark(held)
        return UNKNOWN


def _merges_rows(node: ast.Call, name: str) -> bool:
    """Whether the first two axes become one: flatten(), flatten(0, 1), view(-1, ...),
    reshape(a * b, ...)."""
    start = len(node.args) > 1 and isinstance(node.func, ast.Attribute)
    if name == "flatten":
        first = keyword(node, "start_dim") or (node.args[0] if node.args else None)
        return first is None or literal(first) == 0
    if name not in ("view", "reshape") or not start:
        return False
    first = node.args[0]
    product = isinstance(first, ast.BinOp) and isinstance(first.op, ast.Mult)
    return literal(first) == -1 or product
