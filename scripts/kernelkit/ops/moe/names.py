"""What an input is called: the trtllm functions have one name for it, cutlass_fused_moe another."""

from __future__ import annotations

from kernelkit.ops.base import Inputs

CUTLASS = {
    "input": "hidden_states",
    "fc1_expert_weights": "gemm1_weights",
    "fc2_expert_weights": "gemm2_weights",
}
_OWN = {theirs: own for own, theirs in CUTLASS.items()}


def shared(inputs: Inputs) -> Inputs:
    """The inputs by the trtllm functions' names, for code that serves all kinds."""
    return {CUTLASS.get(name, name): value for name, value in inputs.items()}


def own(changes: Inputs, inputs: Inputs) -> Inputs:
    """Changes by the names that `inputs` have; what these lack is left out."""
    found = {
        name if name in inputs else _OWN.get(name, name): value for name, value in changes.items()
    }
    return {name: value for name, value in found.items() if name in inputs}
