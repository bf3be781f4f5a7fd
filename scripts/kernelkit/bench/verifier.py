"""The verifier's process: it makes inputs and expected outputs, looks at what a solution left in
the shared memory, and judges. It never imports a solution.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench import ceilings, cost, device_facts, rules, timing
from kernelkit.bench import device as devices
from kernelkit.bench.arena import HostMemory, Layout, lay_out, view
from kernelkit.bench.channel import Channel, serve
from kernelkit.bench.compare import Verdict
from kernelkit.bench.contents import Contents, poison
from kernelkit.bench.reference import Reference, same_bytes
from kernelkit.bench.zygote import PR_SET_PDEATHSIG, process_control
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    import torch

    from kernelkit.bench.gate import Gate

KEPT_SHARE = 0.2  # of the device's free memory, for expected outputs
POISONS = (float("nan"), 6.0e4, -3.0e3)


def main(descriptor: int) -> None:
    """Serve requests on the socket `descriptor` until it closes."""
    process_control(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    verifier = Verifier()
    serve(Channel(socket.socket(fileno=descriptor)), {
        "start": verifier.start, "define": verifier.define, "make_arena": verifier.make_arena,
        "workload": verifier.workload, "fill": verifier.fill, "check": verifier.check,
        "collect": verifier.collect, "judge_draws": verifier.judge_draws,
        "time_reference": verifier.time_reference, "prepare_gate": verifier.prepare_gate,
        "open_gate": verifier.open_gate, "close_gate": verifier.close_gate,
        "restore": verifier.restore,
    })  # fmt: skip


class Verifier:
    """One device, one definition and one workload at a time."""

    def start(self, device: str) -> dict[str, Any]:
        """Open the device. Returns its hardware, libraries and clock."""
        import torch

        self.device = device
        self.on_cuda = device.startswith("cuda")
        if self.on_cuda:
            from kernelkit.bench.cuda_driver import Driver
            from kernelkit.bench.gate import Gate

            torch.cuda.set_device(device)
            torch.zeros(1, device=device)
            self.driver = Driver()
            self.gate: Gate = Gate(self.driver, device)
        self.flusher = timing.Flusher(device)
        self.memory: Any = None
        limits = ceilings.current(device) if self.on_cuda else ceilings.load(_key(device))
        return {
            "hardware": devices.hardware(device), "libs": devices.libraries(),
            "events": self.gate.handles if self.on_cuda else [],
            "free_bytes": self._free_bytes(), "ceilings": limits.to_json() if limits else None,
        }  # fmt: skip

    def define(self, definition: dict[str, Any], tolerance: dict[str, Any]) -> dict[str, Any]:
        """Take up a definition; `tolerance` replaces parts of the family's. Returns what holds."""
        self.definition = Definition.model_validate(definition)
        self.tolerance = rules.changed(rules.tolerance(self.definition), tolerance)
        self.reference = Reference(self.definition, int(self._free_bytes() * KEPT_SHARE))
        return {n: getattr(self.tolerance, n) for n in ("atol", "rtol", "matched_ratio", "samples")}

    def _free_bytes(self) -> int:
        import torch

        if self.on_cuda:
            return torch.cuda.mem_get_info()[0]
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")

    def make_arena(self, size: int) -> str:
        """Shared memory of at least `size` bytes: its path, or its handle on a GPU."""
        if self.on_cuda:
            from kernelkit.bench.cuda_driver import DeviceMemory

            if self.memory is not None:
                self.driver.free(self.memory.address)
            address = self.driver.allocate(size)
            self.memory = DeviceMemory(address, size, self.device)
            handle = self.driver.export_memory(address)
        else:
            self.memory = HostMemory.create(Path.cwd(), size)
            handle = str(self.memory.path)
        self.raw = self.memory.bytes()
        return handle

    def workload(
        self, axes: dict[str, int], given: dict[str, Any], seed: int, key: str
    ) -> dict[str, Any]:
        """Take up a workload: its layout, scalars, probes; nothing is in the arena yet.

        `given` names recorded tensors ({"path", "key"}) and scalars ({"value"}).
        """
        import torch

        self.name = key
        self.axes = axes
        self.contents = Contents(self.definition, axes, _load(given), seed, self.device)
        first = self.contents.inputs("0/first")
        self.tensors = [n for n, value in first.items() if isinstance(value, torch.Tensor)]
        names = {str(value): name for name, value in _dtypes().items()}
        inputs = {n: (list(first[n].shape), names[str(first[n].dtype)]) for n in self.tensors}
        outputs = {
            name: (list(self.definition.shape_of(name, axes) or ()), spec.dtype.value)
            for name, spec in self.definition.outputs.items()
        }
        self.layout = lay_out(inputs, outputs)
        self.draws: dict[str, list[torch.Tensor]] = {}
        self.calls = 0
        integers = [n for n in self.tensors if not first[n].dtype.is_floating_point]
        return {
            "layout": self.layout.to_json(),
            "scalars": {n: value for n, value in first.items() if n not in self.tensors},
            "integers": integers,
            "probes": self.contents.probes(),
            "work": cost.work(self.definition, axes, first).to_json(),
        }

    def restore(self) -> bool:
        """Make the guard zones new: a workload's first act once there is an arena."""
        import torch

        ranges = [torch.arange(start, end) for start, end in self.layout.guards()]
        self.guard_places = torch.cat(ranges).to(self.device)
        pattern = secrets.token_bytes(self.guard_places.numel())
        self.guard_values = torch.frombuffer(bytearray(pattern), dtype=torch.uint8).to(self.device)
        self.raw[self.guard_places] = self.guard_values
        return True

    def fill(self, key: str) -> dict[str, Any]:
        """Write the contents of a call, poison the outputs, empty the cache.

        Returns whether index contents differ from those of the call before.
        """
        before = getattr(self, "current", None)
        self.key, self.current = key, self.contents.inputs(key)
        self._write(self.layout, self.current)
        self.flusher.flush()
        self._wait()
        same = before is not None and all(
            same_bytes(before[n], self.current[n])
            for n in self.tensors
            if not self.current[n].dtype.is_floating_point and n in before
        )
        return {"index_changed": not same}

    def _write(self, layout: Layout, inputs: dict[str, Any]) -> None:
        for name in self.tensors:
            view(self.raw, layout.inputs[name]).copy_(inputs[name])
        self.calls += 1
        value = POISONS[self.calls % len(POISONS)]
        for place in (*layout.outputs.values(), *layout.taken.values()):
            poison(view(self.raw, place), value)

    def _wait(self) -> None:
        if self.on_cuda:
            self.driver.call("cuCtxSynchronize")

    def check(self, full: bool, passing: bool) -> dict[str, Any]:
        """Judge what the call has left: guard zones, inputs, and, with `full`, all outputs."""
        if broken := self._trespass():
            return broken
        places = self.layout.taken if self.on_cuda else self.layout.outputs
        got = {name: view(self.raw, place) for name, place in places.items()}
        return _document(self._judge(got) if full else Verdict(Status.PASSED))

    def _trespass(self) -> dict[str, Any] | None:
        import torch

        if not torch.equal(self.raw[self.guard_places], self.guard_values):
            self.raw[self.guard_places] = self.guard_values
            text = "writes outside of its outputs: a guard zone beside a tensor has changed"
            return _document(Verdict(Status.INCORRECT_NUMERICAL, message=text))
        changed = [
            name
            for name in self.tensors
            if name not in (self.reference.mutated or ())
            and not same_bytes(view(self.raw, self.layout.inputs[name]), self.current[name])
        ]
        if changed:
            text = f"writes to its inputs: {', '.join(changed)}"
            return _document(Verdict(Status.INCORRECT_NUMERICAL, message=text))
        return None

    def _judge(self, got: dict[str, torch.Tensor]) -> Verdict:
        want = self.reference.outputs(f"{self.name}/{self.key}", self.current)
        return rules.judge(self.definition, got, want, self.current, self.tolerance)

    def collect(self) -> bool:
        """Keep the outputs of this call as one draw."""
        places = self.layout.taken if self.on_cuda else self.layout.outputs
        for name, place in places.items():
            self.draws.setdefault(name, []).append(view(self.raw, place).clone())
        return True

    def judge_draws(self) -> dict[str, Any]:
        """Compare the collected draws with as many of the reference's, by frequency."""
        import torch

        collected, self.draws = self.draws, {}
        count = len(next(iter(collected.values())))
        own: dict[str, list[torch.Tensor]] = {name: [] for name in collected}
        for _ in range(count):
            for name, value in self.reference.call(self.current).items():
                own[name].append(value)
        got = {name: torch.stack(values) for name, values in collected.items()}
        want = {name: torch.stack(values) for name, values in own.items()}
        return _document(rules.judge_draws(got, want, self.current))

    def time_reference(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Time the reference on the contents in hand, in this process: the facts of a timing."""
        self.reference.call(self.current)
        measured = timing.measure(
            lambda: self.reference.call(self.current), self.flusher, self.device, **settings
        )
        return measured.to_json()

    def prepare_gate(self, slots: int, keys: list[str]) -> bool:
        """Get the contents of a batch ready, to be written to its slots when the gate opens."""
        layouts = [self.layout.shifted(number * self.layout.bytes) for number in range(slots)]
        staged = [self.contents.inputs(key) for key in keys]
        self.batch = list(zip(keys, layouts, staged, strict=True))

        def write() -> None:
            for _, layout, inputs in self.batch:
                self._write(layout, inputs)

        outputs = [
            {name: view(self.raw, place) for name, place in layout.taken.items()}
            for _, layout, _ in self.batch
        ]
        self.gate.prepare(write, outputs)
        return True

    def open_gate(self) -> bool:
        """Let the batch run."""
        self.gate.open()
        return True

    def close_gate(self, sample: list[int], limit: float) -> dict[str, Any]:
        """Wait for the batch's end: its device time, and the verdict on the calls of `sample`."""
        elapsed_ms, copies = self.gate.close(limit)
        verdict = Verdict(Status.PASSED)
        for number in sample:
            key, _, inputs = self.batch[number]
            want = self.reference.outputs(f"{self.name}/{key}", inputs)
            verdict = rules.judge(self.definition, copies[number], want, inputs, self.tolerance)
            if verdict.status is not Status.PASSED:
                break
        self.batch = []
        return {"elapsed_ms": elapsed_ms, **_document(verdict)}


def _key(device: str) -> str:
    return ceilings.device_key(*device_facts.identify(device))


def _load(given: dict[str, Any]) -> dict[str, Any]:
    """Recorded tensors and scalars by name."""
    from safetensors.torch import load_file

    return {
        name: source["value"] if "value" in source else load_file(source["path"])[source["key"]]
        for name, source in given.items()
    }


def _dtypes() -> dict[str, torch.dtype]:
    from kernelkit.dataset.definition import ITEM_BYTES
    from kernelkit.ops.base import torch_dtype

    return {name: torch_dtype(name) for name in ITEM_BYTES if name != "float4_e2m1"}


def _document(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON; infinities as text."""
    return {
        "status": verdict.status.value,
        "max_abs": str(verdict.max_abs),
        "max_rel": str(verdict.max_rel),
        "matched_ratio": verdict.matched_ratio,
        "message": verdict.message,
        "outputs": {
            name: {"max_abs": str(e.max_abs), "max_rel": str(e.max_rel),
                   "matched_ratio": e.matched_ratio}
            for name, e in verdict.outputs.items()
        },
    }  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
