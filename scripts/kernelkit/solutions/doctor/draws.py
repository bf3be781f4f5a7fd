"""Samplers: many draws against the distribution that the filters leave, right or mistaken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.solutions.doctor.cases import Case
from kernelkit.solutions.doctor.families import sampling
from kernelkit.solutions.doctor.mutant import Mutant
from kernelkit.solutions.doctor.process import Job, Session
from kernelkit.solutions.doctor.report import Diagnosis, Finding

if TYPE_CHECKING:
    import torch

COUNT, SECONDS = 2000, 20.0  # draws of each row at most, and for how long
FEW = 500
LIMIT = 5.0  # standard deviations
LEAST_EXPECTED = 5.0  # rarer tokens are pooled
SUPPORT = 1e-9  # a token of less probability may not be drawn


def applies(definition: Definition) -> bool:
    """Whether outputs are random draws."""
    return definition.op_type == "sampling" and "probs" in definition.inputs


def calls(cases: Sequence[Case], definition: Definition) -> list[dict[str, Any]]:
    """The call that draws, from the case with filters of many strengths."""
    if not applies(definition):
        return []
    return [{"name": "draws", "case": cases[-1].name, "draws": COUNT, "seconds": SECONDS}]


def examine(
    job: Job, cases: Sequence[Case], session: Session, outputs: dict[str, Any],
    diagnosis: Diagnosis,
) -> None:  # fmt: skip
    """Complete the diagnosis from the draws."""
    answer = session.answers.get("draws")
    for case in cases:
        diagnosis.calls[case.name] = _allowed(job.definition, case, session, outputs)
    if answer is None or answer.error or not answer.tensors or diagnosis.findings:
        return
    case, drawn = cases[-1], answer.tensors[0].reshape(answer.draws, -1).long().cpu()
    inputs = {n: v.cpu() if hasattr(v, "cpu") else v for n, v in case.inputs.items()}
    right = sampling.run(job.definition, inputs)["samples"]
    off = deviation(drawn, right)
    text = f"{answer.draws} draws of {drawn.shape[1]} rows"
    if off <= LIMIT:
        diagnosis.calls["draws"] = "passed"
        few = f": fewer than {FEW} show little, a GPU draws faster" if answer.draws < FEW else ""
        diagnosis.notes.append(f"{text}, largest deviation {off:.1f} sigma{few}")
        return
    diagnosis.calls["draws"] = f"frequencies differ: {text}, {_sigma(off)}"
    if finding := _mutant(job.definition, inputs, drawn, text, off) or _same(drawn):
        diagnosis.findings.append(finding)
        return
    diagnosis.facts = _facts(drawn, right)
    diagnosis.next_test = (
        "print the filtered probabilities of the row with the largest deviation, before the draw"
    )


def _allowed(definition: Definition, case: Case, session: Session, outputs: dict[str, Any]) -> str:
    """Whether the tokens of one call may be drawn: "passed", or why not."""
    from kernelkit.bench.judge import rules
    from kernelkit.dataset.trace import Status

    answer = session.answers.get(case.name)
    if answer is None or answer.error or not outputs.get(case.name):
        return answer.error.splitlines()[-1] if answer and answer.error else "no output"
    want = case.want or {}
    verdict = rules.judge(
        definition, outputs[case.name], want, case.inputs, rules.tolerance(definition)
    )
    return "passed" if verdict.status is Status.PASSED else verdict.message


def deviation(drawn: torch.Tensor, mass: torch.Tensor) -> float:
    """The worst row's chi-square of `drawn` [n, rows] against `mass` [rows, vocabulary], in
    standard deviations; inf where a token was drawn that has no mass."""
    vocab = mass.shape[1]
    if bool(((drawn < 0) | (drawn >= vocab)).any()):
        return math.inf
    return max(_row(drawn[:, row], mass[row]) for row in range(drawn.shape[1]))


def _row(drawn: torch.Tensor, mass: torch.Tensor) -> float:
    import torch

    counts = torch.bincount(drawn, minlength=len(mass)).double()
    if bool((counts[mass < SUPPORT] > 0).any()):
        return math.inf
    expected = mass * len(drawn)
    common = expected >= LEAST_EXPECTED
    seen = torch.cat([counts[common], counts[~common].sum()[None]])
    wanted = torch.cat([expected[common], expected[~common].sum()[None]])
    seen, wanted = seen[wanted > LEAST_EXPECTED / 10], wanted[wanted > LEAST_EXPECTED / 10]
    freedom = len(wanted) - 1
    if freedom < 1:
        return 0.0
    chi = float(((seen - wanted).square() / wanted).sum())
    spread = 2 / (9 * freedom)  # Wilson and Hilferty's cube root
    return ((chi / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def _same(drawn: torch.Tensor) -> Finding | None:
    """Every call gives the same tokens, which are not the likeliest ones."""
    if len(drawn) < 2 or not bool((drawn == drawn[:1]).all()):
        return None
    return Finding(
        "same-draw-in-each-call", "all calls return the same tokens",
        [f"{len(drawn)} calls, one result for each row"],
        "draw from a generator that goes on: no fixed seed in run",
    )  # fmt: skip


def _mutant(
    definition: Definition, inputs: dict[str, Any], drawn: torch.Tensor, text: str, off: float
) -> Finding | None:
    """The mistaken filter whose distribution the draws follow best."""
    found: list[tuple[float, Mutant]] = []
    for mutant in sampling.mutants(definition):
        mass = sampling.run(definition, inputs, **mutant.knobs)["samples"]
        found.append((deviation(drawn, mass), mutant))
    found = [(sigma, m) for sigma, m in found if sigma <= LIMIT]
    if not found:
        return None
    sigma, best = found[0]
    evidence = f"{text}: {_sigma(off)} off the right frequencies, {_sigma(sigma)} with this mistake"
    return Finding(best.cause, best.meaning, [evidence], best.change,
                   also=[m.cause for _, m in found[1:]])  # fmt: skip


def _sigma(value: float) -> str:
    return "tokens that may not be drawn" if math.isinf(value) else f"{value:.1f} sigma"


def _facts(drawn: torch.Tensor, right: torch.Tensor) -> list[str]:
    import torch

    found = []
    for row in range(min(4, drawn.shape[1])):
        counts = torch.bincount(drawn[:, row].clamp(0, right.shape[1] - 1),
                                minlength=right.shape[1])  # fmt: skip
        token = int((counts / len(drawn) - right[row]).abs().argmax())
        share, wanted = float(counts[token]) / len(drawn), float(right[row, token])
        found.append(f"row {row}: token {token} was drawn with {share:.1%}, wanted {wanted:.1%}")
    return found
