"""A recorded call, whatever recorded it, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit.errors import KernelkitError

if TYPE_CHECKING:
    from kernelkit.capture.sanitize.payload import Payload

# Kinds of calls that cannot be used: what is broken in the dump, then what the call itself says.
NO_METADATA = "no metadata"
CUT_METADATA = "truncated or unreadable metadata"
CUT_TENSORS = "truncated or unreadable tensor file"
INPUTS_ONLY = "inputs only"
CUDA_GRAPH = "recorded in a CUDA graph"
NO_DATA = "tensor data not in the dump"
BAD_DTYPE = "unreadable dtype"
NAN = "NaN in indices"
BAD_INDEX = "index out of range"
BAD_OFFSETS = "offsets that do not ascend from 0"
EMPTY = "batch of zero"
CONTRADICTION = "plan and tensors disagree"
NO_PLAN = "no plan recorded for this wrapper"
NO_RUN = "plan without a run"
OTHER_SEMANTICS = "computes something that no definition describes"
DAMAGED = "damaged part of a recording"


class Unusable(KernelkitError):
    """A call or folder that gives no workload: its kind (above), which one, and what is wrong."""

    def __init__(self, kind: str, detail: str = "", place: str = "") -> None:
        self.kind, self.detail, self.place = kind, detail, place
        super().__init__(f"{kind}: {detail}" if detail else kind)


@dataclass(frozen=True)
class LeftOut:
    """Calls that the recorder did not keep: why, and how many."""

    why: str
    count: int


@dataclass(frozen=True)
class TensorArg:
    """A tensor argument: what the record says of it, and how its data is read when asked for."""

    shape: tuple[int, ...]
    dtype: str  # without the prefix torch.
    read: Callable[[], Payload] = field(compare=False, repr=False)


@dataclass(frozen=True)
class Origin:
    """What a dump says of itself; None where it does not."""

    source: str  # "level10" or "recording"
    model: str | None = None
    sglang_version: str | None = None
    flashinfer_version: str | None = None
    weights: str | None = None
    rank: int | None = None


@dataclass(eq=False)
class Call:
    """One call; `arguments` by parameter name, with the signature's defaults filled in.

    `attributes` is what a wrapper held at the call (causal, sm_scale, window_left ...): only a
    recorder sees that. `plan` and `setup` are the wrapper's calls of `plan` and `__init__`.
    """

    api: str  # `rmsnorm`, or a wrapper's class (CUDA-graph subclasses count as their base)
    method: str  # `plan`, `run`, `__init__`; empty for a function
    arguments: dict[str, Any]
    place: str
    origin: Origin
    process: object = None
    wrapper: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    plan: Call | None = None
    setup: Call | None = None
    step: int | None = None
    layer: int | None = None
    count: int = 1
    from_plan: bool = False  # no run was recorded: another run of the wrapper shows the tensors

    @property
    def name(self) -> str:
        """As people call it: `rmsnorm`, `BatchDecodeWithPagedKVCacheWrapper.run`."""
        return f"{self.api}.{self.method}" if self.method else self.api
