"""Gluon's functions for Hopper on a CPU: a module written in Gluon runs as plain Python.

A partition is a thread. Barriers count arrivals and bytes, and a wait that never ends is an error.
A product reads shared memory when it is issued and when it is waited for: what changed in between
is an error. Shared memory begins as NaN. Layouts and fences mean nothing here.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import sys
import threading
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from gluon_values import Constexpr, Pointer

DEADLOCK_S = 20.0
GLUON = "triton.experimental.gluon"
COPYING_THREADS = 128
HERE = threading.local()
CHANGED = threading.Condition()


def pointer(x: torch.Tensor) -> Pointer:
    """A tensor's first element; offsets are those of its storage."""
    size = x.untyped_storage().nbytes() // x.element_size()
    return Pointer(torch.as_strided(x, (size,), (1,), 0), x.storage_offset())


@dataclass
class Memory:
    """Shared memory."""

    data: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.data.dtype

    def index(self, place: int) -> Memory:
        return Memory(self.data[place])

    def slice(self, start: int, length: int) -> Memory:
        return Memory(self.data[start : start + length])

    def permute(self, order: tuple[int, ...]) -> Memory:
        return Memory(self.data.permute(order))

    def load(self, layout: Any) -> torch.Tensor:
        return self.data.clone()

    def store(self, value: torch.Tensor) -> None:
        assert value.shape == self.data.shape
        self.data.copy_(value)


class Barrier:
    """An mbarrier: a phase ends when as many have arrived as it expects, and all bytes."""

    def __init__(self) -> None:
        self.phase, self.count, self.left, self.bytes = 0, 0, 0, 0

    def change(self, arrivals: int, more_bytes: int) -> None:
        with CHANGED:
            self.left -= arrivals
            self.bytes += more_bytes
            assert self.left >= 0, "more arrivals than the barrier expects"
            if self.left == 0 and self.bytes == 0:
                self.phase, self.left = self.phase + 1, self.count
                CHANGED.notify_all()

    def wait(self, parity: int) -> None:
        with CHANGED:
            ended = CHANGED.wait_for(lambda: self.phase % 2 != parity, DEADLOCK_S)
        assert ended, "a barrier never ended its phase"


class Barriers(list):
    """Barriers in shared memory."""

    index = list.__getitem__


def init(barrier: Barrier, count: int) -> None:
    barrier.count = barrier.left = count


class Product:
    """a @ b + c, on its way until it is waited for."""

    def __init__(self, a: Any, b: Memory, c: torch.Tensor, use_acc: bool) -> None:
        self.a, self.b, self.c, self.use_acc = a, b, c, use_acc
        self.early, self.done = self.result(), False

    def result(self) -> torch.Tensor:
        a = self.a.data if isinstance(self.a, Memory) else self.a
        found = a.float() @ self.b.data.float()
        return self.c + found if self.use_acc else found

    def finish(self) -> None:
        same = torch.allclose(self.early, self.result(), equal_nan=True)
        assert same, "shared memory changed below a product"
        self.done = True


def warpgroup_mma(a: Any, b: Memory, c: torch.Tensor, *, use_acc: bool = True, is_async: bool):  # noqa: ANN201
    assert is_async and isinstance(c, torch.Tensor)
    HERE.products = [*getattr(HERE, "products", []), Product(a, b, c, use_acc)]
    return HERE.products[-1]


def warpgroup_mma_wait(outstanding: int, products: list[Product]) -> torch.Tensor:
    while len(HERE.products) > outstanding:
        HERE.products.pop(0).finish()
    assert products[0].done
    return products[0].early


def copy_tile(tiles: Any, place: list[int], barrier: Barrier, memory: Memory) -> None:
    """What a tensor descriptor brings; zeros beyond its bounds."""
    box = torch.zeros(tiles.box, dtype=memory.dtype)
    spans = [torch.arange(n) + p for n, p in zip(tiles.box, place, strict=True)]
    grid = torch.meshgrid(*spans, indexing="ij")
    inside = torch.stack([(g >= 0) & (g < n) for g, n in zip(grid, tiles.shape, strict=True)]).all(
        0
    )
    offset = sum(g * s for g, s in zip(grid, tiles.strides, strict=True)) + tiles.base.offset
    box[inside] = tiles.base.flat[offset[inside]]
    memory.store(box.reshape(memory.data.shape))
    barrier.change(0, -box.numel() * box.element_size())


def copy_rows(memory: Memory, places: Pointer, mask: torch.Tensor) -> None:
    memory.store(places.load(mask, 0))


class Tiles:
    """A tensor descriptor."""

    def __init__(
        self, base: torch.Tensor, shape: list, strides: list, box: list, layout: Any
    ) -> None:
        self.base, self.shape, self.strides, self.box = pointer(base), shape, strides, box


def warp_specialize(partitions: list, warps: list, registers: list) -> None:
    """Each in a thread; an error of one is the caller's."""
    place, errors = HERE.place, []

    def work(function: Callable[..., None], arguments: tuple) -> None:
        HERE.place, HERE.products = place, []
        try:
            function(*arguments)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=each, daemon=True) for each in partitions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class Kernel:
    """A function that may be launched: every program, one after another."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __getitem__(self, grid: tuple[int, int]) -> Callable[..., None]:
        def launch(*arguments: Any, num_warps: int) -> None:
            given = [pointer(x) if isinstance(x, torch.Tensor) else x for x in arguments]
            for first in range(grid[0]):
                for second in range(grid[1]):
                    HERE.place = ((first, second), grid)
                    self.function(*given)

        return launch


def jit(function: Any = None, **options: Any) -> Any:
    return Kernel(function) if function is not None else Kernel


def either(function: Callable, scalar: Callable) -> Callable[[Any, Any], Any]:
    """A function of tensors that takes numbers too."""

    def found(a: Any, b: Any) -> Any:
        if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
            return function(torch.as_tensor(a), torch.as_tensor(b))
        return scalar(a, b)

    return found


def reduced(function: Callable) -> Callable[..., Any]:
    def found(x: torch.Tensor, axis: int) -> Any:
        result = function(x, axis)
        return result.item() if result.dim() == 0 else result

    return found


def allocate(dtype: torch.dtype, shape: list[int], layout: Any) -> Any:
    if layout == "barriers":
        return Barriers(Barrier() for _ in range(shape[0]))
    return Memory(torch.full(shape, math.nan, dtype=dtype))


def language() -> types.SimpleNamespace:
    """`gluon.language`, as far as it is used."""
    nothing = lambda *a, **k: None  # noqa: E731
    return types.SimpleNamespace(
        constexpr=Constexpr, float32=torch.float32, int32=torch.int32, int64=torch.int64,
        bfloat16=torch.bfloat16, float16=torch.float16, static_range=range,
        program_id=lambda axis: HERE.place[0][axis], num_programs=lambda axis: HERE.place[1][axis],
        load=lambda p, mask=None, other=None: p.load(mask, other),
        store=lambda p, value, mask: p.store(value, mask),
        arange=lambda low, high, layout: torch.arange(low, high, dtype=torch.int32),
        zeros=lambda shape, dtype, layout: torch.zeros(shape, dtype=dtype),
        full=lambda shape, value, dtype, layout: torch.full(shape, value, dtype=dtype),
        zeros_like=torch.zeros_like, where=lambda m, a, b: torch.where(m, a, b),
        maximum=either(torch.maximum, max), minimum=either(torch.minimum, min),
        max=reduced(torch.amax), sum=reduced(torch.sum), exp2=torch.exp2, log2=torch.log2,
        associative_scan=lambda x, axis, add: x.cumsum(axis), convert_layout=lambda x, layout: x,
        allocate_shared_memory=allocate, warp_specialize=warp_specialize,
        BlockedLayout=nothing, SliceLayout=nothing, NVMMADistributedLayout=nothing,
        DotOperandLayout=nothing, NVMMASharedLayout=nothing,
    )  # fmt: skip


def modules() -> dict[str, Any]:
    """What the module imports, by name."""
    barrier = types.SimpleNamespace(
        MBarrierLayout=lambda: "barriers", init=init, wait=lambda b, phase: b.wait(phase),
        expect=lambda b, size: b.change(1, size), arrive=lambda b, count: b.change(count, 0),
    )  # fmt: skip
    copies = types.SimpleNamespace(
        async_copy_global_to_shared=copy_rows, wait_group=lambda n: None,
        mbarrier_arrive=lambda b, increment_count: b.change(COPYING_THREADS, 0),
    )  # fmt: skip
    gl = language()
    nvidia = f"{GLUON}.language.nvidia"
    return {
        "triton": types.ModuleType("triton"),
        "triton.experimental": types.SimpleNamespace(gluon=(top := types.SimpleNamespace(jit=jit))),
        GLUON: types.SimpleNamespace(jit=top.jit, language=gl),
        f"{GLUON}.language": gl, nvidia: types.ModuleType(nvidia),
        f"{nvidia}.ampere": types.SimpleNamespace(async_copy=copies),
        f"{nvidia}.hopper": types.SimpleNamespace(
            fence_async_shared=lambda: None, mbarrier=barrier,
            tma=types.SimpleNamespace(async_copy_global_to_shared=copy_tile),
            warpgroup_mma=warpgroup_mma, warpgroup_mma_wait=warpgroup_mma_wait,
        ),
        f"{GLUON}.nvidia": types.ModuleType(f"{GLUON}.nvidia"),
        f"{GLUON}.nvidia.hopper": types.SimpleNamespace(TensorDescriptor=Tiles),
    }  # fmt: skip


@functools.cache
def load(path: Path) -> types.ModuleType:
    """The module at a path, over the functions above."""
    spec = importlib.util.spec_from_file_location(f"{path.stem}_on_cpu", path)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, modules()):
        spec.loader.exec_module(module)
    return module
