"""Baseline solutions, generated: what a new kernel has to beat, by whoever has the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kernelkit.dataset.definition import Definition
    from kernelkit.dataset.solution import Solution


def make(definition: Definition, author: str = "baseline") -> list[Solution]:
    """The definition's baselines, FlashInfer's first; empty where its family has none.

    Raises FormatError where a definition of a known name has other inputs than its family's.
    """
    from kernelkit.solutions.baselines.build import solution
    from kernelkit.solutions.baselines.catalogue import serving

    return [solution(definition, baseline, author) for baseline in serving(definition)]
