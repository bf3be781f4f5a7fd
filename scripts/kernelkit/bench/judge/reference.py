"""The definition's reference: run on given inputs; its outputs are kept for the next solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kernelkit.bench.isolation.calling import BadOutputError, name_outputs
from kernelkit.bench.judge.kept import Kept
from kernelkit.dataset.definition import Definition
from kernelkit.errors import KernelkitError
from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]


class ReferenceFailedError(KernelkitError):
    """The reference itself gave no result: nothing is said about the solutions."""


class Reference:
    """A definition's `run`, and what it has returned."""

    def __init__(self, definition: Definition, most_bytes: int) -> None:
        self.definition = definition
        self.kept: Kept[Tensors] = Kept(most_bytes, dict.values)
        self.mutated: set[str] | None = None
        scope: dict[str, object] = {"__name__": f"reference_of_{definition.name}"}
        try:
            exec(compile(definition.reference, f"{definition.name}.reference", "exec"), scope)
            self.run = scope["run"]
        except Exception as error:  # whatever it raises
            raise self._failed(error) from error

    def outputs(self, key: str, inputs: Callable[[], Inputs]) -> Tensors:
        """The outputs for the inputs that `key` names; from memory where they are there."""
        return self.kept.get(key, lambda: self.call(inputs()))

    def call(self, inputs: Inputs) -> Tensors:
        """Run it; the inputs stay as they are. Raises ReferenceFailedError."""
        import torch

        copied = set(inputs) if self.mutated is None else self.mutated
        arguments = {
            name: value.clone() if name in copied and isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }
        try:
            with torch.no_grad():
                result = self.run(*arguments.values())  # type: ignore[operator]
            found = name_outputs(result, list(self.definition.outputs))
        except BadOutputError as error:
            raise self._failed(error) from error
        except Exception as error:  # whatever it raises
            raise self._failed(error) from error
        if self.mutated is None:
            self.mutated = {n for n in inputs if not same_bytes(inputs[n], arguments[n])}
        return {name: value.detach() for name, value in found.items()}

    def _failed(self, error: Exception) -> ReferenceFailedError:
        text = f"{type(error).__name__}: {error}"
        return ReferenceFailedError(f"{self.definition.name}: the reference failed: {text}")


def same_bytes(first: object, second: object) -> bool:
    """Whether two tensors hold the same bytes (NaN equals itself); other values: whether equal."""
    import torch

    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return first == second
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if not first.numel():
        return True
    return torch.equal(as_integers(first), as_integers(second))


def as_integers(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor's bytes as integers of its element's size."""
    import torch

    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.contiguous().view(kinds[tensor.element_size()])
