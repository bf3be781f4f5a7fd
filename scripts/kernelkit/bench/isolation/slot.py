"""One set of places in the shared memory: the arguments and results of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.bench.isolation.arena import HostMemory, Layout
from kernelkit.bench.isolation.calling import BadOutputError, name_outputs

if TYPE_CHECKING:
    import torch

    from kernelkit.bench.clock.cuda_driver import DeviceMemory, Stopwatch


class Slots(Sequence["Slot"]):
    """`count` slots, one layout behind the other, each made when it is first asked for."""

    def __init__(
        self,
        memory: HostMemory | DeviceMemory,
        layout: Layout,
        count: int,
        scalars: dict[str, Any],
        order: list[str],
    ) -> None:
        self.memory, self.layout, self.count = memory, layout, count
        self.scalars, self.order = scalars, order
        self.made: dict[int, Slot] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Slot:  # type: ignore[override]
        if not 0 <= number < self.count:
            raise IndexError(number)
        if number not in self.made:
            layout = self.layout.shifted(number * self.layout.bytes)
            self.made[number] = Slot(self.memory, layout, self.scalars, self.order)
        return self.made[number]


class Slot:
    """One set of places: the arguments of a call."""

    def __init__(
        self,
        memory: HostMemory | DeviceMemory,
        layout: Layout,
        scalars: dict[str, Any],
        order: list[str],
    ) -> None:
        tensors = {name: memory.tensor(place) for name, place in layout.inputs.items()}
        self.inputs = {name: tensors[name] if name in tensors else scalars[name] for name in order}
        self.outputs = {name: memory.tensor(place) for name, place in layout.outputs.items()}
        self.taken = {name: memory.tensor(place) for name, place in layout.taken.items()}
        self.graph: Any = None
        self.result: Any = None  # what the recorded call returned

    def arguments(self, passing: bool) -> list[Any]:
        """The positional arguments of a call."""
        return [*self.inputs.values(), *(self.outputs.values() if passing else ())]

    def keep(self, result: object) -> None:
        """Copy what was returned into the outputs (CPU)."""
        for name, value in self._named(result).items():
            self.outputs[name].copy_(value)

    def take(self, result: object, passing: bool, watch: Stopwatch) -> None:
        """Queue copies of the outputs, of the call's own or returned, to `taken` (CUDA)."""
        values = self.outputs if passing else self._named(result)
        for name, value in values.items():
            target = self.taken[name]
            if not target.numel():
                continue
            if value.is_contiguous():
                watch.copy(target.data_ptr(), value.data_ptr(), target.nbytes)
            else:
                target.copy_(value)

    def _named(self, result: object) -> dict[str, torch.Tensor]:
        """Returned outputs by name, of just the right form. Raises BadOutputError."""
        values = name_outputs(result, list(self.outputs))
        for name, value in values.items():
            wanted = self.outputs[name]
            if value.shape != wanted.shape:
                text = f"{name}: shape {tuple(value.shape)}, expected {tuple(wanted.shape)}"
                raise BadOutputError("INCORRECT_SHAPE", text)
            if value.dtype != wanted.dtype:
                text = f"{name}: dtype {value.dtype}, expected {wanted.dtype}"
                raise BadOutputError("INCORRECT_DTYPE", text)
            if value.device != wanted.device:
                text = f"{name}: on {value.device}, expected {wanted.device}"
                raise BadOutputError("RUNTIME_ERROR", text)
        return values
