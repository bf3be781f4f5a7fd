"""A definition on the verifier: its arena, the workload in hand, and the judgement of its calls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock import timing
from kernelkit.bench.isolation.arena import HostMemory, lay_out, view
from kernelkit.bench.judge import rules
from kernelkit.bench.judge.compare import Verdict
from kernelkit.bench.judge.contents import Contents
from kernelkit.bench.judge.documents import document, dtype_names, load
from kernelkit.bench.judge.drawn import Drawn
from kernelkit.bench.judge.equipment import Device
from kernelkit.bench.judge.images import Images
from kernelkit.bench.judge.lot import Found, Judge, Lot, some
from kernelkit.bench.judge.reference import Reference, Tensors, same_bytes
from kernelkit.bench.judge.slots import Slots, is_index
from kernelkit.bench.limits import cost
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status
from kernelkit.errors import FormatError

if TYPE_CHECKING:
    import torch

KEPT_SHARE = 0.2  # of the device's free memory, for contents; as much for expected outputs
ALL_ELEMENTS = 1 << 24  # of a batch's outputs: so many are judged in full, all of them
COPIES, COPY_ROUNDS = 12, 3  # calls, and how often, to time the copying of outputs


class Station:
    """One definition, and one of its workloads at a time."""

    def __init__(self, device: Device, definition: Definition, tolerance: dict[str, Any]) -> None:
        self.device, self.definition = device, definition
        self.tolerance = rules.changed(rules.tolerance(definition), tolerance)
        self.most_bytes = int(device.free_bytes() * KEPT_SHARE)
        self.reference = Reference(definition, self.most_bytes)
        self.memory: Any = None
        self.images: Images | None = None

    def facts(self) -> dict[str, Any]:
        """The tolerance that holds."""
        return {n: getattr(self.tolerance, n) for n in ("atol", "rtol", "matched_ratio", "samples")}

    def make_arena(self, size: int) -> str:
        """Shared memory of at least `size` bytes: its path, or its handle on a GPU."""
        if self.device.driver is not None:
            from kernelkit.bench.clock.cuda_driver import DeviceMemory

            address = self.device.driver.allocate(size)
            self.memory = DeviceMemory(address, size, self.device.name)
            handle = self.device.driver.export_memory(address)
        else:
            self.memory = HostMemory.create(Path.cwd(), size)
            handle = str(self.memory.path)
        self.raw = self.memory.bytes()
        return handle

    def rest(self) -> None:
        """Let go of contents and expected outputs that are kept for the next solution."""
        if self.images is not None:
            self.images.kept.forget()
        self.reference.kept.forget()

    def close(self) -> None:
        """Give the arena back."""
        import torch

        self.rest()
        if self.device.driver is not None and self.memory is not None:
            self.device.wait()
            self.device.driver.free(self.memory.address)
            torch.cuda.empty_cache()  # the next arena is not torch's to allocate
        self.memory = None

    def workload(
        self, axes: dict[str, int], given: dict[str, Any], seed: int, key: str
    ) -> dict[str, Any]:
        """Take up a workload: its layout, scalars, probes; its slots lie in the arena, with guard
        zones that nobody knows.

        `given` names recorded tensors ({"path", "key"}) and scalars ({"value"}). Raises FormatError
        where all outputs are empty.
        """
        import torch

        outputs = {
            name: (list(self.definition.shape_of(name, axes) or ()), spec.dtype.value)
            for name, spec in self.definition.outputs.items()
        }
        if not any(math.prod(shape) for shape, _ in outputs.values()):
            raise FormatError("no output has an element: nothing can be judged")
        self.name, self.axes = key, axes
        self.rest()
        self.contents = Contents(self.definition, axes, load(given), seed, self.device.name, key)
        first = self.contents.inputs("0/first")
        self.tensors = [n for n, value in first.items() if isinstance(value, torch.Tensor)]
        names = dtype_names()
        inputs = {n: (list(first[n].shape), names[str(first[n].dtype)]) for n in self.tensors}
        self.layout = lay_out(inputs, outputs)
        self.scalars = {n: value for n, value in first.items() if n not in self.tensors}
        self.drawn = Drawn()
        self.current: dict[str, Any] = {}
        self.judge = Judge(self.definition, self.tolerance)
        self.slots = Slots(self.raw, self.layout)
        self.images = Images(self.contents, self.slots, self.most_bytes)
        integers = [n for n in self.tensors if is_index(first[n])]
        return {
            "layout": self.layout.to_json(),
            "scalars": self.scalars,
            "integers": integers,
            "probes": self.contents.probes(),
            "work": cost.work(self.definition, axes, first).to_json(),
        }

    def fill(
        self, keys: list[str], gated: bool = False, tables_only: bool = False
    ) -> dict[str, Any]:
        """Write the contents of a call to each of the first slots, poison their outputs, empty the
        cache; `gated`: when the gate opens; `tables_only`: integer tensors alone, for a set-up.

        Returns whether index contents differ from those of the slot before.
        """
        before = self.current
        assert self.images is not None
        self.keys, self.image = keys, self.images.image(keys)
        self.current = self.inputs(0)
        if gated:
            assert self.device.gate is not None
            self.device.gate.prepare(self._write, self.slots.results(len(keys)))
            return {"index_changed": False}
        self.device.wait()  # a batch that was broken off may still be under way
        if tables_only:
            self.slots.write_integers(self.image)
        else:
            self._write()
        self.device.wait()
        same = all(
            n in before and same_bytes(before[n], self.current[n])
            for n in self.tensors
            if is_index(self.current[n])
        )
        return {"index_changed": not same}

    def _write(self) -> None:
        self.slots.write(self.image)
        self.device.flusher.flush()

    def inputs(self, number: int) -> dict[str, Any]:
        """The inputs of one slot, tensors and scalars, in the definition's order."""
        return self._inputs_of(self.image[number])

    def _inputs_of(self, part: torch.Tensor) -> dict[str, Any]:
        known = {**self.scalars, **self.slots.inputs(part[None], 0)}
        return {name: known[name] for name in self.definition.inputs}

    def expect(self, key: str) -> bool:
        """Make the contents of a call to come, and its expected outputs. The gate must be open:
        what is loaded at first use may wait for it. False where there is no room for more."""
        assert self.images is not None
        part = self.images.part(key)
        self.reference.outputs(f"{self.name}/{key}", lambda: self._inputs_of(part))
        return not self.images.kept.full and not self.reference.kept.full

    def rehearse(self) -> bool:
        """Judge what nobody has written, so that all that the first judgement needs is loaded."""
        self._judge(self.slots.results(len(self.keys)), [0], [], taken=self.device.on_cuda)
        return True

    def check(self, full: bool = True) -> dict[str, Any]:
        """Judge what the call on the first slot has left; with `full` all outputs."""
        results = self.slots.results(len(self.keys))
        numbers = [0] if full else []
        return document(self._judge(results, numbers, [], taken=self.device.on_cuda))

    def check_each(self) -> list[dict[str, Any]]:
        """Judge each slot by itself, with all its outputs."""
        results = self.slots.results(len(self.keys))
        return [
            document(self._judge(results, [number], [], taken=self.device.on_cuda))
            for number in range(len(self.keys))
        ]

    def _judge(
        self, results: torch.Tensor, full: list[int], distance: list[int], *, taken: bool
    ) -> Found:
        """The verdict on some of the slots' outputs; on all slots for what lies around them."""
        allowed = self.reference.mutated or set()
        touched = self.slots.touched(self.image)
        numbers = sorted({*full, *distance})
        places = {number: place for place, number in enumerate(numbers)}
        got = self.slots.outputs(results, taken=taken)
        lot = Lot(
            {name: some(value, numbers) for name, value in got.items()},
            self._want(numbers),
            lambda place: self.inputs(numbers[place]),
            [places[number] for number in full],
            [places[number] for number in distance],
        )
        found = self.judge.judge(lot, touched)
        if self.tolerance.samples and found.verdict.status is Status.PASSED:
            self.drawn.note(lot)
        refused = None if found.refused is None else numbers[found.refused]
        if any(found.besides) and (wrong := self.slots.trespass(self.image, allowed)):
            verdict = Verdict(Status.INCORRECT_NUMERICAL, message=wrong)
            return Found(verdict, None, [])
        return Found(found.verdict, refused, [])

    def _want(self, numbers: list[int]) -> Tensors:
        """The reference's outputs for the contents of some slots, stacked."""
        import torch

        calls = [
            self.reference.outputs(f"{self.name}/{self.keys[n]}", lambda n=n: self.inputs(n))
            for n in numbers
        ]
        return {
            name: torch.stack([call[name] for call in calls])
            for name in (self.definition.outputs if calls else ())
        }

    def collect(self) -> bool:
        """Keep the outputs of this call as one draw."""
        found = self.slots.outputs(self.slots.results(1), taken=self.device.on_cuda)
        self.drawn.collect(found)
        return True

    def judge_draws(self) -> dict[str, Any]:
        """Compare the collected draws with as many of the reference's, by frequency."""
        found = self.drawn.judge_repeated(lambda: self.reference.call(self.current), self.current)
        return document(Found(found, None, []))

    def judge_places(self) -> dict[str, Any]:
        """Judge by their places the draws of all calls since, whose contents never repeat."""
        return document(Found(self.drawn.judge_places(), None, []))

    def time_reference(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Time the reference on the contents in hand, in this process (CUDA): a timing's facts."""
        self.reference.call(self.current)
        sample = timing.cuda_sampler(lambda: self.reference.call(self.current), self.device.flusher)
        return timing.measure(sample, "cuda events", l2="cold", **settings).to_json()

    def copies_ms(self) -> float:
        """Device milliseconds of copying a call's outputs away, right after they were written (the
        cache still holds them): with copies less without. What the arena holds is lost."""
        assert self.device.gate is not None and self.device.driver is not None
        driver, gate, count = self.device.driver, self.device.gate, min(COPIES, self.slots.count)
        pairs = [
            (view(slot, place), view(slot, self.layout.taken[name]))
            for slot in self.slots.arena[:count]
            for name, place in self.layout.outputs.items()
            if place.bytes
        ]

        def work(copy: bool) -> None:
            for output, taken in pairs:
                output.zero_()
                if copy:
                    driver.copy(taken.data_ptr(), output.data_ptr(), taken.nbytes, gate.handle)

        work(copy=True)
        both = [
            min(gate.time(lambda copy=copy: work(copy)) for _ in range(COPY_ROUNDS))
            for copy in (False, True)
        ]
        return max(0.0, both[1] - both[0]) / count

    def open_gate(self) -> bool:
        """Let the batch run."""
        assert self.device.gate is not None
        self.device.gate.open()
        return True

    def close_gate(
        self, judged: list[int], distance: list[int], taken: bool, limit: float
    ) -> dict[str, Any]:
        """Open the gate if it is still to be opened, and wait for the batch's end: its device time,
        and the verdict on it.

        Calls of `judged` are judged in full, those of `distance` by their distance alone, which
        decides who is judged in full as well; where the outputs are small, all of both in full.
        """
        assert self.device.gate is not None
        self.device.gate.open()
        elapsed_ms, results = self.device.gate.close(limit)
        if not judged:
            return {"elapsed_ms": elapsed_ms}
        rest = sorted({*distance} - {*judged})
        elements = sum(p.bytes // p.item_bytes for p in self.layout.outputs.values())
        if not self.tolerance.samples and elements * len(self.keys) <= ALL_ELEMENTS:
            judged, rest = sorted({*judged, *rest}), []
        found = self._judge(results, judged, rest, taken=taken)
        return {"elapsed_ms": elapsed_ms, "full": len(judged), **document(found)}
