"""Rules of streams, graphs, caches, plans and waiting: what a timed call may and may not do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from kernelkit.solutions.check.codes import Finding
from kernelkit.solutions.check.context import Context, Rule, at, finding
from kernelkit.solutions.check.events import Event
from kernelkit.solutions.check.syntax import Module, method_of, names_in

_GRAPHS = ("torch.cuda.CUDAGraph", "torch.cuda.graph", "torch.cuda.make_graphed_callables")
_TIMERS = ("torch.cuda.synchronize", "torch.cuda.Event", "time.perf_counter", "time.time",
           "time.sleep", "time.monotonic", "time.perf_counter_ns")  # fmt: skip
_ADDRESS = re.compile(r"data_ptr|\bid\(|untyped_storage|_version\b|__hash__|hash\(")
_CUDA_NAME = re.compile(r"^cuda(:\d+)?$")
_WAITS = {"item", "tolist", "nonzero", "cpu", "numpy"}


def streams(context: Context) -> Iterator[Finding]:
    """KS801, KS802."""
    for module in context.modules.values():
        for node, dotted in module.calls:
            if dotted in ("torch.cuda.set_stream", "torch.cuda.Stream.set_stream"):
                yield finding("KS802", module, node, "later work of the caller goes there, too")
    joins = len(re.findall(r"\.(wait_stream|wait_event|record_event)\(", context.text))
    blocks = context.mentions(r"\.synchronize\(")
    for module in context.modules.values():
        for node, dotted in module.calls:
            if dotted in ("torch.cuda.Stream", "torch.cuda.ExternalStream", "torch.Stream"):
                if joins < 2 and not (joins and blocks):
                    text = "the result may be read before, and the timer may miss, what it does"
                    yield finding("KS801", module, node, text)


def graphs(context: Context) -> Iterator[Finding]:
    """KS803."""
    for module, node, dotted in context.hot_calls():
        if dotted in _GRAPHS or method_of(node) == "replay":
            text = f"{dotted or 'replay'}: a graph keeps the addresses of its capture"
            yield finding("KS803", module, node, text)


def caches(context: Context) -> Iterator[Finding]:
    """KS804: what depends on an input's contents is kept beyond the call."""
    for event in context.events("global"):
        node = event.node
        key = ast.unparse(node.slice) if isinstance(node, ast.Subscript) else ""
        key_text = f"{key} {_assigned_text(event, key)}"
        if _ADDRESS.search(key_text):
            yield at("KS804", event, f"{event.name}[{key}]: keyed by address or identity")
        elif event.value.data and event.value.made not in ("host", "none"):
            what = ", ".join(sorted(event.value.data))
            yield at("KS804", event, f"{event.name} keeps what was computed from {what}")
    yield from _memoised(context)


def _assigned_text(event: Event, key: str) -> str:
    """What the names in the key were assigned."""
    module, names = event.module, set(re.findall(r"\w+", key))
    function = next(module.enclosing(event.node, (ast.FunctionDef,)), module.tree)
    return " ".join(
        ast.unparse(n.value)
        for n in ast.walk(function)
        if isinstance(n, ast.Assign) and names_in(n.targets[0]) & names
    )


def _memoised(context: Context) -> Iterator[Finding]:
    """functools caches around a function that gets tensors: they are hashed by identity."""
    for event in context.events("call"):
        if not event.name.startswith("."):
            continue
        given = [*event.args, *event.keywords.values()]
        tensors = sorted(
            set().union(*(v.alias for v in given if v.made != "shape")) if given else ()
        )
        for module in context.modules.values():
            function = module.functions.get(event.name[1:])
            if function is not None and tensors and _is_memoised(module, function):
                yield at("KS804", event, f"{function.name} is memoised by {', '.join(tensors)}")


def _is_memoised(module: Module, function: ast.FunctionDef) -> bool:
    names = [
        module.dotted(d.func if isinstance(d, ast.Call) else d) for d in function.decorator_list
    ]
    return any(name in ("functools.lru_cache", "functools.cache") for name in names)


def plans(context: Context) -> Iterator[Finding]:
    """KS805."""
    has_setup = context.entry is not None and "setup" in context.entry.functions
    if has_setup:
        return
    for module, node, _ in context.hot_calls():
        if method_of(node) in ("plan", "begin_forward"):
            yield finding("KS805", module, node, "its time counts as the kernel's")


def waits(context: Context) -> Iterator[Finding]:
    """KS806: once for each function."""
    told: set[ast.AST | None] = set()
    for event in context.events("call"):
        builtin = isinstance(event.node, ast.Call) and isinstance(event.node.func, ast.Name)
        reads = event.name.rpartition(".")[2] in _WAITS
        reads |= builtin and event.name in ("int", "float", "bool") and _is_tensor(event)
        function = next(event.module.enclosing(event.node, (ast.FunctionDef,)), None)
        if reads and event.value.data and event.value.made not in ("host", "scalar"):
            if function not in told:
                told.add(function)
                yield at("KS806", event, f"{ast.unparse(event.node)[:60]} reads from the device")


def _is_tensor(event: Event) -> bool:
    return bool(event.args) and event.args[0].made not in (
        "host",
        "scalar",
        "shape",
        "metadata",
        "",
    )


def timers(context: Context) -> Iterator[Finding]:
    """KS807."""
    for module, node, dotted in context.hot_calls():
        if dotted in _TIMERS:
            yield finding("KS807", module, node, f"{dotted} in run")


def hard_coded(context: Context) -> Iterator[Finding]:
    """KS808. A comparison with a device's name is none."""
    for module, node in context.hot():
        name = node.value if isinstance(node, ast.Constant) else None
        if isinstance(name, str) and _CUDA_NAME.match(name):
            holder = module.parents.get(node)
            if isinstance(holder, (ast.Call, ast.keyword)) and not _asks(holder):
                yield finding("KS808", module, node, repr(name))
        elif isinstance(node, ast.Call) and method_of(node) == "cuda" and not node.args:
            if not module.dotted(node.func):
                yield finding("KS808", module, node, f"{ast.unparse(node)[:60]}")


def _asks(call: ast.AST) -> bool:
    return isinstance(call, ast.Call) and method_of(call) in ("startswith", "endswith")


RULES: tuple[Rule, ...] = (
    streams, graphs, caches, plans, waits, timers, hard_coded,
)  # fmt: skip
