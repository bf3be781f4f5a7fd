"""rmsnorm: RMSNorm, with a fused residual addition, and Gemma's form of both.

    rmsnorm_h{hidden_size}                 gemma_rmsnorm_h{hidden_size}
    fused_add_rmsnorm_h{hidden_size}       gemma_fused_add_rmsnorm_h{hidden_size}

The name does not carry eps, which is a constant of the reference. A definition whose name is held
by one with another eps is written as `{name}_eps{eps}`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

DEFAULT_EPS = 1e-6  # of a probe, where the reference shows none
SPIKE = 4.0  # of the rest of the row's norm
LARGE = 64.0  # squares of such rows are beyond float16


class RmsNorm(OpFamily):
    """Normalisation over the last axis."""

    op_type = "rmsnorm"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """The layer norms, MLA's rank norms and the per-head q/k norm; no norm is sharded."""
        if spec.norm_kind not in ("rmsnorm", "gemma_rmsnorm"):
            return
        gemma = spec.norm_kind == "gemma_rmsnorm"
        yield self.variant(spec.hidden_size, spec.norm_eps, fused=False, gemma=gemma)
        yield self.variant(spec.hidden_size, spec.norm_eps, fused=True, gemma=gemma)
        sizes = []
        if spec.mla is not None:
            sizes += [spec.mla.q_lora_rank, spec.mla.kv_lora_rank]
        if spec.attention is not None and spec.attention.qk_norm == "per_head":
            sizes.append(spec.attention.head_dim)
        for size in dict.fromkeys(size for size in sizes if size and size != spec.hidden_size):
            yield self.variant(size, spec.norm_eps, fused=False, gemma=gemma)

    def variant(self, hidden_size: int, eps: float, *, fused: bool, gemma: bool) -> Variant:
        """The definition and its name under another eps."""
        definition = self.definition(hidden_size, eps, fused=fused, gemma=gemma)
        return Variant(definition, f"{definition.name}_eps{eps:.0e}".replace("e-0", "e-"))

    def definition(
        self, hidden_size: int, eps: float, *, fused: bool = False, gemma: bool = False
    ) -> Definition:
        """One definition of the family."""
        kind = ("gemma_" if gemma else "") + ("fused_add_" if fused else "") + "rmsnorm"
        rows = "batch_size hidden_size"
        inputs = {"hidden_states": base.tensor(rows, "bfloat16")}
        if fused:
            inputs["residual"] = base.tensor(rows, "bfloat16")
        factor = "1 + weight" if gemma else "weight"
        inputs["weight"] = base.tensor(
            "hidden_size", "bfloat16", f"The norm multiplies by {factor}."
        )
        title = "RMSNorm of hidden_states + residual" if fused else "RMSNorm"
        return Definition(
            name=f"{kind}_h{hidden_size}",
            description=f"{title} over {hidden_size} elements, factor {factor}, epsilon {eps:g}.",
            op_type=self.op_type,
            tags=(["fused"] if fused else []) + [fi_api_tag(f"flashinfer.norm.{kind}")],
            axes={
                "batch_size": base.var("Number of rows (tokens)."),
                "hidden_size": base.const(hidden_size),
            },
            inputs=inputs,
            outputs={"output": base.tensor(rows, "bfloat16")},
            reference=references.source(kind, EPS=eps),
        )

    def semantics(self, definition: Definition) -> dict[str, object]:
        """The epsilon that the reference adds, also in references written by others."""
        return {"eps": read_eps(definition.reference)}

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Every tensor moves once; square, sum, scale, weight: 4 FLOPs an element (5 fused)."""
        elements = axes["batch_size"] * definition.const_axes["hidden_size"]
        per_element = 5 if "residual" in definition.inputs else 4
        return Cost(base.all_bytes(definition, axes), per_element * elements)

    def tolerance(self, definition: Definition) -> Tolerance:
        """One bfloat16 rounding (2^-8) of slack; the dataset's tests allow 8e-3 and 1e-2."""
        return Tolerance(atol=8e-3, rtol=1e-2, row_error=0.01, gain_error=5e-3)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three rows."""
        return {"batch_size": 3}

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """scales: rows of all magnitudes around sqrt(eps), where eps decides, one of zeros.
        spikes: large rows whose norm is nearly that of one element, another one in each row."""
        import torch

        eps = self.semantics(definition)["eps"] or DEFAULT_EPS
        fresh = probing.vary(inputs, rng)
        rows = [name for name in ("hidden_states", "residual") if name in fresh]
        count, width = fresh[rows[0]].shape
        size = 10.0 ** probing.uniform(-1.0, 4.0, (count, 1), rng, fresh[rows[0]])
        size[:1], size[1:2] = 1.0, 0.0
        changes = {n: _of_norm(fresh[n], size * float(eps) ** 0.5) for n in rows}
        yield "scales", probing.replaced(definition, fresh, changes)
        column = torch.arange(count, device=size.device) * 7 - 1
        spiked = fresh[rows[0]] * LARGE
        spiked[torch.arange(count, device=size.device), column % width] = LARGE * SPIKE * width**0.5
        yield "spikes", probing.replaced(definition, fresh, {rows[0]: spiked})

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """`flashinfer.norm.*`; the template names its inputs as the API does."""
        import torch

        kind, size = definition.name.split("_h")[0], definition.const_axes["hidden_size"]
        rows = torch.empty(3, size, dtype=torch.bfloat16, device="meta")
        kwargs = {"input": rows, "weight": rows[0]}
        if "residual" in definition.inputs:
            kwargs["residual"] = rows
        return FlashInferCall(f"flashinfer.norm.{kind}", kwargs)


def _of_norm(rows: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """Rows of the root mean squares `size`; a row of zeros stays."""
    norm = rows.float().square().mean(dim=1, keepdim=True).sqrt()
    return (rows.float() * (size / norm.clamp(min=1e-30))).to(rows.dtype)


def read_eps(reference: str) -> float | None:
    """The epsilon of a reference's text: a small constant, or the name of one, that is added.

    Else an eps passed to rms_norm, else a constant named like eps; None where there is none. The 1
    of Gemma's 1 + weight is not small. A text that is no Python (of another's dump) has none.
    """
    try:
        tree = ast.parse(reference)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    named = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            for side in (node.right, node.left):
                if (eps := _small(side, named)) is not None:
                    return eps
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("rms_norm"):
            for value in [*(k.value for k in node.keywords if k.arg == "eps"), *node.args[3:4]]:
                if (eps := _small(value, named)) is not None:
                    return eps
    return next((v for name, v in named.items() if name.lower() in ("eps", "epsilon")), None)


def _constants(tree: ast.Module) -> dict[str, float]:
    """Names that are set to a number, also as the default of an argument."""
    pairs: list[tuple[ast.expr | ast.arg, ast.expr | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            pairs += [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AnnAssign):
            pairs.append((node.target, node.value))
        elif isinstance(node, ast.arguments):
            positional = [*node.posonlyargs, *node.args]
            pairs += zip(reversed(positional), reversed(node.defaults), strict=False)
            pairs += zip(node.kwonlyargs, node.kw_defaults, strict=True)
    named = {getattr(target, "id", getattr(target, "arg", "")): value for target, value in pairs}
    return {n: float(v.value) for n, v in named.items() if n and _is_number(v)}


def _is_number(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _small(node: ast.expr, named: dict[str, float]) -> float | None:
    """The number that `node` is or names, also within float(...), if it can be an epsilon."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "float" and node.args:
        node = node.args[0]
    value = named.get(node.id) if isinstance(node, ast.Name) else None
    if _is_number(node):
        value = float(node.value)
    return value if value is not None and 0 < value < 0.01 else None


FAMILY = RmsNorm()
