"""Switches the recorder of this process on and off by turns, and writes when each step began.

`recorder_overhead.py` puts this folder behind the recorder's on PYTHONPATH, whose sitecustomize
runs it. A line for each decode step, into the file that KERNELKIT_STEPWATCH names: number of the
block, whether the recorder was on, nanoseconds of the clock, of this thread and of the process.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCK = 16  # steps: short next to the changes of a shared host's speed


def _watch(target: Path) -> None:
    from kernelkit.capture.recorder import steps

    stepping = steps._stepping
    lines: list[str] = []
    count = 0

    def watched(method: Callable[..., Any]) -> Callable[..., Any]:
        def forward(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            if getattr(getattr(batch, "forward_mode", None), "name", None) == "DECODE":
                block, within = divmod(count, BLOCK)
                if within == 0:
                    with target.open("a", encoding="utf-8") as file:
                        file.writelines(lines)
                    lines.clear()
                    _switch(on=block % 2 == 1)
                count += 1
                times = time.perf_counter_ns(), time.thread_time_ns(), time.process_time_ns()
                lines.append(" ".join(map(str, (block, block % 2, *times))) + "\n")
            return method(self, batch, *args, **kwargs)

        return stepping(forward)

    steps._stepping = watched


def _switch(*, on: bool) -> None:
    from kernelkit.capture.recorder.wrapping import observer

    observer().off = not on


if "KERNELKIT_STEPWATCH" in os.environ:
    _watch(Path(os.environ["KERNELKIT_STEPWATCH"]))
