"""Ground truth of routed experts.

Routing is decided token by token in plain Python. Experts: W2 (silu(W_gate x) * W_up x), the rows
of gemm1_weights being [up; gate]; in float64, and by SGLang's Triton kernels, which want
[gate; up]. Experts of other ranks contribute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

Tensors = dict[str, torch.Tensor]
TOP_K = 8
N_GROUP = 1
TOPK_GROUP = 1
WEIGHT_ON_INPUT = False
BLOCK = 128
HIDDEN_STATES = "hidden_states"
GEMM1 = "gemm1_weights"
GEMM2 = "gemm2_weights"


def highest(scores: dict[int, float], count: int) -> list[int]:
    """Keys of the `count` highest values; of equals the lower key."""
    return sorted(scores, key=lambda key: (-scores[key], key))[:count]


def logits_of(inputs: Tensors) -> list[dict[int, float]]:
    """For each token the logit of each expert; a bias is added to it."""
    logits = inputs["routing_logits"].double()
    if "routing_bias" in inputs:
        logits = logits + inputs["routing_bias"].double()
    return [dict(enumerate(row)) for row in logits.tolist()]


def softmax(logits: dict[int, float]) -> dict[int, float]:
    """exp(x) over its sum."""
    top = max(logits.values())
    powers = {key: math.exp(value - top) for key, value in logits.items()}
    total = sum(powers.values())
    return {key: value / total for key, value in powers.items()}


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-x))."""
    return 1.0 / (1.0 + math.exp(-value))


def route_renorm(inputs: Tensors) -> list[dict[int, float]]:
    """Weights: the softmax over the chosen logits."""
    rows = logits_of(inputs)
    return [softmax({expert: row[expert] for expert in highest(row, TOP_K)}) for row in rows]


def route_default(inputs: Tensors) -> list[dict[int, float]]:
    """Weights: the chosen experts' share of the softmax over all."""
    shares = [softmax(row) for row in logits_of(inputs)]
    return [{expert: row[expert] for expert in highest(row, TOP_K)} for row in shares]


def route_renorm_naive(inputs: Tensors) -> list[dict[int, float]]:
    """Weights: the chosen experts' share, divided by the sum of their shares."""
    chosen = route_default(inputs)
    return [{key: value / sum(row.values()) for key, value in row.items()} for row in chosen]


def route_llama4(inputs: Tensors) -> list[dict[int, float]]:
    """Weights: the sigmoid of the chosen logits."""
    rows = logits_of(inputs)
    return [{expert: sigmoid(row[expert]) for expert in highest(row, TOP_K)} for row in rows]


def route_topk(inputs: Tensors) -> list[dict[int, float]]:
    """Weights: equal parts of one."""
    return [dict.fromkeys(highest(row, TOP_K), 1.0 / TOP_K) for row in logits_of(inputs)]


def route_ds(inputs: Tensors) -> list[dict[int, float]]:
    """DeepSeek-V3: the bias selects only; groups by the sum of their two best; weights over their
    sum times routed_scaling_factor."""
    bias = inputs["routing_bias"].double().tolist()
    size = len(bias) // N_GROUP
    routed = []
    for row in inputs["routing_logits"].double().tolist():
        scores = [sigmoid(value) for value in row]
        biased = {expert: scores[expert] + bias[expert] for expert in range(len(bias))}
        members = {g: [biased[e] for e in range(g * size, (g + 1) * size)] for g in range(N_GROUP)}
        groups = {group: sum(sorted(values)[-2:]) for group, values in members.items()}
        kept = highest(groups, TOPK_GROUP)
        chosen = highest({e: biased[e] for e in biased if e // size in kept}, TOP_K)
        total = sum(scores[expert] for expert in chosen)
        factor = float(inputs["routed_scaling_factor"]) / total
        routed.append({expert: scores[expert] * factor for expert in chosen})
    return routed


def route_given(inputs: Tensors) -> list[dict[int, float]]:
    """Chosen before the call: (expert << 16) | bits of the bfloat16 weight."""
    bits = (inputs["topk_ids"] & 0xFFFF).to(torch.int16)  # keeps the low 16 bits
    weights = bits.view(torch.bfloat16).double().tolist()
    experts = (inputs["topk_ids"] >> 16).tolist()
    pairs = zip(experts, weights, strict=True)
    return [dict(zip(*pair, strict=True)) for pair in pairs]


def route_selected(inputs: Tensors) -> list[dict[int, float]]:
    """Chosen before the call, with float32 weights."""
    pairs = zip(inputs["token_selected_experts"], inputs["token_final_scales"], strict=True)
    return [dict(zip(e.tolist(), w.double().tolist(), strict=True)) for e, w in pairs]


route = route_renorm


def block_scaled(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """float64 weights times the scale of their block of 128 x 128."""
    full = scale.double().repeat_interleave(BLOCK, dim=0).repeat_interleave(BLOCK, dim=1)
    return weight.double() * full


def fp8_block_activations(inputs: Tensors) -> torch.Tensor:
    """float64 activations times the scale of their 128."""
    scale = inputs["hidden_states_scale"].double().T.repeat_interleave(BLOCK, dim=1)
    return inputs["hidden_states"].double() * scale


def fp8_block_expert(inputs: Tensors, expert: int) -> tuple[torch.Tensor, ...]:
    """W_up, W_gate and W_down of a local expert, float64."""
    w13, w2 = (
        block_scaled(inputs[name][expert], inputs[f"{name}_scale"][expert])
        for name in ("gemm1_weights", "gemm2_weights")
    )
    return *w13.chunk(2), w2


def plain_activations(inputs: Tensors) -> torch.Tensor:
    """float64 activations; those of the per-tensor kind stay scaled as they are."""
    return inputs[HIDDEN_STATES].double()


def plain_expert(inputs: Tensors, expert: int) -> tuple[torch.Tensor, ...]:
    """W_up, W_gate and W_down of a local expert, float64; times its scales where it has them."""
    up, gate = inputs[GEMM1][expert].double().chunk(2)
    down = inputs[GEMM2][expert].double()
    if "output1_scales_scalar" in inputs:
        up = up * inputs["output1_scales_scalar"][expert].double()
        gate = gate * inputs["output1_scales_gate_scalar"][expert].double()
        down = down * inputs["output2_scales_scalar"][expert].double()
    return up, gate, down


activations = plain_activations
expert_weights = plain_expert


def local_pairs(
    inputs: Tensors, routed: list[dict[int, float]]
) -> Iterator[tuple[int, list[int], torch.Tensor]]:
    """For each local expert that has tokens: its number here, its tokens, their weights [n, 1]."""
    first = int(inputs.get("local_expert_offset", 0))
    for expert in range(len(inputs[GEMM1])):
        tokens = [token for token, row in enumerate(routed) if first + expert in row]
        weights = [routed[token][first + expert] for token in tokens]
        if tokens:
            column = torch.tensor(weights, dtype=torch.float64)[:, None]
            yield expert, tokens, column.to(inputs[GEMM1].device)


def torch_moe(inputs: Tensors) -> Tensors:
    """Expert by expert in float64."""
    x = activations(inputs)
    output = torch.zeros_like(x)
    for expert, tokens, weight in local_pairs(inputs, route(inputs)):
        up, gate, down = expert_weights(inputs, expert)
        rows = x[tokens] * weight if WEIGHT_ON_INPUT else x[tokens]
        y = (torch.nn.functional.silu(rows @ gate.T) * (rows @ up.T)) @ down.T
        output[tokens] += y if WEIGHT_ON_INPUT else y * weight
    return {"output": output}


def sglang_experts(
    x: torch.Tensor,
    w13: torch.Tensor,
    w2: torch.Tensor,
    routed: list[dict[int, float]],
    first: int,
    **options: torch.Tensor | bool | list[int],
) -> torch.Tensor:
    """SGLang's fused_experts (Triton): x bfloat16, w13 [experts, gate and up, hidden]; experts of
    other ranks get the number -1."""
    from sglang.srt import server_args
    from sglang.srt.layers.moe.moe_runner.base import MoeRunnerConfig
    from sglang.srt.layers.moe.moe_runner.triton_utils.fused_moe import fused_experts

    if hasattr(server_args, "set_global_server_args_for_scheduler"):
        arguments = server_args.ServerArgs(model_path="dummy")
        server_args.set_global_server_args_for_scheduler(arguments)
    local = [[e - first if first <= e < first + len(w13) else -1 for e in row] for row in routed]
    ids = torch.tensor(local, dtype=torch.int32, device=x.device)
    weights = torch.tensor([list(row.values()) for row in routed], device=x.device)
    config = MoeRunnerConfig(inplace=False, apply_router_weight_on_input=WEIGHT_ON_INPUT)
    return fused_experts(x, w13, w2, (weights, ids, None), config, **options)


def gate_first(rows: torch.Tensor) -> torch.Tensor:
    """[experts, up; gate, ...] -> [experts, gate; up, ...]."""
    up, gate = rows.view(torch.uint8 if rows.element_size() == 1 else rows.dtype).chunk(2, dim=1)
    return torch.cat([gate, up], dim=1).view(rows.dtype)


def sglang_fp8_block(inputs: Tensors) -> Tensors:
    """SGLang's float8 kernels with block scales; it quantises the activations itself."""
    output = sglang_experts(
        fp8_block_activations(inputs).to(torch.bfloat16),
        gate_first(inputs["gemm1_weights"]),
        inputs["gemm2_weights"].contiguous(),
        route(inputs),
        int(inputs.get("local_expert_offset", 0)),
        use_fp8_w8a8=True,
        w1_scale=gate_first(inputs["gemm1_weights_scale"]),
        w2_scale=inputs["gemm2_weights_scale"].contiguous(),
        block_shape=[BLOCK, BLOCK],
    )
    return {"output": output}


def sglang_bf16(inputs: Tensors) -> Tensors:
    """SGLang's bfloat16 kernels on dequantised weights."""
    w13, w2 = [], []
    for expert in range(len(inputs[GEMM1])):
        up, gate, down = expert_weights(inputs, expert)
        w13.append(torch.cat([gate, up]).to(torch.bfloat16))
        w2.append(down.to(torch.bfloat16))
    first = int(inputs.get("local_expert_offset", 0))
    x = activations(inputs).to(torch.bfloat16)
    return {"output": sglang_experts(x, torch.stack(w13), torch.stack(w2), route(inputs), first)}
