"""The verifier's process: it makes inputs and expected outputs, looks at what a solution left in
the shared memory, and judges. It never imports a solution.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench import device as devices
from kernelkit.bench.clock import timing
from kernelkit.bench.isolation.arena import HostMemory, lay_out
from kernelkit.bench.isolation.channel import Channel, serve
from kernelkit.bench.judge import rules
from kernelkit.bench.judge.compare import Verdict
from kernelkit.bench.judge.contents import Contents
from kernelkit.bench.judge.reference import Reference, same_bytes
from kernelkit.bench.judge.slots import Slots
from kernelkit.bench.limits import ceilings, cost, device_facts
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status

if TYPE_CHECKING:
    import torch

    from kernelkit.bench.clock.gate import Gate

MOST_SUSPECTS = 4
KEPT_SHARE = 0.2  # of the device's free memory, for expected outputs


def main(descriptor: int) -> None:
    """Serve requests on the socket `descriptor` until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    verifier = Verifier()
    serve(Channel(socket.socket(fileno=descriptor)), {
        "start": verifier.start, "define": verifier.define, "make_arena": verifier.make_arena,
        "workload": verifier.workload, "fill": verifier.fill, "check": verifier.check,
        "collect": verifier.collect, "judge_draws": verifier.judge_draws,
        "time_reference": verifier.time_reference,
        "open_gate": verifier.open_gate, "close_gate": verifier.close_gate,
        "lay_slots": verifier.lay_slots,
    })  # fmt: skip


class Verifier:
    """One device, one definition and one workload at a time."""

    def start(self, device: str) -> dict[str, Any]:
        """Open the device. Returns its hardware, libraries and clock."""
        import torch

        self.device = device
        self.on_cuda = device.startswith("cuda")
        if self.on_cuda:
            from kernelkit.bench.clock.cuda_driver import Driver
            from kernelkit.bench.clock.gate import Gate

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
        self.most_bytes = int(self._free_bytes() * KEPT_SHARE)
        self.reference = Reference(self.definition, self.most_bytes)
        return {n: getattr(self.tolerance, n) for n in ("atol", "rtol", "matched_ratio", "samples")}

    def _free_bytes(self) -> int:
        import torch

        if self.on_cuda:
            return torch.cuda.mem_get_info()[0]
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")

    def make_arena(self, size: int) -> str:
        """Shared memory of at least `size` bytes: its path, or its handle on a GPU."""
        if self.on_cuda:
            from kernelkit.bench.clock.cuda_driver import DeviceMemory

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
        self.scalars = {n: value for n, value in first.items() if n not in self.tensors}
        self.draws: dict[str, list[torch.Tensor]] = {}
        self.current: dict[str, Any] = {}
        self.batches: OrderedDict[str, torch.Tensor] = OrderedDict()
        integers = [n for n in self.tensors if not first[n].dtype.is_floating_point]
        return {
            "layout": self.layout.to_json(),
            "scalars": self.scalars,
            "integers": integers,
            "probes": self.contents.probes(),
            "work": cost.work(self.definition, axes, first).to_json(),
        }

    def lay_slots(self) -> bool:
        """Lay the workload's slots into the arena, with guard zones that nobody knows."""
        self.slots = Slots(self.raw, self.layout)
        return True

    def fill(
        self, keys: list[str], gated: bool = False, tables_only: bool = False
    ) -> dict[str, Any]:
        """Write the contents of a call to each of the first slots, poison their outputs, empty the
        cache; `gated`: when the gate opens; `tables_only`: integer tensors alone, for a set-up.

        Returns whether index contents differ from those of the slot before.
        """
        before = self.current
        self.keys, self.image = keys, self._image(keys)
        self.current = self._inputs(0)
        if gated:
            self.gate.prepare(self._write, self.slots.results(len(keys)))
            return {"index_changed": False}
        self._wait()  # a batch that was broken off may still be under way
        if tables_only:
            self.slots.write_integers(self.image)
        else:
            self._write()
        self._wait()
        same = all(
            n in before and same_bytes(before[n], self.current[n])
            for n in self.tensors
            if not self.current[n].dtype.is_floating_point
        )
        return {"index_changed": not same}

    def _write(self) -> None:
        self.slots.write(self.image)
        self.flusher.flush()

    def _image(self, keys: list[str]) -> torch.Tensor:
        """The image of the calls' contents: the next solution will ask for the same."""
        name = "|".join(keys)
        if name not in self.batches:
            while self.batches and sum(i.nbytes for i in self.batches.values()) > self.most_bytes:
                self.batches.popitem(last=False)
            self.batches[name] = self.slots.image([self.contents.inputs(key) for key in keys])
        self.batches.move_to_end(name)
        return self.batches[name]

    def _inputs(self, number: int) -> dict[str, Any]:
        """The inputs of one slot, tensors and scalars, in the definition's order."""
        known = {**self.scalars, **self.slots.inputs(self.image, number)}
        return {name: known[name] for name in self.definition.inputs}

    def _wait(self) -> None:
        if self.on_cuda:
            self.driver.call("cuCtxSynchronize")

    def check(self, full: bool = True) -> dict[str, Any]:
        """Judge what the call on the first slot has left: guard zones, inputs, with `full` all
        outputs."""
        results = self.slots.results(len(self.keys))
        return _document(self._judge(results, [0] if full else [], taken=self.on_cuda))

    def _judge(self, results: torch.Tensor, numbers: list[int], *, taken: bool) -> Verdict:
        """The verdict on some of the slots' outputs; on all slots for what lies around them."""
        wrong = self.slots.trespass(self.image, self.reference.mutated or set())
        if wrong:
            return Verdict(Status.INCORRECT_NUMERICAL, message=wrong)
        inputs = [self._inputs(number) for number in numbers]
        want = [self._want(number) for number in numbers]
        got = [self.slots.outputs(results, number, taken=taken) for number in numbers]
        return rules.judge_all(self.definition, got, want, inputs, self.tolerance)

    def _want(self, number: int) -> dict[str, torch.Tensor]:
        """The reference's outputs for the contents of a slot."""
        key = f"{self.name}/{self.keys[number]}"
        return self.reference.outputs(key, lambda: self._inputs(number))

    def collect(self) -> bool:
        """Keep the outputs of this call as one draw."""
        found = self.slots.outputs(self.slots.results(1), 0, taken=self.on_cuda)
        for name, value in found.items():
            self.draws.setdefault(name, []).append(value.clone())
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
        """Time the reference on the contents in hand, in this process (CUDA): a timing's facts."""
        self.reference.call(self.current)
        sample = timing.cuda_sampler(lambda: self.reference.call(self.current), self.flusher)
        return timing.measure(sample, "cuda events", l2="cold", **settings).to_json()

    def open_gate(self) -> bool:
        """Let the batch run."""
        self.gate.open()
        return True

    def close_gate(
        self, judged: list[int], distance: list[int], taken: bool, limit: float
    ) -> dict[str, Any]:
        """Wait for the batch's end: its device time, and the verdict on it.

        Calls of `judged` are judged in full, those of `distance` by their distance alone, which
        decides who is judged in full as well.
        """
        elapsed_ms, results = self.gate.close(limit)
        if not judged:
            return {"elapsed_ms": elapsed_ms, **_document(Verdict(Status.PASSED))}
        if distance and not self.tolerance.samples:
            got = [self.slots.outputs(results, number, taken=taken) for number in distance]
            want = [self._want(number) for number in distance]
            suspects = [distance[place] for place in rules.distant(got, want)]
            judged = [*suspects[:MOST_SUSPECTS], *judged]
        return {"elapsed_ms": elapsed_ms, **_document(self._judge(results, judged, taken=taken))}


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
