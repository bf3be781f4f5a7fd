"""What many rows of one solution or author come to.

geometric mean  exp(mean(log(speedup))): the mean of quotients. Over what passed, and with failures
                as zero, which makes it zero.
fast_p          share of all workloads that are right and more than p times as fast as the
                reference (KernelBench, Ouyang et al. 2025). What failed or was not run counts as 0.
win@p           the same against the baseline; where none is named, or it has no result, against
                the best in the dataset.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernelkit.report.rows import Row

FAST_P = (0.5, 1.0, 1.5, 2.0, 5.0, 10.0)
WIN_P_OF_BEST = (0.5, 0.8, 0.9, 0.95, 0.99)  # nothing is faster than the best


@dataclass(frozen=True)
class Score:
    """A solution on one definition and hardware, or an author on all definitions tried."""

    name: str
    definition: str  # empty for an author
    op_type: str
    hardware: str
    workloads: int  # all that the dataset has of the definitions
    passed: int
    failed: int
    not_run: int
    geomean: float | None  # speedups over the reference; 0 where one failed
    geomean_passed: float | None
    geomean_vs_baseline: float | None  # of what passed
    geomean_vs_best: float | None  # of what passed
    percent_of_limit: float | None  # geometric mean of what passed
    fast_p: dict[float, float]
    win_p: dict[float, float]
    wins: tuple[float, ...]  # quotients for the curve, ascending


def geometric_mean(values: Iterable[float | None]) -> float | None:
    """Of the positive finite values; None where there is none. See the module's text."""
    logs = [math.log(value) for value in values if value and 0 < value < math.inf]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def share_above(values: Iterable[float | None], p: float, total: int) -> float:
    """Values above p, of `total`; strictly above, and None is not."""
    return sum(value is not None and value > p for value in values) / total if total else 0.0


def score(
    name: str, rows: Sequence[Row], workloads: int, *, baseline: str | None, author: bool = False
) -> Score:
    """The score of rows that are one solution's, or one author's best per workload."""
    passed = [row for row in rows if row.passed]
    mean = geometric_mean(row.speedup for row in passed)
    failed = len(rows) - len(passed)
    workloads = max(workloads, len(rows))
    wins = [row.vs_baseline or row.vs_best for row in passed]
    points = FAST_P if baseline else WIN_P_OF_BEST
    return Score(
        name=name,
        definition="" if author else rows[0].definition,
        op_type="" if author else rows[0].op_type,
        hardware=rows[0].hardware,
        workloads=workloads,
        passed=len(passed),
        failed=failed,
        not_run=workloads - len(rows),
        geomean=0.0 if failed else mean,
        geomean_passed=mean,
        geomean_vs_baseline=geometric_mean(row.vs_baseline for row in passed),
        geomean_vs_best=geometric_mean(row.vs_best for row in passed),
        percent_of_limit=geometric_mean(row.percent_of_limit for row in passed),
        fast_p={p: share_above((row.speedup for row in passed), p, workloads) for p in FAST_P},
        win_p={p: share_above(wins, p, workloads) for p in points},
        wins=tuple(sorted(win for win in wins if win is not None)),
    )


def by_solution(
    rows: Iterable[Row], workloads: dict[str, int], *, baseline: str | None = None
) -> list[Score]:
    """One score per definition, hardware and solution, the best of each definition first.

    `workloads`: how many the dataset has of each definition.
    """
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.definition, row.hardware, row.solution), []).append(row)
    found = [
        score(solution, members, workloads.get(definition, 0), baseline=baseline)
        for (definition, _, solution), members in groups.items()
    ]
    return sorted(found, key=lambda s: (s.op_type, s.definition, s.hardware, *_rank(s)))


def by_author(
    rows: Iterable[Row], workloads: dict[str, int], *, baseline: str | None = None
) -> list[Score]:
    """One score per hardware and author, over all workloads of the definitions that it tried.

    Of several solutions of an author the fastest right one counts, workload by workload.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str, str], Row]] = {}
    for row in rows:
        best = groups.setdefault((row.hardware, row.author), {})
        if row.place not in best or _better(row, best[row.place]):
            best[row.place] = row
    found = []
    for (_, author), best in groups.items():
        members = list(best.values())
        tried = Counter(row.definition for row in members)
        known = sum(max(workloads.get(name, 0), count) for name, count in tried.items())
        found.append(score(author, members, known, baseline=baseline, author=True))
    return sorted(found, key=lambda s: (s.hardware, *_rank(s)))


def _better(row: Row, other: Row) -> bool:
    return (not row.passed, row.latency_ms or math.inf) < (
        not other.passed,
        other.latency_ms or math.inf,
    )


def _rank(one: Score) -> tuple[float, int, float, str]:
    """Best first: the share that passed, fewer failures, the mean of what passed, the name."""
    share = one.passed / max(one.workloads, 1)
    return -share, one.failed, -(one.geomean_passed or 0.0), one.name
