"""The judgement of a batch: all that the device is asked, with one wait for its answers.

Calls are judged in full, by the table of their sums, or by their distance alone, where a batch is
too large to judge all of it. What the table leaves open is judged call by call, in detail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kernelkit.bench.judge import rules, table, topk
from kernelkit.bench.judge.compare import OutputError, Tensors, Verdict, worst
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status
from kernelkit.ops.base import Inputs, Tolerance

if TYPE_CHECKING:
    import torch

MOST_SUSPECTS = 4  # are judged in detail: one is enough to refuse
Pick = Callable[[int], Inputs]


@dataclass(frozen=True)
class Lot:
    """Calls of one batch: stacked outputs [calls, ...], the reference's, and each call's inputs.

    `full`: which of them to judge in full. `distance`: which by their distance.
    """

    got: Tensors
    want: Tensors
    inputs: Pick
    full: list[int]
    distance: list[int]


@dataclass(frozen=True)
class Found:
    """The verdict on a lot, the first call that it refuses, and the values that were asked for
    besides."""

    verdict: Verdict
    refused: int | None
    besides: list[float]


class Judge:
    """Judges lots of one workload."""

    def __init__(self, definition: Definition, tolerance: Tolerance) -> None:
        self.definition, self.tolerance = definition, tolerance
        self.odd: set[str] = set()  # outputs in which the reference has infinities

    def judge(self, lot: Lot, besides: torch.Tensor) -> Found:
        """The verdict. `besides`, a vector of the device, is fetched with the rest."""
        names = list(lot.want) if self._by_table(lot) else []
        tables = [self._table(lot, name).flatten() for name in names]
        distances = self._distances(lot).double() if lot.distance else besides.double()[:0]
        first, *values, last = _fetch([besides.double(), *tables, distances])
        errors = self._errors(lot, dict(zip(names, values, strict=True)))
        errors |= self._odd_errors(lot, [n for n in lot.full if n not in errors]) if names else {}
        away = [number for number, far in zip(lot.distance, last, strict=True) if far]
        open_calls = {*away, *(number for number in lot.full if number not in errors)}
        found = self._one_by_one(lot, sorted(open_calls), first)
        passed = [_passed(errors[number]) for number in lot.full if number in errors]
        return replace(found, verdict=worst([found.verdict, *passed]))

    def _by_table(self, lot: Lot) -> bool:
        if not lot.full or self.tolerance.samples:
            return False
        if topk.applies(self.definition, lot.inputs(lot.full[0])):
            return False
        return set(lot.got) == set(lot.want) and all(
            lot.got[n].shape == w.shape and lot.got[n].dtype == w.dtype and table.fits(w)
            for n, w in lot.want.items()
            if w.shape[1:].numel()
        )

    def _table(self, lot: Lot, name: str) -> torch.Tensor:
        """The table of an output; empty where it has no elements."""
        want = lot.want[name]
        if not want.shape[1:].numel():
            return want.new_zeros((0,)).double()
        got, want = some(lot.got[name], lot.full), some(want, lot.full)
        return table.tabulate(got, want, self._tolerance(name), odd=name in self.odd)

    def _distances(self, lot: Lot) -> torch.Tensor:
        """For each call of `distance` whether it is far off."""
        import torch

        device = next(iter(lot.got.values())).device
        away = torch.zeros(len(lot.distance), dtype=torch.bool, device=device)
        for name, want in lot.want.items() if not self.tolerance.samples else ():
            if want.shape[1:].numel():
                away |= table.far(some(lot.got[name], lot.distance), some(want, lot.distance))
        return away

    def _tolerance(self, name: str) -> Tolerance:
        return self.tolerance.each.get(name, self.tolerance)

    def _errors(self, lot: Lot, rows: dict[str, list[float]]) -> dict[int, dict[str, OutputError]]:
        """The errors of the calls that pass by their rows of the outputs' tables."""
        if not rows:
            return {}
        width, found = len(table.COLUMNS), {}
        for place, number in enumerate(lot.full):
            each = {
                name: table.settle(
                    values[place * width : (place + 1) * width],
                    lot.want[name][number],
                    self._tolerance(name),
                )
                if values
                else OutputError()
                for name, values in rows.items()
            }
            if all(error is not None for error in each.values()):
                found[number] = each
        return found

    def _odd_errors(self, lot: Lot, left: list[int]) -> dict[int, dict[str, OutputError]]:
        """Once more with NaN and infinities apart, where that was not done: a second wait."""
        names = {n for n, w in lot.want.items() if w.dtype.is_floating_point} - self.odd
        names = {n for n in names if _infinite(lot.want[n], left)}
        if not names:
            return {}
        self.odd |= names
        again = replace(lot, full=left)
        return self._errors(again, {n: self._table(again, n).flatten().tolist() for n in lot.want})

    def _one_by_one(self, lot: Lot, numbers: list[int], besides: list[float]) -> Found:
        """The verdict on some calls, each by itself, with its reasons."""
        verdicts, refused = [], None
        for number in numbers:
            got, want = (
                {name: value[number] for name, value in side.items()}
                for side in (lot.got, lot.want)
            )
            verdict = rules.judge(self.definition, got, want, lot.inputs(number), self.tolerance)
            verdicts.append(verdict)
            if verdict.status is not Status.PASSED:
                refused = number if refused is None else refused
                if sum(v.status is not Status.PASSED for v in verdicts) >= MOST_SUSPECTS:
                    break
        return Found(worst(verdicts), refused, besides)


def _passed(errors: dict[str, OutputError]) -> Verdict:
    """The verdict on a call that passed with these errors."""
    values = list(errors.values())
    return Verdict(
        Status.PASSED,
        max(e.max_abs for e in values),
        max(e.max_rel for e in values),
        min(e.matched_ratio for e in values),
        outputs=errors,
    )


def some(stacked: torch.Tensor, numbers: list[int]) -> torch.Tensor:
    """The calls of these numbers; no copy where it is all of them. A list as an index would be
    copied to the device, which waits."""
    import torch

    if numbers == list(range(len(stacked))):
        return stacked
    return torch.stack([stacked[number] for number in numbers]) if numbers else stacked[:0]


def _infinite(want: torch.Tensor, numbers: list[int]) -> bool:
    return bool(numbers) and bool(some(want, numbers).isinf().any())


def _fetch(parts: list[torch.Tensor]) -> list[list[float]]:
    """Vectors of float64 as lists, by one copy from the device."""
    import torch

    whole = torch.cat(parts).tolist()
    found, start = [], 0
    for part in parts:
        found.append(whole[start : start + len(part)])
        start += len(part)
    return found
