"""Run a module's tests on its mutants: collected once, then one fork for each mutant.

The clean run comes first. It shows that the tests pass, warms what forks share, and tells which
tests enter which functions: a mutant is tried on those alone, the quickest first.
"""

from __future__ import annotations

import importlib
import os
import random
import resource
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from mistakes import Mutant, mutants
from planting import plant

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "scripts" / "kernelkit" / "bench"
MOST_MEMORY = 24 << 30  # bytes of address space: a mutated size shall not take the machine along
LEAST_SECONDS, SLOWER = 10.0, 5.0  # a mutant's time limit: at least, and times the clean run's


@dataclass(frozen=True)
class Result:
    """What became of a mutant: killed, timeout, survived, or no test enters its function."""

    mutant: Mutant
    fate: str
    test: str = ""


@dataclass
class Trial:
    """A pytest plugin that runs the collected tests on each mutant of a module."""

    file: str  # below kernelkit/bench
    only: str
    progress: Callable[[list[Mutant]], Sequence[Mutant]]
    results: list[Result] = field(default_factory=list)
    problem: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    entered: dict[str, set[int]] = field(default_factory=dict)  # first lines of code, by test

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Called by pytest in place of its own loop."""
        import torch

        torch.set_num_threads(1)
        path = BENCH / self.file
        module = importlib.import_module(module_name(self.file))
        items = list(session.items)
        if not self._clean_run(items, str(path)):
            return True
        items.sort(key=lambda item: self.seconds[item.nodeid])
        limit_s = max(LEAST_SECONDS, SLOWER * sum(self.seconds.values()))
        found = [mutant for mutant in mutants(path.read_text()) if self.only in mutant.key]
        for mutant in self.progress(found):
            chosen = [i for i in items if mutant.code_line in self.entered[i.nodeid] | {0}]
            fate = attempt(module, mutant, chosen, limit_s) if chosen else ("no test enters", "")
            self.results.append(Result(mutant, *fate))
        return True

    def _clean_run(self, items: list[pytest.Item], path: str) -> bool:
        for place, item in enumerate(items):
            lines = self.entered[item.nodeid] = set()
            start = time.perf_counter()
            sys.setprofile(_recorder(path, lines))
            reports = runtestprotocol(item, log=False, nextitem=_next(items, place))
            sys.setprofile(None)
            self.seconds[item.nodeid] = time.perf_counter() - start
            failed = [report for report in reports if report.failed]
            if failed:
                self.problem = f"fails without any mutant: {item.nodeid}\n{failed[0].longrepr}"
                return False
        return True


def module_name(file: str) -> str:
    """The module's name for import."""
    return ".".join(["kernelkit", "bench", *Path(file).with_suffix("").parts])


def _recorder(path: str, lines: set[int]) -> Callable[[types.FrameType, str, object], None]:
    def record(frame: types.FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename == path:
            lines.add(frame.f_code.co_firstlineno)

    return record


def _next(items: Sequence[pytest.Item], place: int) -> pytest.Item | None:
    return items[place + 1] if place + 1 < len(items) else None


def attempt(
    module: types.ModuleType, mutant: Mutant, items: Sequence[pytest.Item], limit_s: float
) -> tuple[str, str]:
    """("killed", test), ("survived", "") or ("timeout", "") of one fork."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _child(module, mutant, items, writing)
    os.close(writing)
    ready = select.select([reading], [], [], limit_s)[0]
    said = os.read(reading, 4096).decode() if ready else "timeout "
    os.close(reading)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    fate, _, test = (said or "killed the process died").partition(" ")
    return fate, test


def _child(
    module: types.ModuleType, mutant: Mutant, items: Sequence[pytest.Item], writing: int
) -> None:
    """Never returns."""
    text = "killed while importing"
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
        plant(module, mutant.tree)
        text = _first_failure(items)
    except BaseException as error:
        text = f"killed {type(error).__name__} {text}"
    finally:
        os.write(writing, text.encode()[:4096])
        signal.pause()  # the parent ends the whole group
        os._exit(0)


def _first_failure(items: Sequence[pytest.Item]) -> str:
    import torch

    random.seed(0)
    torch.manual_seed(0)
    for place, item in enumerate(items):
        reports = runtestprotocol(item, log=False, nextitem=_next(items, place))
        if any(report.failed for report in reports):
            return f"killed {item.nodeid}"
    return "survived "


def try_module(
    file: str, tests: Sequence[str], only: str, progress: Callable[..., Sequence[Mutant]]
) -> list[Result]:
    """The fate of all mutants of a module. Raises SystemExit where its tests fail by themselves."""
    os.chdir(ROOT)
    trial = Trial(file, only, progress)
    options = ["-qq", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    code = pytest.main([*options, *tests], plugins=[trial])
    if trial.problem or not trial.seconds:
        raise SystemExit(f"{file}: {trial.problem or f'no tests were run, pytest says {code}'}")
    return trial.results
