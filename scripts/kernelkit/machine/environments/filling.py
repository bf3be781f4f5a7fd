"""Fill the folder of an environment: the virtual environment, its packages, and whether they work.

Each part of it is a Step, so that what would be done can be shown without doing it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import KernelkitError
from kernelkit.machine.environments import contents
from kernelkit.machine.environments.request import LOG, Request
from kernelkit.machine.environments.steps import Step, carry_out
from kernelkit.machine.facts import run


def python_runs(request: Request) -> bool:
    """Whether the environment has a Python that runs, with pip in it."""
    try:
        return run([str(request.python), "-c", "import pip"], 60.0).code == 0
    except OSError:
        return False


def venv(request: Request) -> Step:
    """The step that makes the virtual environment."""
    words = request.installer.venv(request.interpreter, request.build)
    return Step(f"a virtual environment with Python {request.lock.python}", words)


def start(request: Request) -> Step:
    """Make the virtual environment. What is there has no running Python: it goes, the log stays."""
    for entry in request.build.iterdir():
        if entry.name != LOG:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    _carry_out(request, step := venv(request))
    return step


def installs(request: Request, wanted: list[str]) -> list[Step]:
    """The pins are complete, so that no dependency is looked for: what is named is what comes.

    torch for a CPU is the exception: where only a CUDA build can be had, that needs its libraries.
    """
    lock, install, python = request.lock, request.installer.install, request.python
    steps = []
    torch = [pin for pin in wanted if lock.torch_index and pin.startswith("torch==")]
    if torch and lock.torch_index:
        words = install(python, ["--no-deps", *torch], index=lock.torch_index, impatient=True)
        steps.append(Step(f"{torch[0]} from {lock.torch_index}", words, optional=True))
        words = install(python, ["-c", str(lock.path), *torch])
        steps.append(Step(f"{torch[0]} from the default index", words, fallback=True))
    rest = [pin for pin in wanted if pin not in torch]
    if rest:
        words = install(python, ["--no-deps", *rest])
        steps.append(Step(f"{len(rest)} of {len(lock.pins)} pins of {lock.path.name}", words))
    return steps


def install(request: Request) -> list[Step]:
    """Carry the installs out; the second of two ways to torch only where the first fails."""
    done: list[Step] = []
    went_well = True
    for step in installs(request, contents.missing(request.build, request.lock.pins)):
        if step.fallback and went_well:
            continue
        if went_well := _carry_out(request, step):
            done.append(step)
    return done


def _carry_out(request: Request, step: Step) -> bool:
    cli.say(f"{step.what} ...")
    went_well = carry_out(step, request.build / LOG, request.seconds, temporary(request))
    if not went_well:
        cli.say(f"{step.what}: not to be had")
    return went_well


def temporary(request: Request) -> Path:
    """Where the installer puts what it unpacks: beside the packages, not on a small /tmp."""
    return request.build / "tmp"


def check(request: Request) -> Step:
    """The step that imports what the lock promises."""
    code = "; ".join(f"import {name}" for name in request.lock.imports)
    return Step("imports", [str(request.python), "-c", code])


def verify(request: Request) -> list[str]:
    """Everything is there, imports, and agrees; returns what disagrees where the lock knows it."""
    if absent := contents.missing(request.build, request.lock.pins):
        raise KernelkitError(
            "the installer ended well and pins are missing", received=", ".join(absent[:5])
        )
    _carry_out(request, check(request))
    answer = run(request.installer.check(request.python), 300.0)
    if answer.code == 0:
        return []
    lines = [line.strip() for line in (answer.out + answer.said).splitlines() if line.strip()]
    if request.lock.is_consistent:
        raise KernelkitError("packages contradict each other", received="; ".join(lines[:5]))
    return lines
