"""One call of scripts/bench.py on entries of a corpus, each followed by both controls."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus import definitions, faults, malformed, sources
from running.entries import Corpus, Entry
from running.grounds import SCRIPTS, Grounds

from kernelkit.dataset.definition import ITEM_BYTES, Definition
from kernelkit.dataset.store import Dataset

SUPERVISOR = Path(__file__).resolve().parent / "supervisor.py"
BEFORE = "honest__before"
BLOCK = 1000  # positions of a definition
TB_PER_S = {"cpu": 1.0, "cuda": 20.0}  # more than any memory gives
AFTER, BAD = "__honest", "__bad"  # suffixes of the controls that follow an entry


@dataclass(frozen=True)
class Options:
    """How the evaluator is called."""

    device: str = "cpu"
    warmup: int = 3
    iterations: int = 12
    trials: int = 2
    timeout: float = 12.0
    seconds: float = 2.0  # of timing a workload
    hang_s: int = 30
    memory_mb: int = 256
    most_mb: float = 0.0  # of a workload's tensors, in a corpus that is not ours; 0: as they are
    python: str = sys.executable
    together: int = 24  # entries in a call of the evaluator
    every: int = 1  # controls come after so many entries of a definition


@dataclass
class Ran:
    """What came of a call: traces by solution and workload, and how the evaluator ended."""

    code: int | None
    seconds: float
    leftovers: list[str]
    traces: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    floors_ms: dict[str, float] = field(default_factory=dict)  # by workload: least time
    stderr: str = ""
    faults: list[str] = field(default_factory=list)

    def evaluation(self, solution: str, workload: str) -> dict[str, Any] | None:
        """The evaluation of a pair; None where there is no trace."""
        return self.traces.get(solution, {}).get(workload)

    def logs(self, solution: str | None = None) -> list[str]:
        """What was logged for one solution, or for all."""
        chosen = [solution] if solution else list(self.traces)
        found = [e for name in chosen for e in self.traces.get(name, {}).values()]
        return [str(evaluation.get("log", "")) for evaluation in found]


def prepare(corpus: Corpus, entries: Sequence[Entry], grounds: Grounds, options: Options) -> None:
    """Make the run's dataset: definitions, workloads, entries and controls in order."""
    names = {entry.definition for entry in entries}
    if corpus.folder is None:
        _own_definitions(grounds.dataset, names)
    else:
        for part in ("definitions", "workloads", "blob"):
            shutil.copytree(corpus.folder / part, grounds.dataset / part)
        if options.most_mb:
            _shrink(grounds.dataset, options.most_mb)
    controls = followed(entries, options.every)
    for block, name in enumerate(sorted(names)):
        honest, bad = corpus.canaries[name]
        first = block * BLOCK
        _put(grounds, first, _document(corpus, name, honest, grounds), f"{BEFORE}_{name}")
        own = [entry for entry in entries if entry.definition == name]
        for position, entry in enumerate(own, first + 1):
            _put(grounds, position, _document(corpus, name, entry.id, grounds), entry.id)
            if entry.must == "no_credit" and entry.control:
                document = _document(corpus, name, entry.control, grounds)
                _put(grounds, position, document, f"{entry.id}__control")
            if controls[entry.id] == entry.id:
                document = _document(corpus, name, honest, grounds)
                _put(grounds, position, document, entry.id + AFTER)
                _put(grounds, position, _document(corpus, name, bad, grounds), entry.id + BAD)


def followed(entries: Sequence[Entry], every: int) -> dict[str, str]:
    """For each entry the one after which its controls come: it, or a later one."""
    found: dict[str, str] = {}
    for name in {entry.definition for entry in entries}:
        own = [entry.id for entry in entries if entry.definition == name]
        for first in range(0, len(own), every):
            block = own[first : first + every]
            found.update(dict.fromkeys(block, block[-1]))
    return found


def add_malformed(corpus: Corpus, names: Sequence[str], grounds: Grounds) -> None:
    """Put malformed files among the solutions, and faults into the dataset."""
    for number, name in enumerate(names):
        if name in faults.FAULTS:
            faults.FAULTS[name](grounds.dataset)
            continue
        folder = grounds.dataset / "solutions" / f"{number % 7:05d}m" / name
        folder.mkdir(parents=True)
        if corpus.folder is None:
            malformed.write(name, folder)
        else:
            shutil.copy(corpus.folder / "malformed" / f"{name}.json", folder)


def run(
    grounds: Grounds, options: Options, *, workloads: Sequence[str], seconds: float,
    solutions: Sequence[str] = (),
) -> Ran:  # fmt: skip
    """Call the evaluator once. `seconds`: it must have ended by then."""
    grounds.clear_marks()
    shutil.rmtree(grounds.output, ignore_errors=True)
    grounds.watch()
    report = grounds.folder / "report.json"
    report.unlink(missing_ok=True)
    command = [
        options.python, str(SCRIPTS / "bench.py"), "--dataset", str(grounds.dataset),
        "--output", str(grounds.output), "--device", options.device, "--json",
        "--warmup-runs", str(options.warmup), "--iterations", str(options.iterations),
        "--num-trials", str(options.trials), "--timeout", f"{options.timeout:g}",
        "--max-seconds-per-workload", f"{options.seconds:g}",
    ]  # fmt: skip
    command += ["--workloads", ",".join(workloads)] if workloads else []
    command += ["--solutions", ",".join(solutions)] if solutions else []
    with open(grounds.folder / "stdout", "wb") as out, open(grounds.folder / "stderr", "wb") as err:
        subprocess.run(
            [sys.executable, str(SUPERVISOR), str(report), f"{seconds:g}", "--", *command],
            env=grounds.environment(), stdout=out, stderr=err, cwd=grounds.folder, check=True,
        )  # fmt: skip
    return _read(grounds, report, on_cuda=options.device.startswith("cuda"))


def _read(grounds: Grounds, report: Path, *, on_cuda: bool) -> Ran:
    ran = Ran(**json.loads(report.read_text()))
    ran.stderr = (grounds.folder / "stderr").read_text(encoding="utf-8", errors="replace")
    for path in sorted(grounds.output.rglob("traces/*/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            trace = json.loads(line)
            pairs = ran.traces.setdefault(trace["solution"], {})
            pairs[trace["workload"]["uuid"]] = trace["evaluation"]
    ran.faults = list(_faults(grounds, ran))
    ran.floors_ms = _floors(grounds, TB_PER_S["cuda" if on_cuda else "cpu"])
    return ran


def _floors(grounds: Grounds, speed: float) -> dict[str, float]:
    """Milliseconds in which no device moves a workload's inputs and outputs once."""
    dataset = Dataset.open(grounds.dataset)
    known = dataset.definitions()
    lines = [loaded.value for loaded in dataset.load_workloads() if loaded.value is not None]
    return {
        line.workload.uuid: _bytes(known[line.definition], line.workload.axes) / (speed * 1e9)
        for line in lines
        if line.definition in known
    }


def _bytes(definition: Definition, axes: Mapping[str, int]) -> float:
    """Of all inputs and outputs."""
    specs = {**definition.inputs, **definition.outputs}
    return sum(
        math.prod(definition.shape_of(name, dict(axes)) or ()) * ITEM_BYTES[spec.dtype.value]
        for name, spec in specs.items()
    )


def _shrink(folder: Path, most_mb: float) -> None:
    """Halve the largest axis of each workload until its tensors are small enough."""
    folder.joinpath("workloads").chmod(0o755)
    dataset = Dataset.open(folder)
    for definition in dataset.definitions().values():
        lines = dataset.workloads_of(definition)
        for line in lines:
            axes = line.workload.axes
            while _bytes(definition, axes) > most_mb * 1e6 and max(axes.values()) > 1:
                axes[max(axes, key=lambda axis: axes[axis])] //= 2
        dataset.write_workloads(definition, lines)


def _faults(grounds: Grounds, ran: Ran) -> Iterator[str]:
    """What must not be, whatever the entries are."""
    if ran.code is None:
        yield f"the evaluator did not end within {ran.seconds:.0f} s"
    elif ran.code not in (0, 1):
        last = ran.stderr.strip().splitlines()[-1:] or ["without a word"]
        yield f"the evaluator ended with code {ran.code}: {last[0]}"
    if "Traceback (most recent call last)" in ran.stderr:
        yield f"the evaluator crashed: {ran.stderr.strip().splitlines()[-1]}"
    elif ran.code in (0, 1):
        try:
            json.loads((grounds.folder / "stdout").read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"stdout is not one JSON document: {error}"
    yield from (f"a process is left: {process}" for process in ran.leftovers)
    yield from grounds.changes()


def _own_definitions(dataset: Path, names: set[str]) -> None:
    target = Dataset.create(dataset)
    for name, definition in definitions.definitions().items():
        if name in names:
            target.write_definition(definition)
            target.write_workloads(definition, definitions.workloads(definition))


def _document(corpus: Corpus, definition: str, name: str, grounds: Grounds) -> dict[str, Any]:
    """The solution `name` of a corpus; a known-bad control that does not lie there is made."""
    if corpus.folder is None:
        entry, path = corpus.entry(name), sources.ids()[name]
        return solution(
            name, definition, entry.style, entry.language,
            sources.sources(path, grounds.constants()), sources.entry_point(path),
        )  # fmt: skip
    found = list(corpus.folder.glob(f"solutions/*/{definition}/{name}.json"))
    if found:
        return json.loads(found[0].read_text())
    document = json.loads(next(corpus.folder.glob(f"definitions/*/{definition}.json")).read_text())
    return solution(name, definition, False, "python", [{"path": "main.py", "content": (
        "import torch\n\n\n"
        f"def run({', '.join(document['inputs'])}):\n"
        f"    shape = reference({', '.join(document['inputs'])})\n"
        "    return torch.zeros_like(shape)\n\n\n"
        + document["reference"].replace("def run(", "def reference(")
    )}])  # fmt: skip


def solution(
    name: str, definition: str, style: bool, language: str, files: sources.Sources,
    entry_point: str = "main.py::run",
) -> dict[str, Any]:  # fmt: skip
    """A solution's document."""
    return {
        "name": name, "definition": definition, "author": "corpus",
        "spec": {
            "language": language, "target_hardware": ["cpu", "cuda"],
            "entry_point": entry_point, "dependencies": [], "destination_passing_style": style,
        },
        "sources": files,
    }  # fmt: skip


def _put(grounds: Grounds, position: int, document: dict[str, Any], name: str) -> None:
    """Write a solution under a new name; files are read in the order of `position` and `name`."""
    folder = grounds.dataset / "solutions" / f"{position:05d}"
    folder.mkdir(parents=True, exist_ok=True)
    order = {BAD: "4", AFTER: "3", "__control": "2"}
    number = next((n for suffix, n in order.items() if name.endswith(suffix)), "1")
    text = json.dumps({**document, "name": name})
    (folder / f"{number}_{name}.json").write_text(text)
    os.chmod(folder / f"{number}_{name}.json", 0o644)
