"""The process that asks a FlashInfer for its trace templates, on CPU, with empty tensors.

    python -m kernelkit.capture.normalize.survey_worker REQUEST.json RESULT.json

The request names a folder that holds `flashinfer/`, and either nothing more (every template) or
definitions of this pack (the calls that show them to FlashInfer). It runs apart because two
FlashInfer versions cannot be imported into one process.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import re
import site
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

FALLBACK = 8  # of a size that an init function wants and gives no default for
# Sizes of axes for templates without an init function; sizes that other axes follow from are in
# multiples of what quantisation blocks and page tables need.
SIZES = {
    "num_qo_heads": 32, "num_heads": 32, "num_q_heads": 32, "num_heads_qo": 32, "num_kv_heads": 8,
    "num_k_heads": 8, "num_heads_kv": 8, "num_v_heads": 32, "head_dim": 128, "head_size": 128,
    "page_size": 16, "hidden_size": 512, "intermediate_size": 256, "gemm1_out_size": 512,
    "num_experts": 8, "num_local_experts": 8, "top_k": 2, "vocab_size": 1024, "kv_lora_rank": 512,
    "n_group": 4, "topk_group": 2, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128,
    "head_dim_ckv": 512, "head_dim_kpe": 64, "head_dim_qk": 576, "head_dim_v": 128,
    "beam_width": 1, "kv_pad_dim": 1, "q_len_per_request": 1, "num_packed_hidden": 256,
    "num_packed_intermediate": 128, "num_fp4_hidden_blocks": 32, "num_fp4_intermediate_blocks": 16,
    "num_hidden_blocks": 4, "num_intermediate_blocks": 2, "num_gemm1_out_blocks": 4, "N": 512,
    "K": 512, "block_size": 16, "K_div_block": 4, "N_div_block": 4, "K_div_128": 4, "N_div_128": 4,
    "routing_method_type": 1, "dim": 64, "dstate": 128, "activation_type": 3,
}  # fmt: skip
FP8_NAMES = ("hidden_states", "gemm1_weights", "gemm2_weights", "a", "b")


def main(request_path: str, result_path: str) -> int:
    """Answer one request; the result is a JSON file."""
    request = json.loads(Path(request_path).read_text())
    os.environ.pop("FLASHINFER_TRACE_DUMP_DIR", None)  # a dump here is a value, not a file
    os.dup2(2, 1)  # what imports print is not the result
    warnings.simplefilter("ignore")
    _prepare(request["flashinfer"])
    import flashinfer

    if "definitions" in request:
        result = {"entries": list(_calls(request["definitions"])), "not_imported": []}
    else:
        missing = list(_import_traced(Path(flashinfer.__file__).parent))
        result = {"entries": list(_templates()), "not_imported": missing}
    result["version"] = str(getattr(flashinfer, "__version__", "unknown"))
    Path(result_path).write_text(json.dumps(result))
    return 0


def _prepare(folder: str) -> None:
    """Put the folder first; modules that ask for a GPU at import get a H200's numbers."""
    import torch

    site.addsitedir(folder)
    sys.path.insert(0, folder)
    properties = SimpleNamespace(
        multi_processor_count=132, major=9, minor=0, name="none", total_memory=1 << 37
    )
    torch.cuda.get_device_properties = lambda *_: properties  # type: ignore[assignment]


def _import_traced(root: Path) -> Iterator[dict[str, str]]:
    """Import every module that decorates an API with a template; those that fail are returned."""
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if not re.search(r"flashinfer_api\([^)]*trace\s*=", text):
            continue
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            importlib.import_module(name)
        except Exception as error:
            yield {"module": name, "error": f"{type(error).__name__}: {error}"[:300]}


def _templates() -> Iterator[dict[str, Any]]:
    """Every template with an API: its dump, or why it gave none."""
    from flashinfer import api_logging

    seen: dict[str, int] = {}
    for function, template, label in api_logging._TRACE_REGISTRY:
        name = getattr(api_logging, "_trace_fi_api_for", _api_of)
        api = name(function)
        key = f"{api}:{label}"
        seen[key] = seen.get(key, 0) + 1
        key += f"#{seen[key]}" if seen[key] > 1 else ""
        entry = {"key": key, "api": api, "label": str(label), "op_type": template.op_type,
                 "reference": template.reference is not None}  # fmt: skip
        yield {**entry, **_traced(template, api)}


def _api_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _traced(template: Any, api: str) -> dict[str, Any]:
    """The template's dump of a call that its init function, or its own axes, describe."""
    try:
        arguments, how = _arguments(template)
        dump = template.build_fi_trace_fn(api)(**arguments)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:300]}
    return {"dump": dump, "how": how, "facts": _facts(api, arguments)}


def _arguments(template: Any) -> tuple[dict[str, Any], str]:
    """Keyword arguments: from init on the meta device, from init on the CPU, from the axes."""
    init = getattr(template, "init", None)
    if init is not None:
        parameters = inspect.signature(init).parameters.items()
        needed = {n: FALLBACK for n, p in parameters if p.default is inspect.Parameter.empty}
        for device in ("meta", "cpu"):
            with contextlib.suppress(Exception):
                made = init(**needed, device=device)
                plan = {n: v for n, v in made.get("plan", {}).items() if hasattr(v, "shape")}
                run = made["run"] if "run" in made else made
                if isinstance(run, dict):
                    return {**plan, **run}, f"init on {device}"
    return _by_axes(template), "axes"


def _by_axes(template: Any) -> dict[str, Any]:
    """Tensors of the template's declared shapes; scalars that are axes have their size."""
    import torch

    llama4 = "llama4" in (template.name_prefix or "")  # it chooses one expert
    sizes = {**SIZES, "top_k": 1} if llama4 else SIZES
    made: dict[str, Any] = {n: sizes[n] for n in template.axes if n in sizes}
    for key, descriptor in template.inputs.items():
        name = descriptor.param or key
        if not hasattr(descriptor, "dim_names"):
            made[name] = sizes.get(key, 1) if "int" in descriptor.dtype else 1.0
            continue
        shape = [_size(axis, template.axes, sizes) for axis in descriptor.dim_names]
        tensor = torch.empty(shape, dtype=_dtype(key, descriptor, template), device="meta")
        if descriptor.tuple_idx is None:
            made[name] = tensor
        else:
            members = list(made.get(name, ()))
            made[name] = (*members, tensor)
    return made


def _size(axis: str, axes: Any, sizes: dict[str, int]) -> int:
    fixed = getattr(axes.get(axis), "value", None)
    return fixed if fixed is not None else sizes.get(axis, FALLBACK)


def _dtype(key: str, descriptor: Any, template: Any) -> Any:
    """The declared type, else what the name and the op say."""
    import torch

    words = f"{template.name_prefix or ''} {template.op_type}"
    if descriptor.dtype:
        return getattr(torch, descriptor.dtype, torch.uint8)
    if any(word in key for word in ("indptr", "indices", "table", "seq_lens", "topk_ids", "page_l",
                                    "selected_experts", "_lens", "page_table")):  # fmt: skip
        return torch.int32
    if ("fp4" in words or "int4" in words) and ("weights" in key or key in ("A", "B")):
        return torch.uint8
    if "scale" in key or "bias" in key or key == "routing_logits":
        return torch.float32
    if "fp8" in words and key in FP8_NAMES:
        return torch.float8_e4m3fn
    return torch.bfloat16


def _calls(texts: list[str]) -> Iterator[dict[str, Any]]:
    """What FlashInfer's templates say of this pack's definitions, called with their shapes."""
    from kernelkit.dataset.definition import Definition
    from kernelkit.ops import crosscheck, family

    for text in texts:
        definition = Definition.model_validate_json(text)
        entry: dict[str, Any] = {"key": definition.name, "op_type": definition.op_type}
        call = family(definition.op_type).flashinfer_call(definition)
        if call is None:
            yield {**entry, "error": "FlashInfer has no template of this interface"}
            continue
        entry["api"] = call.api
        try:
            dump = crosscheck.trace(call)
        except Exception as error:
            yield {**entry, "error": f"{type(error).__name__}: {error}"[:300]}
            continue
        compared = crosscheck.compare(definition, call, dump)
        yield {**entry, "dump": dump, "label": dump["name"], "compared": compared.compared,
               "differences": list(compared.differences), "reference": "reference" in dump,
               "facts": _facts(call.api, call.kwargs)}  # fmt: skip


def _facts(api: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The call as a context record: shapes, types and scalars of its arguments."""
    from kernelkit.capture.normalize.context import CallContext, TensorFact

    record = CallContext(api=api)
    for name, value in arguments.items():
        members = value if isinstance(value, tuple) else (value,)
        for number, member in enumerate(members):
            own = f"{name}.{number}" if isinstance(value, tuple) else name
            if hasattr(member, "shape"):
                dtype = str(member.dtype).removeprefix("torch.")
                record.tensors[own] = TensorFact(shape=list(member.shape), dtype=dtype)
            elif isinstance(member, (bool, int, float, str)):
                record.scalars[own] = member
    return record.model_dump(mode="json", exclude_none=True)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
