"""Run a solution's calls in a process of its own, and read what came back. Nothing is unpickled.

This serves the solution's author: it holds nothing that a hostile solution could not get around.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, path_fault
from kernelkit.errors import FormatError
from kernelkit.solutions.doctor.cases import Case

if TYPE_CHECKING:
    import torch

_CHILD = "from kernelkit.solutions.doctor.child import main; main()"
_TAIL = 800  # characters of what the process said last


@dataclass
class Answer:
    """What one call came to: an error, or outputs with what they are."""

    error: str = ""
    kind: str = ""  # the class of the error
    outputs: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] | None = None  # of a returned dict
    returned: str = ""
    changed: list[str] = field(default_factory=list)  # inputs that are no longer what they were
    draws: int = 1
    tensors: dict[int, torch.Tensor] = field(default_factory=dict)


@dataclass
class Session:
    """All answers by call, and how the process ended."""

    answers: dict[str, Answer] = field(default_factory=dict)
    parameters: list[str] | None = None
    setup: list[str] | None = None
    load_error: str = ""
    load_kind: str = ""
    ended: str = ""  # "" at its end, else how: a signal, the limit of time
    during: str = ""  # the call in which it ended
    said: str = ""


@dataclass(frozen=True)
class Job:
    """What to run: sources, how they are built, on which device, and for how long at most."""

    definition: Definition
    spec: BuildSpec
    sources: Mapping[str, str]
    device: str
    seconds: float


def run_calls(job: Job, cases: Sequence[Case], calls: Sequence[dict[str, Any]]) -> Session:
    """The session of these calls. Raises FormatError for sources that cannot be laid out."""
    with tempfile.TemporaryDirectory(prefix="kernelkit_doctor_") as temporary:
        folder = Path(temporary)
        _lay_out(folder, job, cases, calls)
        session = Session(ended=_how(execute(folder, job), job))
        _read(folder, session, job.device)
        session.said = (folder / "said.txt").read_text(errors="replace").strip()[-_TAIL:]
    return session


def _lay_out(
    folder: Path, job: Job, cases: Sequence[Case], calls: Sequence[dict[str, Any]]
) -> None:
    from safetensors.torch import save_file

    if bad := [path for path in job.sources if path_fault(path)]:
        raise FormatError("a source path is unsafe", received=bad[0])
    for path, text in job.sources.items():
        file = folder / "code" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "work").mkdir()
    shown = {}
    for case in cases:
        tensors = {n: v for n, v in case.inputs.items() if hasattr(v, "is_floating_point")}
        save_file(
            {n: t.cpu().contiguous().clone() for n, t in tensors.items()},
            folder / f"{case.name}.safetensors",
        )
        scalars = {n: v for n, v in case.inputs.items() if n not in tensors}
        shown[case.name] = {"scalars": scalars, "outputs": _forms(case)}
    document = {
        "spec": job.spec.model_dump(mode="json"), "device": job.device, "cases": shown,
        "inputs": list(job.definition.inputs), "calls": list(calls),
        "passing": job.spec.destination_passing_style,
    }  # fmt: skip
    (folder / "job.json").write_text(json.dumps(document), encoding="utf-8")


def _forms(case: Case) -> list[tuple[list[int], str]]:
    """Shape and dtype of each output, as the reference gives them."""
    return [
        (list(t.shape), str(t.dtype).removeprefix("torch.")) for t in (case.want or {}).values()
    ]


def execute(folder: Path, job: Job) -> int | None:
    """The exit code of the process, None where it was ended at its limit. Its group is ended.

    On a CPU it has as many threads as this process (consult: one for tiny tensors)."""
    import torch

    own = {"PYTHONPATH": places.import_path(), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **own}
    if job.device == "cpu":
        environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder / "work",
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(job.seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_group(process)


def _how(code: int | None, job: Job) -> str:
    """How the process ended; "" where it came to its end."""
    if code is None:
        return f"no end after {job.seconds:g} s"
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with exit code {code}" if code else ""


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing of the group is left
    process.wait()


def _read(folder: Path, session: Session, device: str) -> None:
    """The answers as far as they came."""
    from safetensors.torch import load_file

    file = folder / "results.jsonl"
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        line = json.loads(text)
        name = line.pop("call")
        if name == "load":
            session.parameters, session.setup = line.get("parameters"), line.get("setup")
            session.load_error, session.load_kind = line.get("error", ""), line.get("kind", "")
            session.during = "" if session.load_error else session.during
        elif line.get("started"):
            session.during = name
        else:
            answer = session.answers[name] = Answer(**line)
            session.during = ""
            if not answer.error:
                tensors = load_file(folder / f"out_{name}.safetensors")
                answer.tensors = {int(i): t.to(device) for i, t in tensors.items()}
