"""The mistakes of mixture-of-experts wrappers, the likeliest first, as knobs of moe.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.moe.forms import FP8_TENSOR, Form, form_of
from kernelkit.solutions.doctor.mutant import Mutant, table

Row = tuple[str, str, str, Mapping[str, Any]]

EXPERTS: list[Row] = [
    ("gate-up-swapped", "the first half of gemm1's rows is taken for the gate: silu is on the "
     "wrong half", "the rows are [up; gate]: silu(second half) * first half", {"rows": "gate-up"}),
    ("gate-up-interleaved", "gate and up are taken from alternate rows",
     "the rows are [up; gate], one half each", {"rows": "interleaved"}),
    ("activation-gelu", "the activation is GELU", "use SiLU", {"activation": "gelu"}),
    ("activation-gelu", "the activation is GELU (tanh)", "use SiLU", {"activation": "gelu-tanh"}),
    ("activation-relu", "the activation is ReLU", "use SiLU", {"activation": "relu"}),
    ("activation-sigmoid", "the activation is a sigmoid without its factor",
     "silu(x) = x * sigmoid(x)", {"activation": "sigmoid"}),
    ("activation-missing", "gate and up are multiplied without an activation",
     "silu(gate) * up", {"activation": "none"}),
    ("gate-missing", "the gate does not count", "silu(gate) * up", {"activation": "up-only"}),
    ("routing-weights-missing", "experts are summed without their weights",
     "multiply each expert's output by its routing weight", {"weights_kind": "one"}),
]  # fmt: skip
MISALIGNED: Row = ("routing-weights-misaligned", "weights belong to the experts in the other order",
                   "sort experts and weights together", {"order": "reversed"})  # fmt: skip
ON_INPUT: Row = ("routing-weight-on-input", "the weight multiplies the expert's input",
                 "multiply the expert's output", {"weight_on": "input"})  # fmt: skip
ON_OUTPUT: Row = ("routing-weight-on-output", "the weight multiplies the expert's output",
                  "multiply the expert's input", {"weight_on": "output"})  # fmt: skip
CHOICE: list[Row] = [
    ("lowest-experts-chosen", "the experts of lowest score are chosen",
     "sort descending", {"order": "ascending"}),
    ("top-k-off-by-one", "one expert too many is chosen", "choose top_k experts", {"count": 1}),
]  # fmt: skip
TOO_FEW: Row = ("top-k-off-by-one", "one expert too few is chosen", "choose top_k experts",
                {"count": -1})  # fmt: skip
BLOCK_SCALES: list[Row] = [
    ("activation-scale-transposed", "hidden_states_scale is read as [tokens, blocks]",
     "it is [hidden / 128, tokens]: transpose it", {"act_scale": "reinterpreted"}),
    ("activation-scale-missing", "hidden_states are not multiplied by their scale",
     "multiply each 128 of them by hidden_states_scale", {"act_scale": "none"}),
    ("activation-scale-first-block", "the first block's scale is used for all",
     "one scale for each 128 elements", {"act_scale": "first"}),
]  # fmt: skip
TENSOR_SCALES: list[Row] = [
    ("gate-scale-swapped", "output1_scales_scalar and output1_scales_gate_scalar are swapped",
     "the gate takes output1_scales_gate_scalar, up output1_scales_scalar",
     {"up_scale": "swapped"}),
    ("gate-scale-same", "the gate is multiplied by output1_scales_scalar",
     "the gate takes output1_scales_gate_scalar", {"up_scale": "same"}),
    ("first-scale-missing", "gemm1's result is not scaled",
     "multiply gate and up by their scales before the activation", {"up_scale": "none"}),
    ("second-scale-missing", "gemm2's result is not multiplied by output2_scales_scalar",
     "multiply by output2_scales_scalar", {"out_scale": "none"}),
]  # fmt: skip
DEEPSEEK: list[Row] = [
    ("bias-in-routing-weights", "the bias counts in the weights",
     "it selects only: gather weights from the scores without it", {"bias": "weights"}),
    ("routing-bias-ignored", "the bias does not count in the selection",
     "select by sigmoid(logits) + bias", {"bias": "ignored"}),
    ("weights-not-renormalised", "the weights are not divided by their sum",
     "divide by their sum, then multiply by routed_scaling_factor", {"normalise": False}),
    ("routed-scaling-lost", "the weights are not multiplied by routed_scaling_factor",
     "multiply by routed_scaling_factor", {"factor": "lost"}),
    ("routed-scaling-twice", "the weights are multiplied by routed_scaling_factor twice",
     "multiply once", {"factor": "twice"}),
    ("scores-softmax", "scores are a softmax over the experts", "scores are sigmoids",
     {"scores": "softmax"}),
    ("scores-without-sigmoid", "logits are taken for scores", "scores are sigmoids",
     {"scores": "logits"}),
    ("expert-groups-ignored", "experts are chosen from all groups",
     "choose topk_group groups first", {"grouping": "none"}),
    ("group-score-maximum", "a group's score is its best expert's",
     "a group's score is the sum of its two best", {"grouping": "by-maximum"}),
    ("group-score-mean", "a group's score is its experts' mean",
     "a group's score is the sum of its two best", {"grouping": "by-mean"}),
    ("group-mask-zero", "experts outside the best groups keep a score of 0",
     "mask them with -inf", {"grouping": "masked-with-zero"}),
]  # fmt: skip
SAME = ("renorm_naive", "renorm")
WEIGHTS = {
    "renorm": "the softmax over the chosen logits", "default": "the softmax over all experts",
    "llama4": "sigmoids of the logits", "topk": "1 / top_k", "logits": "the logits",
    "sigmoid-renorm": "sigmoids, divided by their sum",
}  # fmt: skip


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    form = form_of(definition)
    rows = [*EXPERTS, *_order(form)]
    if form.routing == "ds":
        rows = DEEPSEEK + CHOICE + rows
    elif form.routing is not None:
        rows = _other_weights(form.routing) + CHOICE + rows
        if "routing_bias" in definition.inputs:
            rows.append(("routing-bias-ignored", "routing_bias is not added to the logits",
                         "add it", {"bias": "ignored"}))  # fmt: skip
    elif "topk_ids" in definition.inputs:
        rows.append(("routing-weight-bits", "the lower half of topk_ids is read as float16",
                     "it holds a bfloat16: (topk_ids << 16) as float32",
                     {"weights_kind": "float16-bits"}))  # fmt: skip
    if "hidden_states_scale" in definition.inputs:
        rows += BLOCK_SCALES
        for knob, gemm in (("w1", "gemm1"), ("w2", "gemm2")):
            blocks = definition.inputs[f"{gemm}_weights_scale"].shape or []
            square = any(definition.const_axes[axis] == 1 for axis in blocks[1:])
            rows += _weight_scales(knob, gemm, transposed=not square)
    if form.kind == FP8_TENSOR:
        rows += TENSOR_SCALES
    if "local_expert_offset" in definition.inputs and not form.whole:
        rows.append(("local-expert-offset-ignored", "local experts are numbered from 0",
                     "local expert e is expert e + local_expert_offset",
                     {"local": "offset-ignored"}))  # fmt: skip
    return table(rows)


def _other_weights(right: str) -> list[Row]:
    return [
        ("routing-weights-of-other-method", f"weights are {text}", f"routing {right}: "
         f"{WEIGHTS.get(right, 'shares of the softmax over all, divided by their sum')}",
         {"weights_kind": kind})
        for kind, text in WEIGHTS.items() if kind != right and (right, kind) != SAME
    ]  # fmt: skip


def _order(form: Form) -> list[Row]:
    """Mistakes that need several experts a token, and those of where the weight goes."""
    rows = [ON_OUTPUT if form.kind == FP8_TENSOR and form.routing == "llama4" else ON_INPUT]
    if form.top_k > 1:
        rows += [MISALIGNED] if form.routing != "topk" else []
        rows += [TOO_FEW] if form.routing is not None else []
    return rows


def _weight_scales(knob: str, gemm: str, *, transposed: bool) -> list[Row]:
    name = f"{gemm}_weights_scale"
    first: Row = (
        "weight-scale-transposed", f"{name} is read as [K / 128, N / 128]",
        "it is [experts, N / 128, K / 128]", {f"{knob}_scale": "transposed"},
    )  # fmt: skip
    return ([first] if transposed else []) + [
        ("weight-scale-missing", f"{gemm} is not multiplied by {name}",
         "multiply each 128 x 128 block by its scale", {f"{knob}_scale": "none"}),
        ("weight-scale-divided", f"{gemm}'s weights are divided by {name}",
         "multiply by it", {f"{knob}_scale": "divided"}),
        ("weight-scale-first-expert", f"{name} of expert 0 is used for all",
         "use the expert's own scales", {f"{knob}_scale": "first-expert"}),
    ]  # fmt: skip
