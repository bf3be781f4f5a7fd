"""The recorder's benchmark: a wandering clock cancels, and the recorder is really switched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import recorder_overhead  # noqa: E402

from kernelkit.capture.recorder import settings  # noqa: E402

BLOCK, BLOCKS = 16, 40
RUNNER = """
import types
from kernelkit.capture.recorder import steps
from kernelkit.capture.recorder.wrapping import observer

class Batch:
    forward_mode = types.SimpleNamespace(name="DECODE")

class ModelRunner:
    def forward(self, batch):
        return "off" if observer().off else "on"

module = types.ModuleType("model_runner")
module.ModelRunner = ModelRunner
steps.follow(module)
runner = ModelRunner()
print(*[runner.forward(Batch()) for _ in range(49)])
"""


def watched(cost: float, speeds: dict[int, float]) -> str:
    """The lines of a run whose steps take 10 ms, `cost` of it more when on, on a host that becomes
    slower from some blocks on."""
    lines, clock, speed = [], 0.0, 1.0
    for number in range(BLOCK * BLOCKS):
        block = number // BLOCK
        speed = speeds.get(block, speed)
        lines.append(f"{block} {block % 2} {clock:.0f} {clock:.0f} {2 * clock:.0f}")
        clock += 1e7 * speed * (1 + cost * (block % 2))
    return "\n".join(lines)


@pytest.mark.parametrize("cost", [0.0, 0.03, 0.3])
def test_a_host_that_changes_its_speed_does_not_change_the_verdict(cost: float) -> None:
    found = recorder_overhead.overhead(watched(cost, {7: 1.7, 18: 1.0, 31: 1.8}))
    assert found["overhead_percent"] == pytest.approx(100 * cost, abs=0.1)
    assert len(found["percent_of_pairs"]) == BLOCKS // 2
    assert found["process_cpu_ms"]["off"] == pytest.approx(2 * found["caller_cpu_ms"]["off"])


def test_the_recorder_is_off_and_on_by_turns(tmp_path: Path) -> None:
    order = tmp_path / "recorder.json"
    settings.Settings(str(tmp_path / "record")).write(order)
    base = {**os.environ, "PYTHONPATH": str(recorder_overhead.WATCH),
            "KERNELKIT_STEPWATCH": str(tmp_path / "steps.txt")}  # fmt: skip
    environment = {**base, **settings.environment(order, base)}
    done = subprocess.run(
        [sys.executable, "-c", RUNNER], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["off"] * 16 + ["on"] * 16 + ["off"] * 16 + ["on"]
    lines = (tmp_path / "steps.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split()[:2] for line in lines[::16]] == [["0", "0"], ["1", "1"], ["2", "0"]]
