"""The process of a smoke run: loads the solution, calls it on tiny inputs, writes findings.

Each finding is one line of answers.jsonl, written at once: where the process dies, they are kept.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import BuildSpec

MOST_BYTES = 1 << 30  # inputs and outputs of one call
NEEDS_CUDA = re.compile(
    r"(?i)no cuda|nvidia driver|not compiled with cuda|cuda driver|cuda_home|nvcc|"
    r"must be (on )?(a )?cuda|expected (a )?cuda|is_cuda|cuda tensor|cuda device|no gpu|"
    r"needs (a |an )?(gpu|cuda|nvidia)|arguments from the 'CPU' backend|libcuda|0 active drivers"
)


class Skip(Exception):
    """The run cannot be done here; no fault of the solution."""


def main() -> None:
    """Run the job in the folder that the command line names."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    sys.argv = ["solution"]
    report = Report(folder)
    try:
        run_job(folder, job, report)
    except Skip as reason:
        report("KS900", str(reason))
    sys.stdout.flush()
    os._exit(0)  # not held up by threads that the solution left


class Report:
    """Writes findings, each once."""

    def __init__(self, folder: Path) -> None:
        self.file = open(folder / "answers.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self.told: set[tuple[str, str]] = set()

    def __call__(self, code: str, text: str) -> None:
        """One finding."""
        if (code, text) not in self.told:
            self.told.add((code, text))
            self.file.write(json.dumps([code, text]) + "\n")
            self.file.flush()


def run_job(folder: Path, job: dict[str, Any], report: Callable[[str, str], None]) -> None:
    """Load the solution under code/ and do its trials. Raises Skip where that cannot be here."""
    import torch

    from kernelkit.ops import base, family_or_generic
    from kernelkit.solutions.check.smoke_subject import Subject
    from kernelkit.solutions.check.smoke_trials import run_trials

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    definition = Definition.model_validate_json(job["definition"])
    spec = BuildSpec.model_validate(job["spec"])
    family = family_or_generic(definition.op_type)
    axes = family.small_axes(definition)
    if base.all_bytes(definition, axes) > MOST_BYTES:
        size = base.all_bytes(definition, axes) / 2**30
        raise Skip(f"even tiny inputs take {size:.1f} GiB: derive one of smaller constants")
    inputs = family.make_inputs(definition, axes, seed=0, device=job["device"])
    reference = _reference(definition)
    if job["device"] == "cpu":
        _stand_ins()
    loaded = _load(folder / "code", spec, job["device"], report)
    if loaded is None:
        return
    pending = [loaded]

    def load() -> tuple[Any, Any]:
        """The module just loaded, then one loaded anew each time."""
        module = pending.pop() if pending else _import(folder / "code", spec)
        return getattr(module, spec.entry_symbol), getattr(module, "setup", None)

    subject = Subject(
        load, reference, definition, spec.destination_passing_style, str(folder / "code"),
        lambda error: _needs_cuda(error, job["device"]),
    )  # fmt: skip
    try:
        run_trials(subject, family, inputs, report, job["seconds"])
    except CudaNeeded as error:
        raise Skip(f"needs a CUDA device: {error}") from None


class CudaNeeded(Exception):
    """A call said that it needs a CUDA device."""


def _needs_cuda(error: BaseException, device: str) -> None:
    """Raises CudaNeeded where an error on the CPU says that a GPU is needed."""
    if device == "cpu" and NEEDS_CUDA.search(f"{type(error).__name__}: {error}"):
        raise CudaNeeded(str(error).strip().splitlines()[0][:200] if str(error).strip() else "")


def _reference(definition: Definition) -> Callable[..., Any]:
    namespace: dict[str, Any] = {"__name__": "reference"}
    exec(compile(definition.reference, f"{definition.name}.reference", "exec"), namespace)
    return namespace["run"]


def _load(code: Path, spec: BuildSpec, device: str, report: Callable[[str, str], None]) -> Any:
    """The entry module, or None where it does not load (which is reported)."""
    from kernelkit.bench.isolation.calling import PACKAGE, describe

    try:
        module = _import(code, spec)
        if not callable(getattr(module, spec.entry_symbol)):
            raise TypeError(f"{spec.entry_symbol} is not callable")
        return module
    except ModuleNotFoundError as error:
        top = (error.name or "").split(".")[0]
        own = top == PACKAGE or (code / top).is_dir() or (code / f"{top}.py").is_file()
        if top and not own and importlib.util.find_spec(top) is None:
            raise Skip(f"the package {top} is not installed") from None
        report("KS901", describe(error, str(code)))
    except BaseException as error:  # also SystemExit
        try:
            _needs_cuda(error, device)
        except CudaNeeded as reason:
            raise Skip(f"needs a CUDA device to load: {reason}") from None
        report("KS901", describe(error, str(code)))
    return None


def _import(code: Path, spec: BuildSpec) -> Any:
    """The entry module, its own files loaded anew."""
    from kernelkit.bench.isolation.calling import PACKAGE, load_module

    for name in [n for n in sys.modules if n == PACKAGE or n.startswith(f"{PACKAGE}.")]:
        del sys.modules[name]
    return load_module(code, spec.entry_file)


def _stand_ins() -> None:
    """Device guards and synchronisation mean nothing without a device: let them pass."""
    import torch

    for name in ("device", "device_of"):
        setattr(torch.cuda, name, lambda *_: nullcontext())
    torch.cuda.synchronize = lambda *_: None
