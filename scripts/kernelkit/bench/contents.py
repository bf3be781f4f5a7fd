"""The contents of a workload's inputs: never the same twice, always the same for one seed.

Each trial has inputs of its own, made by the op family; each call of a trial sees them varied
(`OpFamily.vary`), so that a result kept from an earlier call is wrong. Probes are inputs that show
errors which random ones hide.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs, generator, to_device

if TYPE_CHECKING:
    import torch

Key = str  # "trial/call", or "probe/name"
PLANNED = (
    "planned"  # in a call's name: its index tensors are the trial's own, as for all such calls
)


class Contents:
    """The inputs of one workload by key, on one device."""

    def __init__(
        self, definition: Definition, axes: dict[str, int], given: dict[str, Any], seed: int,
        device: str,
    ) -> None:  # fmt: skip
        self.definition, self.axes, self.given = definition, axes, given
        self.device = device
        self.family = ops.family_or_generic(definition.op_type)
        text = f"{seed}/{definition.name}/{sorted(axes.items())}"
        self.seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")
        self.bases: dict[str, Inputs] = {}

    def inputs(self, key: Key) -> Inputs:
        """The inputs of a call. A probe's key names one of `probes`."""
        kind, _, rest = key.partition("/")
        if kind == "probe":
            return self._probe(rest)
        base = self._base(kind)
        rng = generator(self.seed, key)
        varied = self.family.vary(self.definition, base, rng, indices=PLANNED not in rest)
        return {name: varied[name] for name in self.definition.inputs}

    def probes(self) -> list[str]:
        """The names of the family's probes for this workload."""
        rng = generator(self.seed, "probe")
        return [name for name, _ in self.family.probes(self.definition, self._base("0"), rng)]

    def _probe(self, wanted: str) -> Inputs:
        rng = generator(self.seed, "probe")
        for name, inputs in self.family.probes(self.definition, self._base("0"), rng):
            if name == wanted:
                return {n: to_device(inputs[n], self.device) for n in self.definition.inputs}
        raise KeyError(wanted)

    def _base(self, trial: str) -> Inputs:
        """A trial's inputs. Only the first trial's and the last used one's are kept."""
        if trial not in self.bases:
            self.bases = {name: kept for name, kept in self.bases.items() if name == "0"}
            number = self.seed + int(trial)
            self.bases[trial] = self.family.make_inputs(
                self.definition, self.axes, number, self.device, given=self.given
            )
        return self.bases[trial]


def poison(tensor: torch.Tensor, value: float) -> None:
    """Fill with `value`, or, where the dtype cannot hold it, with a pattern of bytes."""
    import torch

    if tensor.dtype.is_floating_point and tensor.element_size() > 1:
        tensor.fill_(value)
    else:
        tensor.view(torch.uint8).fill_(0xFF if value != value else 0x5A)
