"""Which kernels each layer calls: its forward is followed in the interpreter, arguments open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kernelkit.models.spec import ModelSpec
from kernelkit.sglang import backends, modules, providers
from kernelkit.sglang.document import KernelCall
from kernelkit.sglang.interpret import binding, calls, classes, lookup
from kernelkit.sglang.interpret.machine import Event, Frame, Machine, Site
from kernelkit.sglang.interpret.values import (
    Bound,
    ClassRef,
    FunctionRef,
    Instance,
    options,
)

TRACE_BUDGET = 60_000  # statements of one layer's trace; a hybrid attention backend needs 20 000
_ATTENTION = ("RadixAttention", "RadixLinearAttention")
_PLANNING = ("init_forward_metadata",)


def trace_all(
    m: Machine, tree: modules.ModelTree, spec: ModelSpec, backend: str
) -> list[KernelCall]:
    """The kernel calls of every layer class, and of the sampler."""
    made = backends.build(m, spec, tree.config, backend)
    m.on_attribute["attn_backend"] = lambda: made
    m.known["get_attn_backend"] = lambda: made
    layers = {id(b.instance) for b in tree.built}
    m.opaque = lambda instance: id(instance) in layers
    found: list[KernelCall] = []
    for name, group in _groups(tree).items():
        paths = list(dict.fromkeys(b.path for b in group))
        events = [e for b in _different(group) for e in _trace(m, b.instance, made)]
        found += _calls(events, name, paths, spec)
    found += _calls(_sampler(m), "Sampler", [], spec)
    return found


def _groups(tree: modules.ModelTree) -> dict[str, list[modules.Built]]:
    found: dict[str, list[modules.Built]] = {}
    for built in tree.built:
        found.setdefault(modules.module_class(built.instance), []).append(built)
    return found


def _different(group: list[modules.Built]) -> Iterable[modules.Built]:
    """One object for each set of attributes that can decide a branch."""
    seen: dict[Any, modules.Built] = {}
    for built in group:
        seen.setdefault(_shape(built.instance), built)
    return seen.values()


def _shape(instance: Instance) -> Any:
    flags = []
    for name, value in sorted(instance.attrs.items()):
        if name in ("prefix", "layer_id", "layer_idx", "layer_name"):
            continue
        if isinstance(value, (bool, type(None))):
            flags.append((name, value))
        elif isinstance(value, Instance):
            flags.append((name, value.class_name))
    return (instance.class_name, tuple(flags))


def _trace(m: Machine, layer: Instance, backend: Any) -> list[Event]:
    """The calls of one layer's forward; for attention, those that plan it too."""
    if layer.cls is None:
        return _of_torch(layer)
    entries = [(layer, "forward")]
    if layer.class_name == "RadixAttention":
        planned = [p for b in options(backend) for p in options(_full(b))]
        entries = [(b, name) for b in planned for name in _PLANNING] + entries
    return _follow(m, layer, entries)


def _full(backend: Any) -> Any:
    """The softmax-attention part of a hybrid backend, which plans for itself."""
    held = backend.attrs.get("full_attn_backend") if isinstance(backend, Instance) else None
    return backend if held is None else held


def _of_torch(layer: Instance) -> list[Event]:
    """A layer of torch itself is one call, where it is made."""
    symbol = str(layer.args.get("class"))
    last = symbol.rsplit(".", 1)[-1]
    name = {"Linear": "torch.nn.functional.linear", "LayerNorm": "torch.nn.functional.layer_norm"}
    site = Site(layer.file, layer.line, "__init__")
    return [Event("external", name[last], (), (site,))] if last in name else []


def _follow(m: Machine, layer: Instance, entries: list[tuple[Any, str]]) -> list[Event]:
    m.events, m.memo, m.budget = [], {}, TRACE_BUDGET
    m.tracing, m.root = True, layer
    for receiver, name in entries:
        cls = receiver.cls if isinstance(receiver, Instance) else None
        found = classes.find_member(m, cls, name) if cls else None
        if found is None or cls is None:
            continue
        method = classes.bind_member(m, found[0], name, found[1], receiver)
        if isinstance(method, Bound):
            kwargs = _open_arguments(m, cls, method)
            if receiver is not layer or layer.class_name in _ATTENTION:
                kwargs.update({k: layer for k in ("layer",) if k in kwargs})
            frame = Frame(found[0].file, ({},), f"{found[0].name}.{name}")
            calls.call_function(m, method.function, [], kwargs, receiver, found[1], frame)
    m.tracing = False
    if m.budget <= 0:
        m.unfinished.add(layer.class_name)
    return m.events


def _open_arguments(m: Machine, cls: ClassRef, method: Bound) -> dict[str, Any]:
    """Open values for the parameters; a forward that hands all on gets those of its targets."""
    kwargs: dict[str, Any] = binding.open_arguments(method.function)
    if method.function.node.args.vararg is not None:
        for name in ("forward_native", "forward_cuda"):
            target = classes.class_attribute(m, cls, name)
            if isinstance(target, FunctionRef):
                kwargs.update(binding.open_arguments(target))
    return kwargs


def _sampler(m: Machine) -> list[Event]:
    file = m.files.find("sglang.srt.layers.sampler")
    cls = lookup.member_of_file(m, file, "Sampler") if file else None
    if file is None or not isinstance(cls, ClassRef):
        return []
    frame = Frame(file, ({},), "Sampler")
    made = calls.instantiate(m, cls, [], {}, cls.node, frame)
    return _follow(m, made, [(made, "forward")])


def _calls(
    events: list[Event], layer_class: str, paths: list[str], spec: ModelSpec
) -> list[KernelCall]:
    """One row for each kernel and place; the way with the fewest open conditions stands for it."""
    found: dict[tuple[str, str, int], tuple[KernelCall, int]] = {}
    for event in events:
        kernel = providers.classify(event)
        if kernel is None:
            continue
        key = (kernel.symbol, kernel.site.file, kernel.site.line)
        open_count = len(event.conditions)
        if key in found and found[key][1] <= open_count:
            continue
        row = KernelCall(
            module=layer_class, op_type=providers.op_type(kernel, layer_class, spec),
            provider=kernel.provider, symbol=kernel.symbol, file=kernel.site.file,
            line=kernel.site.line, condition=_text(event.conditions), fi_api=kernel.fi_api,
            paths=paths, chain=[f"{s.file}:{s.line} {s.function}" for s in event.chain[1:]],
        )  # fmt: skip
        found[key] = (row, open_count)
    return [row for row, _ in found.values()]


_NOISE = ("numel()", "is_idle()", "torch.compiler.is", "is_dynamo_compiling")


def _text(conditions: tuple[str, ...]) -> str | None:
    """The open conditions, without those about empty batches and torch.compile."""
    kept = [c for c in dict.fromkeys(conditions) if c and not any(n in c for n in _NOISE)]
    return " and ".join(f"({c})" if " or " in c else c for c in kept) or None
