"""The contents of a workload's inputs: never the same twice, always the same for one seed on one
kind of device (large tensors are drawn by the device itself, whose generator is its own).

The op family makes inputs once; each call sees them varied by a seed of its own (`OpFamily.vary`),
so that a result kept from an earlier call is wrong. Probes are inputs that show
errors which random ones hide.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from kernelkit import ops
from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs, generator, to_device

Key = str  # "trial/call", or "probe/name"
EMPTY = "empty"  # the probe that gives one request no tokens
PLANNED = (
    "planned"  # in a call's name: its index tensors are the trial's own, as for all such calls
)


class Contents:
    """The inputs of one workload by key, on one device. `workload`: its name, for those of another
    one with the same axes must differ."""

    def __init__(
        self, definition: Definition, axes: dict[str, int], given: dict[str, Any], seed: int,
        device: str, workload: str = "",
    ) -> None:  # fmt: skip
        self.definition, self.device = definition, device
        self.family = ops.family_or_generic(definition.op_type)
        text = f"{seed}/{definition.name}/{sorted(axes.items())}/{workload}"
        self.seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "little")
        self.base = self.family.make_inputs(
            definition, axes, self.seed, device, given=given, drawn_there=True
        )

    def inputs(self, key: Key) -> Inputs:
        """The inputs of a call. A probe's key names one of `probes`."""
        kind, _, rest = key.partition("/")
        if kind == "probe":
            return self._probes[rest]
        rng = generator(self.seed, key)
        varied = self.family.vary(self.definition, self.base, rng, indices=PLANNED not in rest)
        return {name: varied[name] for name in self.definition.inputs}

    def probes(self) -> list[str]:
        """The names of the family's probes for this workload."""
        return list(self._probes)

    @cached_property
    def _probes(self) -> dict[str, Inputs]:
        rng = generator(self.seed, "probe")
        return {
            name: {n: to_device(inputs[n], self.device) for n in self.definition.inputs}
            for name, inputs in self.family.probes(self.definition, self.base, rng)
            if name != EMPTY or self._has_empty_request()
        }

    def _has_empty_request(self) -> bool:
        """Whether some request of the workload holds no tokens: kernels that leave such rows alone
        (FlashInfer's do) are right for workloads that have none."""
        tables = [value for name, value in self.base.items() if name.endswith("indptr")]
        return any(bool((table.diff() == 0).any()) for table in tables)
