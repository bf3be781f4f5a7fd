"""The kinds and routings of experts, and the constants that make a definition of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kernelkit.dataset.definition import Definition
from kernelkit.errors import UsageError

BLOCK = 128  # rows and columns of weights, and activations, that share a float8 scale
FP8_BLOCK, FP8_TENSOR, FP4, FP4_ROUTED = "fp8_block", "fp8_per_tensor", "fp4_block", "fp4_routed"
BF16 = "bf16"
# FlashInfer's RoutingMethodType.
METHODS = {"default": 0, "renorm": 1, "ds": 2, "llama4": 3, "renorm_naive": 4, "topk": 5}
SWIGLU_ACTIVATION = 3  # in FlashInfer's ActivationType
ROUTINGS = {
    FP8_BLOCK: tuple(METHODS),
    FP8_TENSOR: ("renorm", "llama4"),
    FP4: ("renorm", "llama4"),
    FP4_ROUTED: (None,),  # decided before the call
    BF16: (None,),
}
# FlashInfer's functions; the dataset names all kinds but the first by them.
APIS = {
    FP8_BLOCK: "trtllm_fp8_block_scale_moe",
    FP8_TENSOR: "trtllm_fp8_per_tensor_scale_moe",
    FP4: "trtllm_fp4_block_scale_moe",
    FP4_ROUTED: "trtllm_fp4_block_scale_routed_moe",
    BF16: "cutlass_fused_moe",
}
_FP8_BLOCK_NAME = re.compile(
    r"moe_fp8_block_scale_(?P<routing>\w+?)(_routing)?_topk\d+(_ng(?P<ng>\d+)_kg(?P<kg>\d+))?_e\d+_"
)
_OTHER_NAME = re.compile(r"(?P<api>trtllm_fp[48]_\w+_moe|cutlass_fused_moe)_(topk\d+_)?e\d+_")


@dataclass(frozen=True)
class Form:
    """The constants of one definition. num_experts counts all ranks' experts, local one rank's."""

    kind: str
    routing: str | None
    num_experts: int
    num_local_experts: int
    top_k: int
    hidden_size: int
    intermediate_size: int
    n_group: int = 1
    topk_group: int = 1

    def __post_init__(self) -> None:
        """Raises UsageError where the constants contradict each other."""
        if self.routing not in ROUTINGS.get(self.kind, ()):
            raise UsageError(
                "no such kind of experts with this routing",
                received=f"{self.kind}, {self.routing}",
                allowed="; ".join(f"{kind}: {r}" for kind, r in ROUTINGS.items()),
            )
        for problem in self._problems():
            raise UsageError(f"these experts cannot be: {problem}", received=repr(self))

    def _problems(self) -> list[str]:
        groups_fit = self.num_experts % self.n_group == 0
        allowed = {
            "num_local_experts is not between 1 and num_experts": (
                1 <= self.num_local_experts <= self.num_experts
            ),
            "llama4 routing chooses one expert": self.routing != "llama4" or self.top_k == 1,
            "the groups do not fit the experts": groups_fit
            and 1 <= self.topk_group <= self.n_group,
            "top_k is not between 1 and the number of experts to choose from": (
                1 <= self.top_k <= self.num_experts // self.n_group * self.topk_group
            ),
            "the bf16 kind is of a rank that holds all experts": self.kind != BF16 or self.whole,
            f"block scales need sizes that {BLOCK} divides": self.kind != FP8_BLOCK
            or self.hidden_size % BLOCK == 0 == self.intermediate_size % BLOCK,
        }
        return [problem for problem, fits in allowed.items() if not fits]

    @property
    def whole(self) -> bool:
        """Whether one rank holds all experts."""
        return self.num_local_experts == self.num_experts

    @property
    def name(self) -> str:
        """The dataset's name; e counts the local experts."""
        sizes = f"e{self.num_local_experts}_h{self.hidden_size}_i{self.intermediate_size}"
        if self.kind == BF16:  # in the order of the axes, as FlashInfer's tracer writes it
            return f"{APIS[BF16]}_{sizes}_topk{self.top_k}"
        if self.kind != FP8_BLOCK:
            return f"{APIS[self.kind]}_topk{self.top_k}_{sizes}"
        if self.routing == "ds":
            groups = f"ng{self.n_group}_kg{self.topk_group}"
            return f"moe_fp8_block_scale_ds_routing_topk{self.top_k}_{groups}_{sizes}"
        return f"moe_fp8_block_scale_{self.routing}_topk{self.top_k}_{sizes}"


def form_of(definition: Definition) -> Form:
    """The form of a definition of the family. Raises UsageError for another's name."""
    biased = "routing_bias" in definition.inputs
    return read_form(definition.name, definition.const_axes, biased=biased)


def read_form(name: str, constants: Mapping[str, int], *, biased: bool) -> Form:
    """The form of a name and its constant axes; `biased` tells llama4 where no name says it.

    Raises UsageError for a name that is not of the family.
    """
    counts = _counts(constants)
    if match := _FP8_BLOCK_NAME.match(name):
        groups = int(match["ng"] or 1), int(match["kg"] or 1)
        return Form(FP8_BLOCK, match["routing"], *counts, *groups)
    match = _OTHER_NAME.match(name)
    for kind, api in APIS.items():
        if match and match["api"] == api:
            routing = "llama4" if biased else "renorm"
            return Form(kind, None if ROUTINGS[kind] == (None,) else routing, *counts)
    raise UsageError("not a name of the moe family", received=name)


def _counts(constants: Mapping[str, int]) -> tuple[int, int, int, int, int]:
    """Experts, local experts, top_k, hidden and intermediate size."""
    local = constants.get("num_local_experts") or constants["num_experts"]
    total = constants.get("num_experts") or local
    sizes = constants["hidden_size"], constants["intermediate_size"]
    return total, local, constants["top_k"], *sizes
