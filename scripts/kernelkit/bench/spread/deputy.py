"""A process that evaluates what it is given, on one device, with one evaluator for all of it.

It reads lines of JSON: first what to evaluate with ({"dataset", "settings", "engine"}), then plans.
It answers each plan with lines: {"trace"} and {"text"} as they come, {"end"} after the last, or
{"raised", "code"}. When its input ends it ends, too: at once, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import IO, Any

from kernelkit.bench.evaluation import engine
from kernelkit.bench.settings import Settings
from kernelkit.bench.spread.parcel import unpack
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.errors import KernelkitError


def main() -> int:
    """Serve until the input ends; returns the exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what else prints must not stand among the answers
    plans: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    first = json.loads(sys.stdin.readline())
    threading.Thread(target=_listen, args=(plans,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        _serve(first, plans, answers)
    return 0


def _listen(plans: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    """Take plans in. At the end the main thread is interrupted, be it waiting or at work."""
    with contextlib.suppress(ValueError):  # a line cut short: whoever wrote it is gone
        for line in sys.stdin:
            plans.put(json.loads(line))
    os.kill(os.getpid(), signal.SIGINT)


def _serve(
    first: dict[str, Any], plans: queue.SimpleQueue[dict[str, Any] | None], answers: IO[str]
) -> None:
    def answer(**document: object) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    try:
        settings = Settings(**first["settings"])
        with engine(first["engine"], Dataset(Path(first["dataset"])), settings) as evaluate:
            while (plan := plans.get()) is not None:
                for found in evaluate(unpack(plan)):
                    whole = isinstance(found, Trace)
                    answer(**({"trace": found.to_json()} if whole else {"text": found}))
                answer(end=True)
    except KernelkitError as error:
        answer(raised=str(error), code=error.exit_code)


if __name__ == "__main__":
    raise SystemExit(main())
