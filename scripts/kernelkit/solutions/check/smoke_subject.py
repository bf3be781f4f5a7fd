"""The solution of a smoke run: loaded, called, and what its reference expects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.check.smoke_memory import CLEAN, allocations, copied

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


class CallError(Exception):
    """A call of the solution failed; the text is for the person."""


@dataclass
class Subject:
    """The solution under trial. `load` imports it anew and gives run and setup; `raise_if_cuda`
    ends the run where an error asks for a GPU."""

    load: Callable[[], tuple[Callable[..., Any], Callable[..., Any] | None]]
    reference: Callable[..., Any]
    definition: Definition
    passing: bool
    code: str
    raise_if_cuda: Callable[[BaseException], None]
    function: Callable[..., Any] = field(init=False)
    setup: Callable[..., Any] | None = field(init=False)

    def __post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget what the solution keeps: its modules are loaded again."""
        self.function, self.setup = self.load()

    def call(self, inputs: Inputs, like: Tensors, fill: int = CLEAN) -> Tensors:
        """One call; new memory and destinations are filled with the byte `fill`.

        Raises CallError, and BadOutputError (bench/isolation/calling.py) for what is no output.
        """
        import torch

        from kernelkit.bench.isolation.calling import describe, name_outputs

        torch.manual_seed(0)
        with allocations(fill):
            outputs = {name: torch.empty_like(value) for name, value in like.items()}
            passed = [*inputs.values(), *(outputs.values() if self.passing else ())]
            try:
                result = self.function(*passed)
            except BaseException as error:  # also SystemExit
                self.raise_if_cuda(error)
                raise CallError(describe(error, self.code)) from None
        return outputs if self.passing else name_outputs(result, list(self.definition.outputs))

    def expected(self, inputs: Inputs) -> Tensors:
        """The reference's outputs for copies of the inputs."""
        result = self.reference(*copied(inputs).values())
        result = result if isinstance(result, (tuple, list)) else (result,)
        return dict(zip(self.definition.outputs, result, strict=True))
