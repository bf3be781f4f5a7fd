"""mamba_ssu: Mamba-2 selective state update, one token a request.

    mamba_ssu_decode_h{heads}_d{head dim}_s{state size}_ng{groups}

The name does not carry the state's type: bfloat16 as published, float32 where the model's config
says so. Where the name is held by the other type it is `{name}_sf32` or `{name}_sbf16`.

A, dt, D and dt_bias have the full shape but, as in every Mamba-2 layer, one value a head:
FlashInfer takes them as broadcast views only (stride 0 over head_dim and dstate).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.errors import UsageError
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

SUFFIXES = {"bfloat16": "sbf16", "float32": "sf32"}
PER_HEAD = {"A": 2, "dt": 1, "D": 1, "dt_bias": 1}  # the last axes over which a value repeats
TIED = "One value a head."
STEP_BIAS = (-7.0, 6.0)  # softplus: 0.001 to 6


class MambaSsu(OpFamily):
    """Selective state update. FlashInfer's template has the single-head shapes [batch, dim] only,
    so there is no traced call of this interface."""

    op_type = "mamba_ssu"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """Heads / TP; groups / TP, replicated below one as KV heads are."""
        mamba = spec.mamba
        if mamba is None:
            return
        heads = parallel.heads(mamba.num_heads, what="Mamba heads")
        groups = parallel.kv_heads(mamba.n_groups, what="Mamba groups")
        sizes = heads, mamba.head_dim, mamba.state_size, groups
        definition = self.definition(*sizes, state_dtype=mamba.state_dtype)
        yield Variant(definition, f"{definition.name}_{SUFFIXES[mamba.state_dtype]}")

    def definition(
        self, heads: int, head_dim: int, state: int, groups: int, *, state_dtype: str = "bfloat16"
    ) -> Definition:
        """One definition of the family. Raises UsageError for a state neither bfloat16 nor
        float32."""
        if state_dtype not in SUFFIXES:
            raise UsageError(
                "no Mamba state of this type", received=state_dtype, allowed=", ".join(SUFFIXES)
            )
        pool = base.tensor(
            "state_cache_size nheads head_dim dstate", state_dtype, "States by slot."
        )
        head_rows = "batch_size nheads head_dim"
        rows = base.tensor(head_rows, "bfloat16")
        group = base.tensor("batch_size ngroups dstate", "bfloat16")
        return Definition(
            name=f"mamba_ssu_decode_h{heads}_d{head_dim}_s{state}_ng{groups}",
            description=f"Mamba-2 selective state update, one token a request: {heads} heads of "
            f"{head_dim}, state size {state}, {groups} groups, state in {state_dtype}.",
            op_type=self.op_type,
            tags=["stage:decode", fi_api_tag("flashinfer.mamba.selective_state_update")],
            axes={
                "batch_size": base.var("Number of requests."),
                "state_cache_size": base.var("Slots of the state pool."),
                "nheads": base.const(heads),
                "head_dim": base.const(head_dim),
                "dstate": base.const(state),
                "ngroups": base.const(groups),
            },
            constraints=["nheads % ngroups == 0", "state_cache_size >= batch_size"],
            inputs={
                "state": pool,
                "x": rows,
                "dt": base.tensor(head_rows, "bfloat16", f"Raw step. {TIED}"),
                "A": base.tensor("nheads head_dim dstate", "float32", f"Negative. {TIED}"),
                "B": group,
                "C": group,
                "D": base.tensor("nheads head_dim", "bfloat16", TIED),
                "dt_bias": base.tensor("nheads head_dim", "bfloat16", TIED),
                "state_batch_indices": base.tensor(
                    "batch_size", "int32", "Slot of each request; below 0: padding."
                ),
            },
            outputs={"output": rows, "new_state": pool},
            reference=references.source("mamba_ssu"),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Distinct slots in random order. Raises UsageError where there are too few of them."""
        import torch

        if axes["state_cache_size"] < axes["batch_size"]:
            raise UsageError(
                f"{definition.name}: fewer slots than requests",
                received=dict(axes),
                allowed="state_cache_size >= batch_size",
            )
        slots = torch.randperm(axes["state_cache_size"], generator=rng)[: axes["batch_size"]]
        return {"state_batch_indices": slots.to(torch.int32)}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """A of -1 to -16 (Mamba-2's initial range); dt_bias near -3, so that steps are of 0.01 to
        0.5; the rest normal. A, dt, D and dt_bias have one value a head."""
        import torch

        if name not in PER_HEAD:
            return base.normal(definition, name, axes, rng)
        shape = definition.shape_of(name, dict(axes))
        heads = shape[: -PER_HEAD[name]]
        if name == "A":
            values = -1 - 15 * torch.rand(heads, generator=rng)
        else:
            values = torch.randn(heads, generator=rng) - (3.0 if name == "dt_bias" else 0.0)
        values = values[(..., *[None] * PER_HEAD[name])].expand(shape)
        return values.to(base.torch_dtype(definition.inputs[name].dtype.value)).contiguous()

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """The used states in and out (with inputs: of slots that are no padding), the rest once,
        A, dt, D and dt_bias as one value a head; 7 FLOPs a state element (decay and its exponent,
        dt x B, sum, S C)."""
        sizes = definition.const_axes
        used = axes["batch_size"]
        if inputs is not None and "state_batch_indices" in inputs:
            used = int((inputs["state_batch_indices"] >= 0).sum())
        elements = used * sizes["nheads"] * sizes["head_dim"] * sizes["dstate"]
        item = base.ITEM_BYTES[definition.inputs["state"].dtype.value]
        names = [*definition.inputs, *definition.outputs]
        rest = sum(_moved(definition, name, axes) for name in names if "state" not in name)
        return Cost(rest + 2 * elements * item + 4 * axes["batch_size"], 7.0 * elements)

    def tolerance(self, definition: Definition) -> Tolerance:
        """Elements as in the dataset's tests; bfloat16 roundings of outputs and states."""
        return Tolerance(atol=1e-2, rtol=1e-2, row_error=0.01, gain_error=5e-3)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Two requests over three slots."""
        return {"batch_size": 2, "state_cache_size": 3}

    def vary_values(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Values that repeat within a head move by heads."""
        changed = {}
        for name, value in probing.vary(inputs, rng).items():
            if name in PER_HEAD:
                flat = inputs[name].flatten(-PER_HEAD[name])
                value = probing.rolled(flat, rng, columns=False).view(value.shape)
            changed[name] = value
        return changed

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Slots move on, padding stays."""
        slots = inputs["state_batch_indices"]
        return {"state_batch_indices": probing.rotated(slots, len(inputs["state"]), rng)}

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """steps: from 0.001, where the old state decides, to 6, where nothing of it is left."""
        import torch

        fresh = self.vary(definition, inputs, rng)
        bias = fresh["dt_bias"]
        steps = torch.linspace(*STEP_BIAS, len(bias), device=bias.device)
        order = torch.randperm(len(bias), generator=rng).to(bias.device)
        changes = {"dt_bias": steps[order][:, None].expand(bias.shape).to(bias.dtype).contiguous()}
        yield "steps", probing.replaced(definition, fresh, changes)


def _moved(definition: Definition, name: str, axes: Axes) -> float:
    """Bytes of a tensor, of one that has one value a head without the repetitions."""
    shape = definition.shape_of(name, dict(axes)) or ()
    repeats = math.prod(shape[-PER_HEAD[name] :]) if name in PER_HEAD else 1
    return base.tensor_bytes(definition, name, axes) / max(1, repeats)


FAMILY = MambaSsu()
