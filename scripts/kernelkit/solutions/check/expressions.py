"""Expressions: names, attributes, elements, tuples and comprehensions."""

from __future__ import annotations

import ast

from kernelkit.solutions.check import values
from kernelkit.solutions.check.calls import Calls
from kernelkit.solutions.check.events import Frame, element, is_view, join_tuples, keeps_rows
from kernelkit.solutions.check.syntax import literal
from kernelkit.solutions.check.values import UNKNOWN, Value, join, mixed


class Expressions(Calls):
    """What is known of an expression, by its kind: `on_subscript` for ast.Subscript."""

    def value(self, frame: Frame, node: ast.AST | None) -> Value:
        """What is known of an expression; calls and writes in it become events."""
        if node is None:
            return UNKNOWN
        handler = getattr(self, f"on_{type(node).__name__.lower()}", None)
        if handler is not None:
            return handler(frame, node)
        held = [self.value(frame, child) for child in ast.iter_child_nodes(node)]
        return mixed(held, type(node).__name__.lower())

    def on_name(self, frame: Frame, node: ast.Name) -> Value:
        """A variable; a nested function that is handed on may run."""
        if node.id in frame.nested:  # handed to a pool, a thread, map: it may run
            self.enter(frame.module, frame.nested[node.id], frame.env, frame.depth + 1)
        return frame.env.get(node.id, UNKNOWN)

    def on_constant(self, frame: Frame, node: ast.Constant) -> Value:
        """A number, a text, or None."""
        return Value(made="none" if node.value is None else "scalar")

    def on_lambda(self, frame: Frame, node: ast.Lambda) -> Value:
        """Not followed."""
        return UNKNOWN

    def on_tuple(self, frame: Frame, node: ast.Tuple) -> Value:
        """Its elements, each on its own."""
        parts = tuple(self.value(frame, item) for item in node.elts)
        return Value(data=mixed(list(parts), "").data, made="tuple", parts=parts)

    on_list = on_tuple

    def on_dict(self, frame: Frame, node: ast.Dict) -> Value:
        """What its values depend on."""
        held = [self.value(frame, item) for item in node.values]
        return Value(data=mixed(held, "").data, made="dict")

    def on_binop(self, frame: Frame, node: ast.BinOp) -> Value:
        """Arithmetic: new memory; of floating operands' common type, where they have one."""
        held = [self.value(frame, node.left), self.value(frame, node.right)]
        numbers = [v for v in held if v.made in ("scalar", "host")]
        made = "host" if len(numbers) == 2 else "binop"
        dtype = values.common_dtype(held)
        floating = dtype if dtype.startswith(("float", "bfloat")) else ""
        return Value(data=mixed(held, "").data, made=made, dtype=floating)

    def on_namedexpr(self, frame: Frame, node: ast.NamedExpr) -> Value:
        """name := value."""
        held = self.value(frame, node.value)
        self.bind(frame, node.target, held)
        return held

    def on_ifexp(self, frame: Frame, node: ast.IfExp) -> Value:
        """Either of the two."""
        self.value(frame, node.test)
        return join_tuples(self.value(frame, node.body), self.value(frame, node.orelse))

    def on_boolop(self, frame: Frame, node: ast.BoolOp) -> Value:
        """Any of the operands."""
        held = [self.value(frame, item) for item in node.values]
        result = held[0]
        for other in held[1:]:
            result = join(result, other)
        return result

    def on_starred(self, frame: Frame, node: ast.Starred) -> Value:
        """The sequence itself."""
        return self.value(frame, node.value)

    def _comprehension(self, frame: Frame, node: ast.ListComp | ast.GeneratorExp) -> Value:
        """Element by element over a tuple that is written out, else once."""
        first = node.generators[0]
        held = self.value(frame, first.iter)
        single = len(node.generators) == 1 and not first.ifs
        if held.parts and single:
            parts = []
            for part in held.parts:
                self.bind(frame, first.target, part)
                parts.append(self.value(frame, node.elt))
            return Value(data=mixed(parts, "").data, made="tuple", parts=tuple(parts))
        for generator in node.generators:
            held = self.value(frame, generator.iter)
            self.bind(frame, generator.target, element(held, generator.iter))
        inner = self.value(frame, node.elt)
        return Value(alias=inner.alias, data=inner.data, made="list")

    on_listcomp = on_generatorexp = on_setcomp = _comprehension

    def on_attribute(self, frame: Frame, node: ast.Attribute) -> Value:
        """A view (x.T), metadata (x.shape), or unknown."""
        base = self.value(frame, node.value)
        if node.attr == "shape":
            return Value(made="shape", alias=base.alias, token=base.token, steps=base.steps)
        if node.attr in values.METADATA:
            return Value(made="metadata", dtype=base.dtype if node.attr == "dtype" else "")
        if node.attr in values.VIEWS:
            return base.step(node.attr)
        return UNKNOWN

    def on_subscript(self, frame: Frame, node: ast.Subscript) -> Value:
        """A view for plain indices, new memory for tensors of indices."""
        base = self.value(frame, node.value)
        index = self.value(frame, node.slice)
        if base.made == "shape":
            return Value(made="scalar")
        if base.parts:
            place = literal(node.slice)
            if isinstance(place, int) and -len(base.parts) <= place < len(base.parts):
                return base.parts[place]
        self.tell(frame, "index", node, "[]", base, (index,))
        if is_view(frame, node.slice):
            return base.step("[]" if keeps_rows(node.slice) else "[:,]")
        made = base.fresh("gather")
        return Value(data=made.data | index.data, dtype=made.dtype, made="gather", steps=made.steps)
