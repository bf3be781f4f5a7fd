"""Which definition a call belongs to: every constant is proven, or what differs is said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernelkit import ops
from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.observed import Kept, Observed
from kernelkit.dataset import constraints
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_of
from kernelkit.errors import FormatError, KernelkitError
from kernelkit.ops.moe.forms import form_of


@dataclass(frozen=True)
class Difference:
    """One thing in which a call and a definition differ: an axis, a type, a fact, an input."""

    what: str
    recorded: object
    definition: object

    def __str__(self) -> str:
        return f"{self.what}: recorded {self.recorded}, definition {self.definition}"

    @property
    def distance(self) -> float:
        """How far apart two sizes are, as a ratio; 1 for what has no size."""
        sizes = self.recorded, self.definition
        if all(type(size) is int and size > 0 for size in sizes):
            return abs(math.log(sizes[0] / sizes[1]))
        return 1.0


@dataclass(frozen=True)
class Fit:
    """A definition and a call: the variable axes where all fits, the differences where not.

    `tagged`: the definition names the call's API; else it was tried for its op type.
    """

    definition: Definition
    tagged: bool
    axes: Mapping[str, int]
    differences: tuple[Difference, ...]


class Matcher:
    """Definitions by API. A definition without a tag of an API is tried by its op type."""

    def __init__(self, definitions: list[Definition]) -> None:
        self._by_api: dict[str, list[Definition]] = {}
        self._untagged: dict[str, list[Definition]] = {}
        for definition in definitions:
            api = _api_of(definition)
            if api is None:
                self._untagged.setdefault(definition.op_type, []).append(definition)
            else:
                self._by_api.setdefault(api, []).append(definition)
        self._facts: dict[str, Mapping[str, object] | None] = {}

    def fits(self, api: str, observed: Observed) -> list[Fit]:
        """Every definition of that API, the one that fits best first."""
        made = [self._fit(d, observed, tagged=True) for d in self._by_api.get(api, ())]
        for op_type in APIS[api].op_types:
            untagged = self._untagged.get(op_type, ())
            made += [self._fit(d, observed, tagged=False) for d in untagged]
        return sorted(made, key=_order)

    def _fit(self, definition: Definition, observed: Observed, *, tagged: bool) -> Fit:
        axes: dict[str, int] = dict(definition.const_axes)
        found: dict[str, Difference] = {}
        for name in definition.inputs:
            for difference in _input(definition, name, observed.inputs.get(name), axes):
                found.setdefault(difference.what, difference)
        for difference in (*self._of_facts(definition, observed), *_unproven(definition, observed)):
            found.setdefault(difference.what, difference)
        unbound = [axis for axis in definition.var_axes if axis not in axes]
        for axis in unbound if not found else ():
            found[axis] = Difference(axis, "nothing", "a variable axis")
        variable = {axis: axes[axis] for axis in definition.var_axes if axis in axes}
        if not found:
            found = {d.what: d for d in _constraints(definition, observed, axes)}
        return Fit(definition, tagged, variable, tuple(found.values()))

    def _of_facts(self, definition: Definition, observed: Observed) -> Iterator[Difference]:
        if definition.name not in self._facts:
            self._facts[definition.name] = facts_of(definition)
        facts = self._facts[definition.name]
        if facts is None:
            yield Difference("what the reference computes", "known", "unreadable")
            return
        for name, ours in facts.items():
            recorded = observed.facts.get(name)
            if not _same(ours, recorded):
                yield Difference(name, recorded, ours)


def facts_of(definition: Definition) -> Mapping[str, object] | None:
    """What a definition fixes beyond its signature; None where its family cannot read it."""
    name, op_type = definition.name, definition.op_type
    if op_type in ("gqa_paged", "gqa_ragged", "mla_paged", "mla_ragged"):
        if "_decode_" in name:
            return {"one_query_each": True} if op_type == "mla_paged" else {}
        return {"causal": "_causal_" in name}
    if op_type == "rope":
        return {"is_neox": "_gptj_" not in name}
    try:
        if op_type == "moe":
            form = form_of(definition)
            facts: dict[str, object] = {"top_k": form.top_k} if form.routing else {}
            facts |= {"routing": form.routing} if form.routing else {}
            if form.routing == "ds":
                facts |= {"n_group": form.n_group, "topk_group": form.topk_group}
            return facts
        return ops.family_or_generic(op_type).semantics(definition)
    except KernelkitError:
        return None


def _api_of(definition: Definition) -> str | None:
    try:
        path = fi_api_of(definition.tags)
    except FormatError:
        return None
    return path.rpartition(".")[2] if path else None


def _input(
    definition: Definition, name: str, value: Any, axes: dict[str, int]
) -> Iterator[Difference]:
    """Differences of one input; binds its variable axes in `axes`."""
    spec = definition.inputs[name]
    if value is None:
        if not spec.optional:
            yield Difference(f"input {name}", "absent", "required")
        return
    is_number = isinstance(value, (int, float))
    if is_number or spec.shape is None:
        if not (is_number and spec.shape is None):
            kind = "a number" if is_number else "a tensor"
            yield Difference(
                f"input {name}", kind, "a scalar" if spec.shape is None else "a tensor"
            )
        return
    if value.dtype != spec.dtype.value:
        yield Difference(f"dtype of {name}", value.dtype, spec.dtype.value)
    if len(value.shape) != len(spec.shape):
        yield Difference(f"rank of {name}", len(value.shape), len(spec.shape))
        return
    for axis, size in zip(spec.shape, value.shape, strict=True):
        if axes.setdefault(axis, size) != size:
            what = axis if axis in definition.const_axes else f"{axis} of {name}"
            yield Difference(what, size, axes[axis])


def _unproven(definition: Definition, observed: Observed) -> Iterator[Difference]:
    """Constant axes that no recorded tensor shows: the call's arguments must prove them."""
    shown = {
        axis
        for name, spec in definition.inputs.items()
        if name in observed.inputs
        for axis in spec.shape or []
    }
    for axis, value in definition.const_axes.items():
        if axis in shown:
            continue
        proof = observed.constants.get(axis)
        if proof != value:
            yield Difference(axis, "nothing" if proof is None else proof, value)


def _constraints(
    definition: Definition, observed: Observed, axes: Mapping[str, int]
) -> Iterator[Difference]:
    scope: dict[str, Any] = dict(axes)
    for name, value in observed.inputs.items():
        if name in definition.inputs:
            scope[name] = (
                value.array
                if isinstance(value, Kept)
                else value
                if isinstance(value, (int, float))
                else constraints.ShapeOnly(value.shape)
            )
    for text in definition.constraints:
        try:
            holds = constraints.evaluate(text, scope)
        except (constraints.NotKnown, FormatError):
            continue  # a fault of the definition is the validator's to report
        if not holds:
            yield Difference(text, "false", "true")


def _same(ours: object, recorded: object) -> bool:
    if isinstance(ours, float) and isinstance(recorded, (int, float)):
        return math.isclose(ours, recorded, rel_tol=1e-6)
    return ours == recorded


def _order(fit: Fit) -> tuple[bool, bool, int, float, str]:
    """What fits first, then those of the same API, then those that differ in least."""
    return (
        bool(fit.differences),
        not fit.tagged,
        len(fit.differences),
        sum(difference.distance for difference in fit.differences),
        fit.definition.name,
    )
