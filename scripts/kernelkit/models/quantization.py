"""How a checkpoint's weights are stored: quantization_config of any of the usual tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kernelkit.models.fields import Fields, Found
from kernelkit.models.spec import Quantization

# Whole modules; an excluded layer norm or one projection of a module does not count.
_ATTENTION = r"(self_attn|self_attention|mixer)(\.?\*|\.q_proj|\.qkv_proj|\.q_b_proj)?$"
_EXPERTS = r"(?<!shared_)experts(\.?\*)?$"
_EXCLUDED = ("modules_to_not_convert", "ignore", "exclude_modules", "ignored_layers")


def read_quantization(fields: Fields, layers: int, *, moe: bool) -> Quantization | None:
    """The quantization of the weights; None for an unquantized checkpoint.

    `linear` is False where all attention projections are excluded, `experts` where there are none
    or all are excluded. `layers` is the number of layers, against which exclusions are counted.
    """
    found = fields.mapping("quantization_config", "compression_config")
    if found is None:
        return None
    settings = found.value
    method = settings.get("quant_method")
    if not isinstance(method, str):
        method = "modelopt" if "quant_algo" in settings or "quantization" in settings else None
    if method is None:
        raise fields.wrong(found, "an object with quant_method")
    kind, block = _READERS.get(method, _other)(settings)
    for target in ("kind", "linear", "experts", *(["block"] if block else [])):
        fields.sources[f"quantization.{target}"] = found.source
    excluded = _excluded(settings)
    return Quantization(
        kind=kind,
        linear=method != "mxfp4" and not _covers(excluded, _ATTENTION, layers),
        experts=moe and not _covers(excluded, _EXPERTS, layers),
        block=_block(fields, Found(block, f"{found.source}'s block size")),
    )


Kind = tuple[str, Any]


def _fp8(settings: Mapping[str, Any]) -> Kind:
    block = settings.get("weight_block_size")
    return ("fp8_block", block) if block else ("fp8_per_tensor", None)


def _mxfp4(settings: Mapping[str, Any]) -> Kind:
    return "mxfp4", None


def _modelopt(settings: Mapping[str, Any]) -> Kind:
    inner = settings.get("quantization")
    source = inner if isinstance(inner, Mapping) else settings
    algorithm = str(source.get("quant_algo", settings.get("quant_method"))).upper()
    known = {"FP8": "fp8_per_tensor", "NVFP4": "nvfp4", "FP4": "nvfp4", "MODELOPT_FP4": "nvfp4"}
    return known.get(algorithm, algorithm.lower()), None


def _integers(settings: Mapping[str, Any]) -> Kind:
    return f"int{settings.get('bits', settings.get('w_bit', 4))}", None


def _compressed_tensors(settings: Mapping[str, Any]) -> Kind:
    groups = settings.get("config_groups")
    group = next(iter(groups.values()), {}) if isinstance(groups, Mapping) else {}
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping):
        return str(settings.get("format", "compressed-tensors")), None
    bits, numbers = weights.get("num_bits"), weights.get("type")
    if numbers == "int":
        return f"int{bits}", None
    if bits == 4:
        return ("mxfp4" if weights.get("group_size") == 32 else "nvfp4"), None
    strategy = weights.get("strategy", "tensor")
    if strategy == "block":
        return "fp8_block", weights.get("block_structure")
    return f"fp8_per_{strategy}", None


def _other(settings: Mapping[str, Any]) -> Kind:
    return str(settings["quant_method"]), None


_READERS: dict[str, Callable[[Mapping[str, Any]], Kind]] = {
    "fp8": _fp8,
    "mxfp4": _mxfp4,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "gptq": _integers,
    "awq": _integers,
    "auto-round": _integers,
    "compressed-tensors": _compressed_tensors,
}


def _block(fields: Fields, found: Found[Any]) -> tuple[int, int] | None:
    if not found.value:
        return None
    if not isinstance(found.value, list) or len(found.value) != 2:
        raise fields.wrong(found, "two integers")
    rows, columns = (fields.check_integer(Found(size, found.source)) for size in found.value)
    return rows, columns


def _excluded(settings: Mapping[str, Any]) -> list[str]:
    inner = settings.get("quantization")
    scopes = [settings, inner] if isinstance(inner, Mapping) else [settings]
    lists = [scope.get(name) for scope in scopes for name in _EXCLUDED]
    return [str(entry) for entries in lists if isinstance(entries, list) for entry in entries]


def _covers(excluded: list[str], modules: str, layers: int) -> bool:
    """Whether the exclusions take in `modules` of all layers: by a pattern without a layer number,
    or layer by layer."""
    found = [re.search(r"layers\.(\d+)\.", e) for e in excluded if re.search(modules, e)]
    numbers = {int(match[1]) for match in found if match}
    return None in found or set(range(layers)) <= numbers
