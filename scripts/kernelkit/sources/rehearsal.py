"""--dry-run: what a run would do, as far as it can be known without fetching."""

from __future__ import annotations

from kernelkit.sources import checkout as state
from kernelkit.sources.checkout import Checkout
from kernelkit.sources.interrupted import cut_off
from kernelkit.sources.moving import Move, RefusedError, few, losses, plan
from kernelkit.sources.outcome import KEPT, WOULD_CLONE, WOULD_RESET, WOULD_UPDATE
from kernelkit.sources.remote import Wanted
from kernelkit.sources.task import Task


def rehearse(task: Task, here: Checkout | None, wanted: Wanted | None) -> None:
    """Fill the task's outcome. Raises RefusedError where a run would."""
    outcome = task.outcome
    if here is None:
        outcome.action = WOULD_CLONE
        assert wanted is not None
        outcome.sha, outcome.branch = wanted.sha, wanted.branch
    elif wanted is None:
        outcome.action = KEPT
    elif cut_off(here):
        outcome.action = WOULD_UPDATE
        task.note("an earlier run was cut off here; a run puts that right first")
    else:
        _rehearse_move(task, plan(task.git, here, wanted, wanted.sha or ""))


def _rehearse_move(task: Task, step: Move) -> None:
    outcome, here = task.outcome, step.here
    outcome.before, outcome.sha, outcome.branch = here.head, step.sha or None, step.wanted.branch
    changes = state.changed(task.git, here.path) if here.head else []
    if step.done and not (task.request.force and changes):
        return
    known = bool(step.sha) and state.has_commit(task.git, here.path, step.sha)
    what, lost = _losses(task, step, changes, known=known)
    if task.request.force:
        outcome.action = WOULD_RESET
        lost += [f"modified: {name}" for name in changes if f"modified: {name}" not in lost]
        outcome.lost = lost
    elif lost:
        raise RefusedError(what, lost)
    else:
        outcome.action = KEPT if _ahead(task, step, known=known) else WOULD_UPDATE
        local = [*changes, *state.untracked(task.git, here.path)]
        if local and not known:
            task.note(f"will be refused if the update touches {few(local)}")


def _ahead(task: Task, step: Move, *, known: bool) -> bool:
    """Whether the branch that is checked out has all that the remote has, and more."""
    path = step.here.path
    if not known or step.tip is None or step.here.branch != step.wanted.branch:
        return False
    return state.is_ancestor(task.git, path, step.sha, step.tip)


def _losses(task: Task, step: Move, changes: list[str], *, known: bool) -> tuple[str, list[str]]:
    if known:
        ahead = _ahead(task, step, known=known) and not task.request.force
        return losses(task.git, step, step.here.head or "" if ahead else step.sha, changes)
    # The remote's commit is not here, so the branch cannot contain it.
    path, branch = step.here.path, step.wanted.branch
    own = state.own_commits(task.git, path, step.tip, branch) if step.tip else []
    return f"{branch} has commits of its own, and so has the remote", [f"commit: {c}" for c in own]
