"""The result of a run: one JSON document, and the same as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evaluating.trials import Trial
from evaluating.workspace import MODES, WITH, WITHOUT

SCHEMA_VERSION = 1


def share(trials: Sequence[Trial]) -> float | None:
    """The share of assertions that hold; None without trials."""
    of = sum(len(trial.findings) for trial in trials)
    return round(sum(trial.passed for trial in trials) / of, 4) if of else None


def document(trials: Sequence[Trial], about: dict[str, Any]) -> dict[str, Any]:
    """The whole result; `about` says what was run, and with what."""
    skills = sorted({trial.skill for trial in trials})
    return {
        "schema_version": SCHEMA_VERSION,
        **about,
        "summary": [_row(skill, [t for t in trials if t.skill == skill]) for skill in skills],
        "total": _row("all", trials),
        "trials": [trial.to_json() for trial in trials],
    }


def _row(skill: str, trials: Sequence[Trial]) -> dict[str, Any]:
    of = {mode: [trial for trial in trials if trial.mode == mode] for mode in MODES}
    shares = {mode: share(of[mode]) for mode in MODES}
    both = None not in shares.values()
    return {
        "skill": skill,
        "cases": len({(trial.skill, trial.id) for trial in trials}),
        **shares,
        "uplift": round(shares[WITH] - shares[WITHOUT], 4) if both else None,
        "solved": {mode: sum(trial.is_solved for trial in of[mode]) for mode in MODES},
        "seconds": {mode: round(sum(t.seconds for t in of[mode]), 1) for mode in MODES},
        "not_done": sum(trial.state != "done" for trial in trials),
    }


def markdown(result: dict[str, Any]) -> str:
    """The document as a page: a table of the skills, then what did not hold."""
    lines = [
        "# Evals",
        "",
        f"`{result['agent_cmd']}`, at most {result['timeout_s']:g} s a task, pack at "
        f"{result['pack_commit']}, {result['started']}.",
        "",
        "Assertions that hold, with all playbooks and guides and without any (the scripts are "
        "there in both); tasks of which all do, with and without.",
        "",
        "| Skill | Cases | With | Without | Uplift | Solved | Not done |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in [*result["summary"], result["total"]]:
        shares = [_percent(row[key]) for key in (WITH, WITHOUT, "uplift")]
        solved = f"{row['solved'][WITH]}, {row['solved'][WITHOUT]}"
        cells = [row["skill"], str(row["cases"]), *shares, solved, str(row["not_done"])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_failures(result["trials"])])


def _percent(value: float | None) -> str:
    return "not run" if value is None else f"{100 * value:.0f} %"


def _failures(trials: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["## What did not hold", ""]
    for trial in trials:
        wrong = [finding for finding in trial["findings"] if finding["reason"]]
        if wrong or trial["state"] != "done":
            lines.append(
                f"- {trial['skill']}/{trial['id']} {trial['mode']} the skill "
                f"({trial['state']}, {trial['seconds']:.0f} s)"
            )
            lines += [f"  - {finding['assertion']}: {finding['reason']}" for finding in wrong]
    return [*lines, ""]
