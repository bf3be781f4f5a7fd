"""The draws of an op that draws at random, kept until many can be judged together.

Many for one set of contents show frequencies. Those of all other calls, whose contents never
repeat, show by their places whether the op drew there, too: it could tell the one from the other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

from kernelkit.bench.judge import rules
from kernelkit.bench.judge.compare import Tensors, Verdict
from kernelkit.bench.judge.draws import compare_pooled, decided_places
from kernelkit.bench.judge.lot import Lot
from kernelkit.dataset.trace import Status
from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch


class Drawn:
    """The draws of one workload."""

    def __init__(self) -> None:
        self.repeated: dict[str, list[torch.Tensor]] = {}
        self.places: list[torch.Tensor] = []

    def collect(self, outputs: Tensors) -> None:
        """Keep a call's outputs as one draw for the contents in hand."""
        for name, value in outputs.items():
            self.repeated.setdefault(name, []).append(value[0].clone())

    def note(self, lot: Lot) -> None:
        """Keep the places of the draws of a lot's fully judged calls, all of which passed."""
        self.places += [
            decided_places(lot.got[name][number], lot.inputs(number), secrets.randbits(62))
            for number in lot.full
            for name in lot.want
        ]

    def judge_repeated(self, draw: Callable[[], Tensors], inputs: Inputs) -> Verdict:
        """The verdict on what was collected, against as many draws of the reference."""
        import torch

        collected, self.repeated = self.repeated, {}
        self.places.clear()  # those calls are judged here
        own: dict[str, list[torch.Tensor]] = {name: [] for name in collected}
        for _ in next(iter(collected.values())):
            for name, value in draw().items():
                own[name].append(value)
        got, want = (
            {name: torch.stack(values) for name, values in side.items()}
            for side in (collected, own)
        )
        return rules.judge_draws(got, want, inputs)

    def judge_places(self) -> Verdict:
        """The verdict on the places of all calls since."""
        import torch

        places, self.places = self.places, []
        return compare_pooled(torch.cat(places)) if places else Verdict(Status.PASSED)
