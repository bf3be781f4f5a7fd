"""Plan: what a test of one definition is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kernelkit.errors import KernelkitError

SIZE_NAMES = ("small", "medium", "large")
Axes = dict[str, int]


class NoPlanError(KernelkitError):
    """Nothing is known that a definition could be held against."""


@dataclass(frozen=True)
class Truth:
    """One ground truth: a function of a part, and what it needs.

    package: the import name of the library that holds it (None: torch alone, any device).
    capability: the least compute capability of the GPU. sizes: those that it is asked for.
    """

    name: str
    part: str
    function: str
    package: str | None = None
    capability: int = 0
    sizes: tuple[str, ...] = SIZE_NAMES

    @property
    def is_kernel(self) -> bool:
        """Whether it is a kernel of a library, and needs a GPU."""
        return self.package is not None


@dataclass(frozen=True)
class Plan:
    """How a definition is tested.

    inputs: (part, function) that makes them. mode: "values", "samples" or "topk": how outputs are
    compared. sizes: the variable axes of each size; `reduced` are constant axes that the small size
    has smaller, where the reference takes them from its arguments. constants are set in the parts.
    """

    inputs: tuple[str, str]
    truths: tuple[Truth, ...]
    sizes: Mapping[str, Axes]
    mode: str = "values"
    reduced: Axes = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)


def torch_truth(part: str, function: str) -> Truth:
    """An independent computation in PyTorch: any device, no large sizes (it is slow)."""
    return Truth("torch", part, function, sizes=("small", "medium"))
