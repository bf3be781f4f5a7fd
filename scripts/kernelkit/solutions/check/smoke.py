"""Run a solution on tiny inputs in a process of its own, with a limit of time.

This is a check for its author, no judgement: it holds nothing that a hostile solution could not
get around. What a solution is worth is the evaluator's to say.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec, path_fault
from kernelkit.errors import MissingDependencyError, UsageError
from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import PYTHONS

_WORKER = "from kernelkit.solutions.check.smoke_worker import main; main()"
SHARE = 0.5  # of the limit: no trial begins later
_TAIL = 600  # characters of what the process said last


def require(device: str) -> None:
    """Raises MissingDependencyError where torch or the device is absent, UsageError otherwise."""
    if find_spec("torch") is None:
        raise MissingDependencyError("--smoke needs torch", next_step="pip install torch")
    if device == "cpu":
        return
    import torch

    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdigit()):
        raise UsageError("no such device", received=device, allowed="cpu, cuda, cuda:1 ...")
    if not torch.cuda.is_available() or int(number or 0) >= torch.cuda.device_count():
        raise MissingDependencyError(
            "no such CUDA device", received=device, next_step="--device cpu runs without one"
        )


def smoke(
    spec: BuildSpec, definition: Definition, sources: dict[str, str], device: str, seconds: float
) -> list[Finding]:
    """The findings of one smoke run (KS900 to KS916)."""
    if reason := _why_not(spec, sources, device):
        return [Finding("KS900", spec.entry_file, reason)]
    with tempfile.TemporaryDirectory(prefix="kernelkit_smoke_") as temporary:
        folder = Path(temporary)
        lay_out(folder, sources)
        job = {"spec": spec.model_dump(mode="json"), "definition": definition.to_text(),
               "device": device, "seconds": SHARE * seconds}  # fmt: skip
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        ended = _execute(folder, device, seconds)
        found = [Finding(code, spec.entry_file, text) for code, text in _answers(folder)]
        said = (folder / "said.txt").read_text(errors="replace").strip()[-_TAIL:]
        if ended is None:
            found.append(Finding("KS903", spec.entry_file, f"no end after {seconds:g} s"))
        elif ended:
            how = f"signal {-ended}" if ended < 0 else f"exit code {ended}"
            text = f"the process ended with {how}{': ' if said else ''}{said}"
            found.append(Finding("KS903", spec.entry_file, text))
    return found


def _why_not(spec: BuildSpec, sources: dict[str, str], device: str) -> str:
    """Why the solution cannot be run here; "" where it can."""
    if spec.language not in PYTHONS:
        return f"{spec.language.value} has to be built first: measure it on a machine with a GPU"
    if spec.entry_file not in sources or any(path_fault(path) for path in sources):
        return "its files cannot be laid out"
    uses_triton = any("import triton" in text or "from triton" in text for text in sources.values())
    if device == "cpu" and uses_triton and find_spec("triton") is None:
        return "Triton's interpreter needs the package triton"
    return ""


def lay_out(folder: Path, sources: dict[str, str]) -> None:
    """The sources under code/, and an empty working folder."""
    for path, text in sources.items():
        file = folder / "code" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (folder / "work").mkdir()


def _execute(folder: Path, device: str, seconds: float) -> int | None:
    """The exit code of the process, None where it was ended at its limit. Its group is ended."""
    own = {"PYTHONPATH": places.import_path(), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **own}
    if device == "cpu":
        environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(folder)],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder / "work",
            env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing of the group is left
    process.wait()


def _answers(folder: Path) -> list[tuple[str, str]]:
    """What the worker wrote, as far as it came."""
    file = folder / "answers.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [(code, text) for code, text in map(json.loads, lines)]
