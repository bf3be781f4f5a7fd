"""A GPU's batches on a CPU, in one process: the real verifier, worker, control and trial.

What is simulated is the driver: events are readings of a clock that only calls of solutions move
on, the gate is open at once, copies are made at once. Requests and answers go through JSON, as
between processes.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kernelkit.bench.clock.control import Control
from kernelkit.bench.clock.cuda_driver import Stopwatch
from kernelkit.bench.entry import Ground
from kernelkit.bench.given import reference_solution
from kernelkit.bench.isolation import worker
from kernelkit.bench.isolation.arena import HostMemory, layout_of
from kernelkit.bench.isolation.processes import QUEUE_SECONDS, SolutionFailedError, SolutionProcess
from kernelkit.bench.isolation.service import ServiceError
from kernelkit.bench.judge.equipment import Device
from kernelkit.bench.judge.verifier import Verifier
from kernelkit.bench.limits.cost import Work
from kernelkit.bench.outcome import Outcome
from kernelkit.bench.settings import Settings
from kernelkit.bench.trial import Trial
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.trace import Status
from kernelkit.ops import rmsnorm

SLOTS = 20
CALL_MS, TICK_MS = 1.0, 0.001  # of a solution's call; of anything else
SETTINGS = Settings(device="cuda:0", iterations=24, trials=3, warmup=4, timeout=20.0)
NORM = rmsnorm.FAMILY.definition(64, 1e-5)
RIGHT = """
import torch

def right(hidden_states, weight):
    x = hidden_states.float()
    y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weight.float()
    return y.to(hidden_states.dtype)
"""
RUN = RIGHT + "\ndef run(hidden_states, weight):\n    return right(hidden_states, weight)\n"
WRITING = (
    RIGHT
    + """
calls = 0

def run(hidden_states, weight, output):
    global calls
    calls += 1
    output.copy_(right(hidden_states, weight))
    {then}
"""
)
LATE = 24  # a call within the timed batches, that no early look can see


class Clock:
    """Milliseconds of the device, and what the gate sees of the process that queues."""

    now = begun = ended = 0.0


class Driver:
    """The calls that worker and verifier make of a driver."""

    joins = True

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def event(self, flags: int = 0) -> dict[str, float]:
        return {}

    def call(self, name: str, *arguments: Any) -> None:
        if name == "cuEventRecord":
            event = arguments[0]
            if event == "end":
                self.clock.ended = self.clock.now
            else:
                event["at"] = self.clock.now
        elif name == "cuStreamWaitEvent" and arguments[1] == "gate":
            self.clock.begun = self.clock.now
            self.clock.now += TICK_MS

    def elapsed_ms(self, start: dict[str, float], end: dict[str, float]) -> float:
        return end["at"] - start["at"]

    def copy(self, target: int, source: int, size: int, stream: object) -> None:
        ctypes.memmove(target, source, size)


class Gate:
    """A gate that is open at once; counts what it is asked for."""

    handle = None

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.batches = 0

    def prepare(self, write: Callable[[], None], results: torch.Tensor) -> None:
        self.results = results
        self.batches += 1
        write()

    def open(self) -> None:
        """It is open."""

    def close(self, seconds: float) -> tuple[float, torch.Tensor]:
        return self.clock.ended - self.clock.begun, self.results.clone()

    def time(self, work: Callable[[], None]) -> float:
        work()
        return TICK_MS


class LocalService:
    """The verifier, asked as a `Service` is."""

    def __init__(self, handlers: dict[str, Callable[..., Any]]) -> None:
        self.handlers = handlers
        self.asked: list[str] = []
        self.answers: list[Any] = []
        self.broken = False

    def begin(self, do: str, **arguments: Any) -> None:
        self.answers.append(self.ask(do, **arguments))

    def finish(self) -> Any:
        return self.answers.pop() if self.answers else None

    def ask(self, do: str, **arguments: Any) -> Any:
        self.asked.append(do)
        try:
            value = self.handlers[do](**json.loads(json.dumps(arguments)))
        except Exception as error:
            raise ServiceError(str(error)) from error
        return json.loads(json.dumps(value))


class LocalProcess:
    """A solution's process, asked as a `SolutionProcess` is."""

    def __init__(self, served: worker.SolutionProcess) -> None:
        self.served = served
        self.queue_seconds, self.waits = QUEUE_SECONDS, 0
        self.asked: list[str] = []

    note_wait = SolutionProcess.note_wait
    waits_for_device = SolutionProcess.waits_for_device

    def freeze(self) -> None:
        """It makes its calls in this very process, and does nothing between them."""

    def ask(self, do: str, seconds: float, watch: object = None, **arguments: Any) -> Any:
        self.asked.append(do)
        try:
            return json.loads(json.dumps(getattr(self.served, do)(**arguments)))
        except Exception as error:  # as `serve` answers
            return {"error": str(error), "kind": type(error).__name__}

    def ask_while(
        self, do: str, seconds: float, act: Callable[[], None], after: float, **arguments: Any
    ) -> Any:
        return self.ask(do, seconds, **arguments)


class Bench:
    """One definition and workload, taken up."""

    def __init__(
        self, folder: Path, definition: Definition, axes: dict[str, int],
        settings: Settings = SETTINGS,
    ) -> None:  # fmt: skip
        folder.mkdir()
        self.folder, self.definition, self.settings = folder, definition, settings
        self.clock = Clock()
        verifier = Verifier()
        verifier.device = Device("cpu")
        self.verifier = LocalService(verifier.handlers())
        facts = self.verifier.ask(
            "define", name="one", definition=definition.to_json(), tolerance={}
        )
        self.size = SLOTS * layout_of(definition, axes).bytes
        self.arena = Path(self.verifier.ask("make_arena", size=self.size))
        device = verifier.device
        device.on_cuda, device.driver = True, Driver(self.clock)
        device.gate = self.gate = Gate(self.clock)
        found = self.verifier.ask("workload", axes=axes, given={}, seed=settings.seed, key="u")
        self.station = verifier.station
        self.ground = Ground(
            slots=SLOTS,
            workload={"layout": found["layout"], "count": SLOTS, "scalars": found["scalars"],
                      "order": list(definition.inputs)},
            plannable={*found["integers"], *found["scalars"]}, probes=found["probes"],
            work=Work(**found["work"]), samples=facts["samples"],
        )  # fmt: skip
        reference = reference_solution(definition)
        self.ground.control = Control(self.verifier, self.process(reference), on_cuda=True)
        self.ground.control.begin(self.ground.workload)

    def process(self, solution: Solution) -> Any:
        """A process with a solution loaded."""
        folder = self.folder / f"{len(list(self.folder.iterdir())):02d}"
        (folder / "code").mkdir(parents=True)
        for source in solution.sources:
            (folder / "code" / source.path).write_text(source.content, encoding="utf-8")
        served = worker.SolutionProcess(
            {"folder": str(folder), "user": None, "device": "cpu", "cuda_graph": False}
        )
        served.on_cuda, served.driver = True, Driver(self.clock)
        served.memory = HostMemory.open(self.arena, self.size)
        served.stopwatch = stopwatch(served.driver)
        served.gate, served.end = "gate", "end"
        served.default_stream, served.set_stream = None, lambda stream: None
        loaded = served.load(solution.spec.to_json())
        assert loaded["ok"], loaded
        function = served.function

        def call(*arguments: Any) -> Any:
            self.clock.now += CALL_MS
            return function(*arguments)

        served.function = call
        return LocalProcess(served)

    def trial(self, text: str, *, passing: bool = False, setup: list[str] | None = None) -> Trial:
        """A trial of a program."""
        solution = solution_of(self.definition, text, passing=passing)
        process = self.process(solution)
        process.ask("workload", 1.0, **self.ground.workload)
        return Trial(
            self.verifier, process, self.ground, solution, self.settings, setup, rehearsed=True
        )

    def run(self, text: str, *, passing: bool = False) -> Outcome:
        """What comes of a program."""
        return self.trial(text, passing=passing).run()


def stopwatch(driver: Any) -> Stopwatch:
    """The worker's own, on a simulated driver."""
    made = Stopwatch.__new__(Stopwatch)
    made.driver, made.pairs, made.joined, made.context = driver, [], driver.event(), None
    made.spin, made.cycles_per_ms = lambda cycles: None, 1.0
    made.reserve(1)
    return made


def solution_of(definition: Definition, text: str, *, passing: bool) -> Solution:
    """A program as a solution."""
    return Solution.model_validate({
        "name": "s", "definition": definition.name, "author": "tests",
        "spec": {"language": "python", "target_hardware": ["cuda"], "entry_point": "main.py::run",
                 "destination_passing_style": passing},
        "sources": [{"path": "main.py", "content": text}],
    })  # fmt: skip


__all__ = ["SLOTS", "Bench", "ServiceError", "SolutionFailedError", "Status"]
