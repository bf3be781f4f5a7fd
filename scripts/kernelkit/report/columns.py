"""The columns of a report, once: name, what it says, and its cell as text and as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kernelkit.report import text
from kernelkit.report.rows import Row
from kernelkit.report.scores import Score

Value = float | str | None


@dataclass(frozen=True)
class Column:
    """A column of rows. `value` is what it sorts by; `optional` ones go where all are empty."""

    head: str
    meaning: str
    text: Callable[[Row], str]
    value: Callable[[Row], Value]
    numeric: bool = True
    optional: bool = False


@dataclass(frozen=True)
class ScoreColumn:
    """A column of scores."""

    head: str
    meaning: str
    text: Callable[[Score], str]
    value: Callable[[Score], Value]
    numeric: bool = True


# fmt: off
COLUMNS = (
    Column("latency ms", "median of the timed calls", lambda r: text.number(r.latency_ms),
           lambda r: r.latency_ms),
    Column("p10–p90 ms", "four of five calls lie in it", text.spread_ms, lambda r: r.p10_ms,
           optional=True),
    Column("± median", "half the 95 % interval of the median, relative",
           lambda r: text.percent(r.relative_error, 1), lambda r: r.relative_error, optional=True),
    Column("reference ms", "latency of the definition's reference",
           lambda r: text.number(r.reference_ms), lambda r: r.reference_ms),
    Column("× reference", "reference latency over latency", lambda r: text.times(r.speedup),
           lambda r: r.speedup),
    Column("× baseline", "the baseline's latency over latency", lambda r: text.times(r.vs_baseline),
           lambda r: r.vs_baseline, optional=True),
    Column("× best", "best latency in the dataset over latency: 1 is the best",
           lambda r: text.times(r.vs_best), lambda r: r.vs_best, optional=True),
    Column("max abs err", "largest absolute difference to the reference",
           lambda r: text.number(r.max_abs, 2), lambda r: r.max_abs),
    Column("max rel err", "largest relative difference to the reference",
           lambda r: text.number(r.max_rel, 2), lambda r: r.max_rel),
    Column("GB/s", "bytes the op needs over latency", lambda r: text.number(r.gb_per_s),
           lambda r: r.gb_per_s, optional=True),
    Column("TFLOP/s", "FLOPs the op needs over latency", lambda r: text.number(r.tflop_per_s),
           lambda r: r.tflop_per_s, optional=True),
    Column("% of limit", "the device's measured ceiling that binds, memory or compute",
           text.of_limit, lambda r: r.percent_of_limit, optional=True),
)
SCORE_COLUMNS = (
    ScoreColumn("passed", "workloads with right outputs, of all that the dataset has",
                lambda s: passed(s), lambda s: s.passed / s.workloads if s.workloads else 0.0),
    ScoreColumn("mean × reference", "geometric mean of the speedups; 0 where a workload failed",
                lambda s: mean(s), lambda s: s.geomean),
    ScoreColumn("mean × best", "geometric mean against the best in the dataset, of what passed",
                lambda s: text.times(s.geomean_vs_best), lambda s: s.geomean_vs_best),
)
# fmt: on


def columns_of(rows: list[Row]) -> list[Column]:
    """The columns that these rows need."""
    return [c for c in COLUMNS if not c.optional or any(c.value(row) is not None for row in rows)]


def score_columns(scores: list[Score]) -> list[ScoreColumn]:
    """The fixed columns of scores, then fast_p and win@p at the points that they have."""
    found = list(SCORE_COLUMNS)
    if any(score.geomean_vs_baseline is not None for score in scores):
        found.append(_baseline())
    if scores:
        found += [_share("fast", p, "the reference") for p in scores[0].fast_p]
        found += [_share("win", p, "the baseline, or the best") for p in scores[0].win_p]
    return found


def passed(score: Score) -> str:
    """`3/5`, and how many were not run."""
    rest = f", {score.not_run} not run" if score.not_run else ""
    return f"{score.passed}/{score.workloads}{rest}"


def mean(score: Score) -> str:
    """The geometric mean; with failures 0, and what passed beside it."""
    if score.failed and score.geomean_passed is not None:
        return f"0 ({text.times(score.geomean_passed)} of {score.passed})"
    return text.times(score.geomean)


def _baseline() -> ScoreColumn:
    return ScoreColumn(
        "mean × baseline", "geometric mean against the baseline, of what passed",
        lambda s: text.times(s.geomean_vs_baseline), lambda s: s.geomean_vs_baseline,
    )  # fmt: skip


def _share(kind: str, p: float, against: str) -> ScoreColumn:
    def value(score: Score) -> float:
        return (score.fast_p if kind == "fast" else score.win_p)[p]

    name = f"fast_{p:g}" if kind == "fast" else f"win@{p:g}"
    return ScoreColumn(
        name, f"share of all workloads right and more than {p:g} times as fast as {against}",
        lambda s: text.percent(value(s)), value,
    )  # fmt: skip
