"""The best solution of each definition: right on every workload, and fastest over all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kernelkit.bench.selection import key
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError
from kernelkit.publish.deploy.routes import Route, route_of
from kernelkit.report.rows import Row, make_rows, relate
from kernelkit.report.scores import Score, by_solution

LIBRARY = "flashinfer"
COMPILED = ("cpp", "cuda")


@dataclass(frozen=True)
class Choice:
    """A definition, and its solution with its score, or why it gets none."""

    definition: Definition
    route: Route | None = None
    solution: Solution | None = None
    score: Score | None = None
    reason: str = ""
    passed_over: tuple[str, ...] = ()  # better or unmeasured solutions, each with the reason


def choose(
    dataset: Dataset, definitions: Sequence[Definition], *, hardware: str | None = None,
    solutions: Sequence[str] | None = None,
) -> list[Choice]:  # fmt: skip
    """One choice for each definition; two that stand for one live call get none.

    Raises UsageError where traces of several devices are there and `hardware` names none.
    """
    rows = {d.name: list(make_rows(dataset.traces_of(d), {d.name: d})) for d in definitions}
    device = _device({row.hardware for found in rows.values() for row in found}, hardware)
    known = dataset.solutions()
    made = [
        _choose(d, rows[d.name], _Known(known.get(d.name, []), len(dataset.workloads_of(d))),
                device, solutions)
        for d in definitions
    ]  # fmt: skip
    return _without_clashes(made)


def calls_flashinfer(solution: Solution) -> bool:
    """Whether a source imports FlashInfer, or names it for an import."""
    return any(
        _names_library(node)
        for source in solution.sources if source.path.endswith(".py")
        for node in ast.walk(ast.parse(source.content))
    )  # fmt: skip


def _names_library(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""] if node.level == 0 else []
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        names = [node.value] if " " not in node.value else []
    else:
        names = []
    return any(name.split(".")[0] == LIBRARY for name in names)


def _device(found: set[str], wanted: str | None) -> str | None:
    if wanted is not None:
        fit = sorted(name for name in found if wanted.lower() in name.lower())
        if len(fit) == 1:
            return fit[0]
        raise UsageError("--hardware names no one device of the traces", received=wanted,
                         allowed=", ".join(fit or sorted(found)) or "no traces")  # fmt: skip
    if len(found) > 1:
        raise UsageError("the traces are of several devices", received=", ".join(sorted(found)),
                         next_step="name one with --hardware")  # fmt: skip
    return next(iter(found), None)


@dataclass(frozen=True)
class _Known:
    """What the dataset has of a definition."""

    solutions: Sequence[Solution]
    workloads: int


def _choose(
    definition: Definition, rows: Sequence[Row], has: _Known, device: str | None,
    wanted: Sequence[str] | None,
) -> Choice:  # fmt: skip
    route = route_of(definition)
    if isinstance(route, str):
        return Choice(definition, reason=route)
    known = {s.name: s for s in has.solutions}
    here = [row for row in rows if row.hardware == device]
    fit, over = _fit(known, here, wanted)
    candidates = relate(row for row in here if row.solution in fit)
    scores = by_solution(candidates, {definition.name: has.workloads})
    whole = [s for s in scores if not s.failed and s.passed == s.workloads]
    over += [f"{s.name}: passed {s.passed} of {s.workloads} workloads"
             for s in scores if s not in whole]  # fmt: skip
    if not whole:
        reason = "; ".join(over) or "no solution has a trace"
        return Choice(definition, route, reason=reason)
    best = max(whole, key=lambda s: (s.geomean_vs_best or 0.0, s.name))
    return Choice(definition, route, known[best.name], best, passed_over=tuple(over))


def _fit(
    known: dict[str, Solution], rows: Iterable[Row], wanted: Sequence[str] | None
) -> tuple[set[str], list[str]]:
    """Solutions that can be deployed and were measured as they are, and the others' reasons."""
    newest = {row.solution: row.source for row in rows}
    fit, over = set(), []
    for name, source in newest.items():
        if wanted is not None and name not in wanted:
            continue
        fault = _fault(known.get(name), source)
        fit |= set() if fault else {name}
        over += [f"{name}: {fault}"] if fault else []
    return fit, over


def _fault(solution: Solution | None, source: str | None) -> str:
    if solution is None:
        return "its file is not in the dataset"
    if source is not None and source != key(solution):
        return "its sources changed after it was measured"
    if solution.spec.language.value in COMPILED:
        return f"Trace Apply hands a {solution.spec.language.value} solution other arguments"
    if calls_flashinfer(solution):
        return "it calls FlashInfer, and would be handed its own call"
    return ""


def _without_clashes(choices: Iterable[Choice]) -> list[Choice]:
    """Two definitions that stand for one live call: neither is deployed."""
    choices = list(choices)
    users: dict[str, list[str]] = {}
    for choice in choices:
        if choice.solution is not None and choice.route is not None:
            users.setdefault(choice.route.live, []).append(choice.definition.name)
    return [
        Choice(c.definition, c.route, reason=f"one live name, {c.route.live}, stands for "
               f"{' and '.join(users[c.route.live])}; name one with --definitions")
        if c.solution is not None and c.route is not None and len(users[c.route.live]) > 1 else c
        for c in choices
    ]  # fmt: skip
