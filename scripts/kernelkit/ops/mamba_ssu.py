"""mamba_ssu: Mamba-2 selective state update, one token a request.

    mamba_ssu_decode_h{heads}_d{head dim}_s{state size}_ng{groups}

The name does not carry the state's type: bfloat16 as published, float32 where the model's config
says so (then `{name}_sf32`, where the name is taken).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec


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
        groups = parallel.kv_heads(mamba.n_groups)
        sizes = heads, mamba.head_dim, mamba.state_size, groups
        definition = self.definition(*sizes, state_dtype=mamba.state_dtype)
        other = f"{definition.name}_sf32" if mamba.state_dtype == "float32" else None
        yield Variant(definition, other)

    def definition(
        self, heads: int, head_dim: int, state: int, groups: int, *, state_dtype: str = "bfloat16"
    ) -> Definition:
        """One definition of the family."""
        pool = base.tensor(
            "state_cache_size nheads head_dim dstate", state_dtype, "States by slot."
        )
        rows = base.tensor("batch_size nheads head_dim", "bfloat16")
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
                "dt": rows,
                "A": base.tensor("nheads head_dim dstate", "float32", "Negative."),
                "B": group,
                "C": group,
                "D": base.tensor("nheads head_dim", "bfloat16"),
                "dt_bias": base.tensor("nheads head_dim", "bfloat16"),
                "state_batch_indices": base.tensor(
                    "batch_size", "int32", "Slot of each request; below 0: padding."
                ),
            },
            outputs={"output": rows, "new_state": pool},
            reference=references.source("mamba_ssu"),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Distinct slots in random order."""
        import torch

        slots = torch.randperm(axes["state_cache_size"], generator=rng)[: axes["batch_size"]]
        return {"state_batch_indices": slots.to(torch.int32)}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """A of -1 to -16 (Mamba-2's initial range), the same over a head; dt_bias near -3, so that
        steps are of 0.01 to 0.5; the rest normal."""
        import torch

        values = base.normal(definition, name, axes, rng)
        if name == "A":
            per_head = -1 - 15 * torch.rand(values.shape[0], generator=rng)
            return per_head[:, None, None].expand(values.shape).contiguous()
        if name == "dt_bias":
            return (values.float() - 3.0).to(values.dtype)
        return values

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """The used states in and out, the rest once; 7 FLOPs a state element (decay and its
        exponent, dt x B, sum, S C)."""
        sizes = definition.const_axes
        elements = axes["batch_size"] * sizes["nheads"] * sizes["head_dim"] * sizes["dstate"]
        item = base.ITEM_BYTES[definition.inputs["state"].dtype.value]
        names = [*definition.inputs, *definition.outputs]
        rest = sum(base.tensor_bytes(definition, n, axes) for n in names if "state" not in n)
        return Cost(rest + 2 * elements * item + 4 * axes["batch_size"], 7.0 * elements)

    def tolerance(self, definition: Definition) -> Tolerance:
        """As the dataset's tests."""
        return Tolerance(atol=1e-2, rtol=1e-2)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Two requests over three slots."""
        return {"batch_size": 2, "state_cache_size": 3}


FAMILY = MambaSsu()
