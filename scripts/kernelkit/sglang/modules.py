"""The module tree: the model class built in the interpreter, layer by layer, and read off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelkit.models.spec import ModelSpec
from kernelkit.sglang.configuration import config_object
from kernelkit.sglang.document import Module
from kernelkit.sglang.interpret import calls, classes, lookup
from kernelkit.sglang.interpret.machine import Frame, Machine
from kernelkit.sglang.interpret.values import ClassRef, External, Instance, Lazy, options

# Attributes of multimodal models that hold no part of the language model.
TOWERS = frozenset(
    "visual vision_tower vision_model multi_modal_projector audio_tower audio_model "
    "image_newline vision_embed_tokens embed_vision embed_audio mm_projector".split()
)
# Modules that stand in for those of another pipeline rank.
_ABSENT = "PPMissingLayer"
# How a layer computes, not a layer of its own (some are torch modules).
_METHODS = frozenset(("quant_method", "scheme"))
_MODULE_BASES = ("torch.nn.Module", "torch.nn.modules.Module", "PreTrainedModel")
MAX_NESTING = 24


@dataclass
class Built:
    """One object of the tree with its place."""

    path: str
    instance: Instance
    parent: str | None


@dataclass
class ModelTree:
    """The model as built: its root object, and every module in it."""

    root: Instance
    config: Instance
    built: list[Built] = field(default_factory=list)


def build(m: Machine, cls: ClassRef, spec: ModelSpec, raw: Mapping[str, Any] | None) -> ModelTree:
    """Run the model class's __init__ on the config; the modules that it leaves behind."""
    m.left_out = TOWERS
    config = config_object(m, spec, raw)
    quantization = quant_config(m, spec, raw)
    frame = Frame(cls.file, ({},), cls.name)
    kwargs = {"config": config, "quant_config": quantization, "prefix": ""}
    root = calls.instantiate(m, cls, [], kwargs, cls.node, frame)
    return ModelTree(root, config, list(_walk(m, root, "", None, 0)))


def quant_config(m: Machine, spec: ModelSpec, raw: Mapping[str, Any] | None) -> Any:
    """The quantization object of SGLang for the config's quantization_config; None without one."""
    given = _quantization(spec, raw)
    file = m.files.find("sglang.srt.layers.quantization")
    if given is None or file is None:
        return None
    names = lookup.run_file(m, file).names
    for table in ("QUANTIZATION_METHODS", "BASE_QUANTIZATION_METHODS"):
        methods = names.get(table)
        cls = methods.get(given["quant_method"]) if isinstance(methods, dict) else None
        cls = lookup.imported(m, cls) if isinstance(cls, Lazy) else cls
        if isinstance(cls, ClassRef):
            made = classes.class_attribute(m, cls, "from_config")
            frame = Frame(cls.file, ({},), cls.name)
            return calls.call(m, made, [dict(given)], {}, cls.node, frame)
    return None


def _quantization(spec: ModelSpec, raw: Mapping[str, Any] | None) -> dict[str, Any] | None:
    given = dict(raw or {}).get("quantization_config")
    if isinstance(given, dict) and isinstance(given.get("quant_method"), str):
        return given
    part = spec.quantization
    if part is None or not part.kind.startswith(("fp8", "mxfp4")):
        return None
    block = list(part.block) if part.block else None
    return {"quant_method": part.kind.split("_")[0], "activation_scheme": "dynamic",
            "weight_block_size": block}  # fmt: skip


def is_module(m: Machine, value: Any) -> bool:
    """Whether a value is a layer: of the tree, or one of torch's own."""
    if not isinstance(value, Instance):
        return False
    if value.cls is None:
        return "class" in value.args
    bases = classes.resolution_order(m, value.cls)
    return any(isinstance(b, External) and b.path.endswith(_MODULE_BASES) for b in bases)


def _walk(
    m: Machine, owner: Instance, path: str, parent: str | None, depth: int
) -> Iterator[Built]:
    """The modules below `owner`, in the order in which they were set."""
    if depth > MAX_NESTING:
        return
    for name, value in owner.attrs.items():
        if name in _METHODS:
            continue
        below = f"{path}.{name}" if path else name
        for place, child in _children(m, below, value):
            if child.class_name == _ABSENT:
                continue
            yield Built(place, child, parent)
            yield from _walk(m, child, place, place, depth + 1)


def _children(m: Machine, path: str, value: Any) -> Iterator[tuple[str, Instance]]:
    for option in options(value):
        if is_module(m, option):
            yield path, option
        elif isinstance(option, (list, tuple)):
            for item in option:
                yield from _children(m, f"{path}.*", item)
        elif isinstance(option, dict):
            for key, item in option.items():
                if isinstance(key, str):
                    yield from _children(m, f"{path}.{key}", item)


def module_class(instance: Instance) -> str:
    """The class name, dotted for torch's own layers."""
    return instance.cls.name if instance.cls else str(instance.args.get("class", "object"))


def rows(tree: ModelTree) -> list[Module]:
    """One row for each path and class, with how often it occurs."""
    found: dict[tuple[str, str], Module] = {}
    for built in tree.built:
        instance = built.instance
        key = (built.path, module_class(instance))
        row = found.get(key)
        if row is None:
            found[key] = _row(built)
            continue
        row.count += 1
        row.arguments = {k: v for k, v in row.arguments.items() if instance.args.get(k) == v}
    return list(found.values())


def disagreements(tree: ModelTree, spec: ModelSpec) -> list[str]:
    """Where the built layers are not as many as the config says: a sentence for each."""
    places = [b for b in tree.built if b.path.endswith("layers.*") and b.path.count("*") == 1]
    if len(places) == spec.num_layers:
        return []
    return [f"built {len(places)} layers of {spec.num_layers}: the interpreter could not follow "
            "how this model builds its layers; take counts from the config"]  # fmt: skip


def _row(built: Built) -> Module:
    instance = built.instance
    return Module(
        name=built.path.removesuffix(".*").rsplit(".", 1)[-1],
        path=built.path,
        layer_class=module_class(instance),
        file=instance.file,
        line=instance.line,
        count=1,
        parent=built.parent,
        arguments={k: v for k, v in instance.args.items() if k != "class"},
        condition=instance.condition,
    )
