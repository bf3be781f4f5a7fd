"""Whether B is faster than A: workload by workload against the measured noise, and over all.

The noise of a latency is the relative error of its median as the trace tells it: half of the 95 %
interval. Without it, half of p10 to p90 over the median, which is wider. Without both, what the
caller says; else the workload is undecided.

A workload's verdict: B is faster where its interval, latency x (1 ± noise), lies below A's and the
change is at least `least`; slower where it lies above; else the same. Two separate 95 % intervals
are a stricter test than one of 95 %, so that A/A runs come out the same. A failure of one side
makes the other faster.

The overall verdict holds the geometric mean of A's latency over B's against the geometric mean of
what each workload asks for (noises may share a cause, so that they do not shrink with their
number). A workload that only B fails makes B slower, whatever the rest says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kernelkit.report.rows import Row
from kernelkit.report.scores import geometric_mean

Verdict = Literal["faster", "same", "slower", "undecided", "both failed"]
LEAST = 0.01  # a change below this is none: clocks and allocators drift by as much
RULE = (
    "B is faster or slower where latency x (1 ± noise) of the two do not overlap and the change is "
    "at least {least:.1%}; noise is the median's relative error in the trace, else half of p10 to "
    "p90; overall: the same for the geometric means, and slower where only B fails"
)


@dataclass(frozen=True)
class Comparison:
    """One workload on one hardware. Noises are fractions; `speedup` is A's latency over B's."""

    definition: str
    workload: str
    axes: dict[str, int]
    hardware: str
    solution_a: str
    solution_b: str
    status_a: str
    status_b: str
    a_ms: float | None
    b_ms: float | None
    noise_a: float | None
    noise_b: float | None
    speedup: float | None
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Result:
    """All comparisons and what they come to."""

    comparisons: list[Comparison]
    verdict: Verdict
    speedup: float | None  # geometric mean of A's latency over B's, where both passed
    faster_above: float | None  # speedups that the noise asks for; None where it is not known
    slower_below: float | None
    why: str
    only_a: int  # workloads that the other side has no trace of
    only_b: int
    rule: str

    @property
    def counts(self) -> dict[str, int]:
        """Workloads by verdict."""
        return dict(Counter(one.verdict for one in self.comparisons))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "counts": self.counts}


Key = tuple[str, ...]


def compare(
    a: Mapping[Key, Row],
    b: Mapping[Key, Row],
    *,
    least: float = LEAST,
    assumed_noise: float | None = None,
) -> Result:
    """Compare rows of the same key. Fractions as 0.01; see the module's text for the rule."""
    found = [judge(a[key], b[key], least, assumed_noise) for key in a if key in b]
    both = [one for one in found if one.speedup is not None]
    mean = geometric_mean(one.speedup for one in both)
    bounds = None
    if both and all(_known(one) for one in both):
        pairs = [_bounds(one.noise_a or 0.0, one.noise_b or 0.0) for one in both]
        bounds = tuple(geometric_mean(side) or 1.0 for side in zip(*pairs, strict=True))
    verdict, why = _overall(found, mean, bounds, least)
    above, below = bounds or (None, None)
    return Result(found, verdict, mean, above, below, why, len(a.keys() - b.keys()),
                  len(b.keys() - a.keys()), RULE.format(least=least))  # fmt: skip


def judge(a: Row, b: Row, least: float, assumed_noise: float | None) -> Comparison:
    """The verdict on one workload."""
    noise_a, noise_b = noise_of(a, assumed_noise), noise_of(b, assumed_noise)
    timed = a.passed and b.passed and a.latency_ms and b.latency_ms
    verdict, why = _verdict(a, b, noise_a, noise_b, least)
    return Comparison(
        definition=a.definition, workload=a.workload, axes=a.axes, hardware=a.hardware,
        solution_a=a.solution, solution_b=b.solution, status_a=a.status, status_b=b.status,
        a_ms=a.latency_ms, b_ms=b.latency_ms, noise_a=noise_a, noise_b=noise_b,
        speedup=a.latency_ms / b.latency_ms if timed else None, verdict=verdict, why=why,
    )  # fmt: skip


def noise_of(row: Row, assumed: float | None = None) -> float | None:
    """The relative uncertainty of a row's median; None where nothing tells it."""
    if row.relative_error is not None:
        return row.relative_error
    if row.latency_ms and row.p10_ms is not None and row.p90_ms is not None:
        return max(0.0, row.p90_ms - row.p10_ms) / 2 / row.latency_ms
    return assumed


def _verdict(
    a: Row, b: Row, noise_a: float | None, noise_b: float | None, least: float
) -> tuple[Verdict, str]:
    if not (a.passed and b.passed):
        return _failed(a, b)
    if not a.latency_ms or not b.latency_ms:
        return "undecided", "a trace without a latency"
    if noise_a is None or noise_b is None:
        return "undecided", "no measured noise in the traces"
    if max(noise_a, noise_b) >= 1:
        return "undecided", "too few samples to know the noise"
    return _against(a.latency_ms, b.latency_ms, noise_a, noise_b, least)


def _against(
    a_ms: float, b_ms: float, noise_a: float, noise_b: float, least: float
) -> tuple[Verdict, str]:
    verdict = _decide(a_ms / b_ms, *_bounds(noise_a, noise_b), least)
    text = f"{b_ms / a_ms - 1:+.1%}, noise {noise_a:.1%} and {noise_b:.1%}"
    return verdict, f"{text}: no difference" if verdict == "same" else text


def _bounds(noise_a: float, noise_b: float) -> tuple[float, float]:
    """A's latency over B's above which, and below which, the two intervals do not overlap."""
    return (1 + noise_b) / (1 - noise_a), (1 - noise_b) / (1 + noise_a)


def _decide(speedup: float, above: float, below: float, least: float) -> Verdict:
    if speedup > above and speedup - 1 >= least:
        return "faster"
    return "slower" if speedup < below and 1 / speedup - 1 >= least else "same"


def _failed(a: Row, b: Row) -> tuple[Verdict, str]:
    if a.passed:
        return "slower", f"B failed: {b.status}"
    if b.passed:
        return "faster", f"A failed: {a.status}"
    return "both failed", f"{a.status} and {b.status}"


def _known(one: Comparison) -> bool:
    noises = (one.noise_a, one.noise_b)
    return all(noise is not None and noise < 1 for noise in noises)


def _overall(
    found: Sequence[Comparison],
    mean: float | None,
    bounds: tuple[float, ...] | None,
    least: float,
) -> tuple[Verdict, str]:
    broken = sum(one.verdict == "slower" and one.speedup is None for one in found)
    mended = sum(one.verdict == "faster" and one.speedup is None for one in found)
    if broken:
        return "slower", f"B fails {broken} workloads that A passes"
    if mean is None:
        failed = all(one.verdict == "both failed" for one in found)
        return ("both failed", "nothing passed") if failed else _only_b(mended)
    if bounds is None:
        return "undecided", "the noise of some workloads is not known"
    verdict = _decide(mean, bounds[0], bounds[1], least)
    if verdict == "same" and mended:
        return _only_b(mended)
    return verdict, (
        f"geometric mean {mean:.3f}x; faster above {bounds[0]:.3f}x, slower below {bounds[1]:.3f}x"
    )


def _only_b(mended: int) -> tuple[Verdict, str]:
    if mended:
        return "faster", f"A fails {mended} workloads that B passes"
    return "undecided", "no workload has a latency on both sides"
