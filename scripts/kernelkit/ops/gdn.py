"""gdn: gated delta net (linear attention), states stored k last.

    gdn_decode_qk{q heads}_v{v heads}_d{head size}_k_last      one token a request
    gdn_mtp_qk{q heads}_v{v heads}_d{head size}_k_last         several, states from a pool
    gdn_prefill_qk{q heads}_v{v heads}_d{head size}_k_last     ragged sequences

a and b are the raw gates: decay = exp(-exp(A_log) softplus(a + dt_bias)), beta = sigmoid(b).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import AxisConst, AxisVar, Definition, TensorSpec
from kernelkit.dataset.tags import fi_api_tag
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import base, paged, probing, references
from kernelkit.ops.base import Axes, Cost, Inputs, OpFamily, Tolerance, Variant
from kernelkit.ops.flashinfer_call import FlashInferCall

if TYPE_CHECKING:
    import torch

    from kernelkit.models.spec import ModelSpec

APIS = {
    "decode": "flashinfer.gdn_decode.gated_delta_rule_decode_pretranspose",
    "mtp": "flashinfer.gdn_decode.gated_delta_rule_mtp",
    "prefill": "flashinfer.gdn_prefill.chunk_gated_delta_rule",
}
GROUPED = ["num_v_heads >= num_q_heads", "num_v_heads % num_q_heads == 0",
           "num_k_heads == num_q_heads"]  # fmt: skip
CONSTRAINTS = {
    "decode": GROUPED,
    "mtp": [*GROUPED, "seq_len > 1"],
    "prefill": ["len_cu_seqlens == num_seqs + 1", "total_seq_len == cu_seqlens[-1].item()"],
}
SCALE = base.tensor(None, "float32", "Output scale; 0 or none: 1/sqrt(head_size).")

SLOWER = 4.0  # taken from the raw gates: steps of 0.001 instead of 0.05


class Gdn(OpFamily):
    """Gated delta net in its three stages."""

    op_type = "gdn"
    divided_by = "tp"

    def derive(
        self, spec: ModelSpec, parallel: Parallelism, page_sizes: Sequence[int]
    ) -> Iterator[Variant]:
        """The three stages; key and value heads / TP."""
        gdn = spec.gdn
        if gdn is None:
            return
        keys = parallel.heads(gdn.num_k_heads, what="GDN key heads")
        values = parallel.heads(gdn.num_v_heads, what="GDN value heads")
        for stage in APIS:
            yield Variant(self.definition(keys, values, gdn.head_k_dim, stage=stage))

    def definition(self, qk_heads: int, v_heads: int, head_size: int, *, stage: str) -> Definition:
        """One definition of the family; `stage` is decode, mtp or prefill."""
        return Definition(
            name=f"gdn_{stage}_qk{qk_heads}_v{v_heads}_d{head_size}_k_last",
            description=f"Gated delta net, {stage}: {qk_heads} query and key heads, {v_heads} "
            f"value heads of {head_size}, float32 states stored [V, K].",
            op_type=self.op_type,
            tags=[f"stage:{stage}", "layout:k-last", fi_api_tag(APIS[stage])],
            axes=_axes(qk_heads, v_heads, head_size, stage),
            constraints=list(CONSTRAINTS[stage]),
            inputs=_inputs(stage),
            outputs=_outputs(stage),
            reference=references.source(f"gdn_{stage}"),
        )

    def index_inputs(self, definition: Definition, axes: Axes, rng: torch.Generator) -> Inputs:
        """Sequences of different lengths; slots of the state pool, distinct as far as it has them
        (mtp writes no state, so requests may share one)."""
        import torch

        if "cu_seqlens" in definition.inputs:
            lengths = paged.split(axes["total_seq_len"], axes["len_cu_seqlens"] - 1, rng)
            return {"cu_seqlens": paged.indptr(lengths, torch.int64)}
        if "initial_state_indices" in definition.inputs:
            slots = paged.page_ids(axes["batch_size"], axes["pool_size"], rng)
            return {"initial_state_indices": slots.to(torch.int32)}
        return {}

    def value_input(
        self, definition: Definition, name: str, axes: Axes, rng: torch.Generator
    ) -> Any:
        """Unit q and k, as the layer before normalises them; A of 1 to 16 and dt_bias near -3, as
        trained models have them; states of a tenth. The buffer is room to write: zeros."""
        import torch

        if name == "scale":
            return definition.const_axes["head_size"] ** -0.5
        if name == "intermediate_states_buffer":
            return torch.zeros(definition.shape_of(name, dict(axes)))
        scale = 0.1 if "state" in name else 1.0
        values = base.normal(definition, name, axes, rng, scale)
        if name in ("q", "k"):
            return torch.nn.functional.normalize(values.float(), dim=-1).to(values.dtype)
        if name == "A_log":
            return torch.log(1 + 15 * torch.rand(values.shape, generator=rng))
        return values - 3.0 if name == "dt_bias" else values

    def cost(self, definition: Definition, axes: Axes, inputs: Inputs | None = None) -> Cost:
        """Tensors once, states in and out; 7 FLOPs a state element and token (decay, S k, rank-1
        update, S q). mtp reads one state a request and writes the pool's copy not at all; decode
        and prefill from no state only write one. Padded requests (slot below 0) count nothing."""
        sizes = definition.const_axes
        state = sizes["num_v_heads"] * sizes["head_size"] ** 2
        requests, tokens, passes = _work(definition, axes, inputs or {})
        names = [*definition.inputs, *definition.outputs]
        rest = sum(base.tensor_bytes(definition, n, axes) for n in names if "state" not in n)
        return Cost(rest + passes * requests * state * 4, 7.0 * tokens * state)

    def tolerance(self, definition: Definition) -> Tolerance:
        """Tighter than the dataset's tests (5e-3, prefill 0.1): on unit q and k an output is near
        5e-3 itself, and one that is a fifth too large must fail. Decode and mtp run in float32 and
        round once. Prefill kernels work in chunks with bfloat16 operands; emulated so (chunks of
        64), rows of outputs and states are off by up to 0.9 %, elements by 5 % of their scale."""
        if "prefill" in definition.name:
            state = Tolerance(atol=2e-2, rtol=2e-2, of_rms=0.08, row_error=0.03, gain_error=0.01)
            return replace(state, atol=5e-3, each={"new_state": state})
        return Tolerance(atol=1e-3, rtol=1e-2, row_error=0.01, gain_error=5e-3)

    def small_axes(self, definition: Definition) -> dict[str, int]:
        """Three requests or sequences."""
        axes = {"batch_size": 3, "seq_len": 2, "pool_size": 5, "total_seq_len": 9,
                "num_seqs": 3, "len_cu_seqlens": 4}  # fmt: skip
        return {name: axes[name] for name in definition.var_axes}

    def vary_indices(self, definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
        """Sequences in another order; slots move on, padding stays."""
        moved = probing.roll_requests(inputs, {"cu_seqlens": True}, rng)
        if "initial_state_indices" in inputs:
            slots, pool = inputs["initial_state_indices"], len(inputs["initial_state"])
            moved["initial_state_indices"] = probing.rotated(slots, pool, rng)
        return moved

    def probes(
        self, definition: Definition, inputs: Inputs, rng: torch.Generator
    ) -> Iterator[tuple[str, Inputs]]:
        """slow: gates that forget little in hundreds of tokens: what a step or a chunk hands on
        wrongly stays."""
        fresh = self.vary(definition, inputs, rng)
        yield "slow", probing.replaced(definition, fresh, {"a": fresh["a"] - SLOWER})

    def flashinfer_call(self, definition: Definition) -> FlashInferCall:
        """The three APIs; prefill takes gates already computed, under the names a and b."""
        import torch

        axes = self.small_axes(definition)
        tensors = {
            name: torch.empty(
                definition.shape_of(name, axes),
                dtype=base.torch_dtype(spec.dtype.value),
                device="meta",
            )
            for name, spec in definition.inputs.items()
            if spec.shape is not None
        }
        stage = definition.name.split("_")[1]
        if stage != "prefill":
            return FlashInferCall(APIS[stage], {**tensors, "scale": 1.0})
        gates = torch.empty(tensors["a"].shape, device="meta")
        kwargs = {name: tensors[name] for name in ("q", "k", "v", "cu_seqlens")}
        kwargs |= {"g": gates, "beta": gates, "initial_state": tensors["state"], "scale": 1.0}
        reason = "FlashInfer takes the computed gates in float32, the definition the raw ones"
        return FlashInferCall(APIS[stage], kwargs, differs={"a": reason, "b": reason})


def _work(definition: Definition, axes: Axes, inputs: Inputs) -> tuple[int, int, int]:
    """Requests, their tokens, and how often each request's state moves."""
    if "initial_state" in definition.inputs:
        slots = inputs.get("initial_state_indices")
        requests = axes["batch_size"] if slots is None else int((slots >= 0).sum())
        return requests, requests * axes["seq_len"], 1
    passes = 1 if "state" in inputs and inputs["state"] is None else 2
    if "cu_seqlens" in definition.inputs:
        return axes["num_seqs"], axes["total_seq_len"], passes
    return axes["batch_size"], axes["batch_size"], passes


def _axes(qk: int, v: int, size: int, stage: str) -> dict[str, AxisConst | AxisVar]:
    heads: dict[str, AxisConst | AxisVar] = {
        "num_q_heads": base.const(qk),
        "num_k_heads": base.const(qk),
        "num_v_heads": base.const(v),
        "head_size": base.const(size),
    }
    if stage == "prefill":
        return {
            "total_seq_len": base.var("Tokens of all sequences."),
            "num_seqs": base.var("Number of sequences."),
            **heads,
            "len_cu_seqlens": base.var("Number of sequences + 1."),
        }
    tokens = base.const(1) if stage == "decode" else base.var("Tokens a request.")
    pool = {"pool_size": base.var("Slots of the state pool.")} if stage == "mtp" else {}
    return {"batch_size": base.var("Number of requests."), "seq_len": tokens, **heads, **pool}


def _inputs(stage: str) -> dict[str, TensorSpec]:
    rows = "total_seq_len" if stage == "prefill" else "batch_size seq_len"
    gate = base.tensor(f"{rows} num_v_heads", "bfloat16", "Raw gate.")
    per_head = base.tensor("num_v_heads", "float32")
    inputs = {
        "q": base.tensor(f"{rows} num_q_heads head_size", "bfloat16"),
        "k": base.tensor(f"{rows} num_k_heads head_size", "bfloat16"),
        "v": base.tensor(f"{rows} num_v_heads head_size", "bfloat16"),
    }
    if stage == "mtp":
        pool = "pool_size num_v_heads head_size head_size"
        inputs["initial_state"] = base.tensor(pool, "float32", "States by slot, [V, K].")
        inputs["initial_state_indices"] = base.tensor(
            "batch_size", "int32", "Slot by request; below 0: padding, output 0."
        )
    else:
        inputs["state"] = _state(stage, optional=True)
    inputs |= {"A_log": per_head, "a": gate, "dt_bias": per_head, "b": gate}
    if stage == "prefill":
        inputs["cu_seqlens"] = base.tensor("len_cu_seqlens", "int64", "Offsets of sequences.")
    inputs["scale"] = SCALE
    if stage == "mtp":
        shape = "pool_size seq_len num_v_heads head_size head_size"
        inputs["intermediate_states_buffer"] = base.tensor(
            shape, "float32", "Room for the states after each token.", optional=True
        )
    return inputs


def _outputs(stage: str) -> dict[str, TensorSpec]:
    rows = "total_seq_len" if stage == "prefill" else "batch_size seq_len"
    output = base.tensor(f"{rows} num_v_heads head_size", "bfloat16")
    if stage == "mtp":
        pool = base.tensor("pool_size num_v_heads head_size head_size", "float32", "Not updated.")
        return {"output": output, "final_state": pool}
    return {"output": output, "new_state": _state(stage)}


def _state(stage: str, *, optional: bool = False) -> TensorSpec:
    rows = "num_seqs" if stage == "prefill" else "batch_size"
    shape = f"{rows} num_v_heads head_size head_size"
    return base.tensor(shape, "float32", "State, [V, K].", optional=optional)


FAMILY = Gdn()
