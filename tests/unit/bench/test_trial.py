"""Calls one by one: which of them are judged, and when the process may not run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kernelkit.bench import trial as trials
from kernelkit.bench.settings import Settings
from kernelkit.bench.trial import Trial


class Process:
    """Answers as a process does; notes when it is stopped."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def ask(self, do: str, seconds: float, **arguments: Any) -> dict[str, Any]:
        self.log.append(do)
        return {"ok": True, "setup_ms": 1.0}

    def freeze(self) -> None:
        self.log.append("freeze")


class Verifier:
    """Finds every call right; the tables of each are new."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.full = log, []

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.log.append(do)
        if do == "check":
            self.full.append(arguments["full"])
        return {"index_changed": True, "status": "PASSED", "message": ""}


def _trial(settings: Settings, setup: list[str] | None = None) -> tuple[Trial, list[str]]:
    log: list[str] = []
    control = SimpleNamespace(net_ms=lambda elapsed, copied: 1.0)
    ground = SimpleNamespace(control=control, slots=1, samples=False, probes=[], floor_ms=0.0)
    spec = SimpleNamespace(destination_passing_style=False)
    solution = SimpleNamespace(spec=spec)
    made = Trial(Verifier(log), Process(log), ground, solution, settings, setup)  # type: ignore[arg-type]
    return made, log


@pytest.mark.parametrize("calls", [3, 5, 9])
def test_few_calls_are_judged_all_however_long_it_takes(
    calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = _trial(Settings(iterations=calls, trials=3))
    made.judging = 1e9
    made.chance = SimpleNamespace(random=lambda: 0.99)  # type: ignore[assignment]
    assert [len(samples) for samples in made._timed()] == [calls] * 3
    judged = sum(made.verifier.full)  # type: ignore[attr-defined]
    assert judged == 3 * min(calls, trials.FIRST_JUDGED) > 3 * calls / 2


def test_a_process_is_stopped_whenever_contents_are_written() -> None:
    made, log = _trial(Settings(), setup=["kv_indptr"])
    made.call("first", "0/0", full=True)
    made.call("second", "0/1", full=True)
    for number, what in enumerate(log):
        if what == "fill" and number > 1:
            assert log[number - 1] != "setup", log
    assert log[1:4] == ["setup", "freeze", "fill"]
    assert log[4:6] == ["call", "freeze"]
