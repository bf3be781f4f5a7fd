"""What a benchmark run covers: workloads, each with the solutions to run on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset, load_jsonl
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import Workload
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.ops import OP_TYPES
from kernelkit.places import command

MOST_NAMES = 8


@dataclass(frozen=True)
class Task:
    """One workload, and the solutions to run on it."""

    definition: Definition
    workload: Workload
    solutions: list[Solution]


@dataclass
class Plan:
    """The tasks, why other pairs are not among them, and the files that cannot be read."""

    tasks: list[Task] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    uuids: set[str] = field(default_factory=set)  # of all workloads that were looked at
    resumed: int = 0  # pairs that have a trace already

    @property
    def pairs(self) -> int:
        """Number of (workload, solution) pairs to run."""
        return sum(len(task.solutions) for task in self.tasks)


@dataclass(frozen=True)
class Filters:
    """The choice of the command line; None: all."""

    definitions: list[str] | None = None
    op_types: list[str] | None = None
    solutions: list[str] | None = None
    workloads: int | list[str] | None = None  # the first N of each definition, or by uuid
    resume: bool = False
    device: str = "cpu"
    baseline: str | None = None


def _tell_absent(uuids: set[str], made: Plan) -> None:
    """Workloads that were asked for and are not there: an error, or a note where a line was refused
    that may be theirs, for one bad line hides no other."""
    told = "no such workload in what is chosen of the dataset"
    if uuids and not made.refused:
        raise UsageError(
            told, received=", ".join(sorted(uuids)),
            next_step="--dry-run --json shows the uuids of workloads",
        )  # fmt: skip
    made.notes += [f"{told}: {uuid}" for uuid in sorted(uuids)]


def plan(dataset: Dataset, filters: Filters, done_in: Dataset | None = None) -> Plan:
    """The tasks of a dataset; `done_in` holds the traces that `resume` goes by.

    Raises UsageError for a name that is not there, NothingSelectedError where no pair is left and
    none was done before.
    """
    made = Plan()
    by_definition = _solutions(dataset, filters, made, done_in or dataset)
    by_uuid = filters.workloads if isinstance(filters.workloads, list) else []
    for definition in _definitions(dataset, filters):
        solutions = by_definition.get(definition.name, [])
        workloads = _workloads(dataset, definition, filters, made)
        if by_uuid and not workloads:
            continue  # they are another definition's
        if not workloads or not solutions:
            what = "workload" if not workloads else "solution"
            made.notes.append(f"{definition.name}: no {what}")
            continue
        done = _done(done_in or dataset, definition) if filters.resume else set()
        for workload in workloads:
            uuid = workload.uuid
            left = [s for s in solutions if (s.name, mark(s, filters.device), uuid) not in done]
            made.resumed += len(solutions) - len(left)
            if left:
                made.tasks.append(Task(definition, workload, left))
    _tell_absent(set(by_uuid) - made.uuids, made)
    if not made.tasks and not made.resumed:
        raise NothingSelectedError(
            "no workload with a solution",
            received="; ".join([*made.refused, *made.notes][:5]) or "an empty dataset",
            next_step=_cure(made),
        )
    return made


def _cure(made: Plan) -> str | None:
    """What brings that of which there is none."""
    if made.refused or not made.notes:
        return None
    if all(note.endswith(": no workload") for note in made.notes):
        return f"{command('collect_workloads.py')} brings workloads"
    if all(note.endswith(": no solution") for note in made.notes):
        return f"{command('make_baselines.py')} writes baselines, new_solution.py your own"
    return None


def _workloads(
    dataset: Dataset, definition: Definition, filters: Filters, made: Plan
) -> list[Workload]:
    """The chosen workloads of a definition; a line that cannot be read is refused alone."""
    found: dict[str, Workload] = {}
    path = dataset.workload_path(definition)
    for loaded in load_jsonl(Trace, path) if path.is_file() else ():
        place = f"{dataset.relative(path)}:{loaded.line}"
        if loaded.value is None:
            made.refused.append(f"{place}: {loaded.error}")
        elif loaded.value.workload.uuid in found:
            made.refused.append(f"{place}: uuid {loaded.value.workload.uuid} is there before")
        elif missing := set(definition.var_axes) - loaded.value.workload.axes.keys():
            made.refused.append(f"{place}: no value for axes {', '.join(sorted(missing))}")
        else:
            found[loaded.value.workload.uuid] = loaded.value.workload
    made.uuids.update(found)
    if isinstance(filters.workloads, list):
        return [found[uuid] for uuid in filters.workloads if uuid in found]
    return list(found.values())[: filters.workloads]


def key(solution: Solution) -> str:
    """A hash of what decides about a solution's result: its sources and how they are built."""
    content = [solution.spec.to_json(), [[s.path, s.content] for s in solution.sources]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def mark(solution: Solution, device: str) -> str:
    """The first line of a trace's log: what `--resume` knows the pair by."""
    return f"solution sha256:{key(solution)} on {device.split(':')[0]}"


def _definitions(dataset: Dataset, filters: Filters) -> Iterator[Definition]:
    chosen = dataset.definitions()
    if filters.definitions is not None:
        chosen = {name: dataset.find_definition(name) for name in filters.definitions}
    if unknown := set(filters.op_types or []) - {d.op_type for d in chosen.values()} - {*OP_TYPES}:
        raise UsageError("no such op type", received=", ".join(sorted(unknown)))
    for definition in chosen.values():
        if filters.op_types is None or definition.op_type in filters.op_types:
            yield definition


def _solutions(
    dataset: Dataset, filters: Filters, made: Plan, done_in: Dataset
) -> dict[str, list[Solution]]:
    """The runnable solutions by definition; a note for each other, bad files refused alone."""
    found: dict[str, list[Solution]] = {}
    known: set[str] = set()
    for loaded in dataset.load_solutions():
        place, solution = dataset.relative(loaded.path), loaded.value
        if solution is None:
            if filters.solutions is None or loaded.path.stem in filters.solutions:
                made.refused.append(f"{place}: {loaded.error}")
                known.add(loaded.path.stem)
            continue
        if solution.name in known:
            made.refused.append(f"{place}: the name {solution.name} is another file's")
            continue
        known.add(solution.name)
        if filters.solutions is not None and solution.name not in filters.solutions:
            continue
        if reason := _why_not(solution, filters.device):
            made.notes.append(f"{solution.name}: not run: {reason}")
        else:
            found.setdefault(solution.definition, []).append(solution)
    if missing := set(filters.solutions or []) - known:
        raise UsageError(
            "no such solution in the dataset",
            received=", ".join(sorted(missing)),
            allowed=", ".join(sorted(known)[:MOST_NAMES]) or "none: pack one first",
        )
    if filters.baseline is not None and filters.baseline not in known:
        traced = (each.value.solution for each in done_in.load_traces() if each.value)
        if filters.baseline not in traced:
            raise UsageError(
                "the baseline is no solution of the dataset, and has no trace",
                received=filters.baseline,
            )
    return found


def _why_not(solution: Solution, device: str) -> str | None:
    on_cpu = any(target.lower() == "cpu" for target in solution.spec.target_hardware)
    only_cpu = all(target.lower() == "cpu" for target in solution.spec.target_hardware)
    if device.startswith("cuda") and only_cpu or not device.startswith("cuda") and not on_cpu:
        return f"its target hardware is {', '.join(solution.spec.target_hardware)}"
    return None


def _done(dataset: Dataset, definition: Definition) -> set[tuple[str | None, str, str]]:
    """(solution, mark, workload) of the definition's traces."""
    return {
        (trace.solution, trace.evaluation.log.partition("\n")[0], trace.workload.uuid)
        for trace in dataset.traces_of(definition)
        if trace.evaluation is not None
    }
