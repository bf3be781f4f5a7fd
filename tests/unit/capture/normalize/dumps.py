"""Raw dumps as FlashInfer's tracer writes them, made here so that tests need no FlashInfer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernelkit.capture.normalize.context import CallContext
from kernelkit.capture.normalize.normalizer import Source, normalize
from kernelkit.capture.normalize.outcome import Normalized
from kernelkit.capture.normalize.raw import RawDump
from kernelkit.models.spec import ModelSpec

DECODE = "flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper.run"
PREFILL = "flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper.run"
RAGGED = "flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper.run"
MLA = "flashinfer.mla._core.BatchMLAPagedAttentionWrapper.run"
RMSNORM = "flashinfer.norm.rmsnorm"


def dump(
    name: str, api: str, consts: dict[str, int | None], inputs: dict[str, tuple[Any, str]],
    outputs: dict[str, tuple[Any, str]], reference: str | None = "def _main():\n    return 1\n",
    *, variables: tuple[str, ...] = (), op_type: str = "other", constraints: tuple[str, ...] = (),
) -> RawDump:  # fmt: skip
    """A dump; shapes as axis names parted by blanks, None for a scalar; `?` marks an optional."""
    axes: dict[str, Any] = {axis: {"type": "var"} for axis in variables}
    for axis, value in consts.items():
        axes[axis] = {"type": "const"} if value is None else {"type": "const", "value": value}
    document: dict[str, Any] = {
        "name": name, "description": "As dumped.", "op_type": op_type,
        "tags": [f"fi_api:{api}", "status:verified"], "axes": axes,
        "constraints": list(constraints), "inputs": _specs(inputs), "outputs": _specs(outputs),
        "init": "def _init(): pass", "check": "def _check(): pass",
    }  # fmt: skip
    if reference is not None:
        document["reference"] = reference
    return RawDump(Path("pass") / f"{name}.json", document)


def _specs(tensors: dict[str, tuple[Any, str]]) -> dict[str, Any]:
    found = {}
    for name, (shape, dtype) in tensors.items():
        spec = {"shape": None if shape is None else shape.split(), "dtype": dtype.rstrip("?")}
        found[name] = {**spec, "optional": True} if dtype.endswith("?") else spec
    return found


def paged(kv: int, page: int, *, heads: int = 32, dim: int = 128, api: str = DECODE,
          dtype: str = "bfloat16") -> RawDump:  # fmt: skip
    """A paged attention dump with these readings of the cache's axes."""
    stage = "prefill" if "Prefill" in api else "decode"
    rows = "total_q" if stage == "prefill" else "batch_size"
    cache = "num_pages page_size num_kv_heads head_dim"
    sizes = {"num_qo_heads": heads, "num_kv_heads": kv, "head_dim": dim, "page_size": page}
    return dump(
        f"gqa_paged_{stage}_h{heads}_kv{kv}_d{dim}_ps{page}", api, sizes,
        {"q": (f"{rows} num_qo_heads head_dim", dtype), "k_cache": (cache, dtype),
         "v_cache": (cache, dtype), "kv_indptr": ("len_indptr", "unknown?"),
         "kv_indices": ("num_kv_indices", "unknown?"), "sm_scale": (None, "float32?")},
        {"output": (f"{rows} num_qo_heads head_dim", dtype)}, op_type="gqa_paged",
        variables=(rows, "num_pages", "len_indptr", "num_kv_indices"),
    )  # fmt: skip


def ragged(heads: int, kv: int, dim: int) -> RawDump:
    """A ragged prefill dump; the value head dim is lost, as in real ones."""
    sizes = {"num_qo_heads": heads, "num_kv_heads": kv, "head_dim": dim}
    rows = "total_q num_qo_heads head_dim"
    keys = ("total_kv num_kv_heads head_dim", "bfloat16")
    return dump(f"gqa_ragged_h{heads}_kv{kv}_d{dim}", RAGGED, sizes,
                {"q": (rows, "bfloat16"), "k": keys, "v": keys}, {"output": (rows, "bfloat16")},
                variables=("total_q", "total_kv", "len_indptr"), op_type="gqa_ragged")  # fmt: skip


def mla(heads: int = 16, page: int = 1) -> RawDump:
    """The one dump that MLA decode and prefill share."""
    sizes = {"num_qo_heads": heads, "head_dim_ckv": 512, "head_dim_kpe": 64, "page_size": page}
    rows = "batch_size num_qo_heads head_dim_ckv"
    return dump(f"mla_paged_decode_h{heads}_ckv512_kpe64_ps{page}", MLA, sizes,
                {"q_nope": (rows, "bfloat16")}, {"output": (rows, "bfloat16")},
                variables=("batch_size",), op_type="mla_paged")  # fmt: skip


def rmsnorm(size: int, dtype: str = "bfloat16", api: str = RMSNORM) -> RawDump:
    """A norm's dump; its reference has 1e-6 for every call."""
    rows = ("batch_size hidden_size", dtype)
    text = (
        "def _rmsnorm_reference(hidden_states, weight):\n    EPS = 1e-6\n    return weight + EPS\n"
    )
    return dump(f"{api.rsplit('.', 1)[1]}_h{size}", api, {"hidden_size": size},
                {"hidden_states": rows, "weight": ("hidden_size", dtype)}, {"output": rows}, text,
                variables=("batch_size",), op_type="rmsnorm")  # fmt: skip


def call(raw: RawDump, **fields: Any) -> CallContext:
    """A record of the dump's call."""
    return CallContext.model_validate({"api": raw.api, "dump": raw.name, **fields})


def one(*dumps: RawDump, calls: tuple[CallContext, ...] = (), spec: ModelSpec | None = None,
        flashinfer: Path | None = None, strict: bool = False) -> Normalized:  # fmt: skip
    """The first dump's result; the others stand beside it."""
    source = Source(calls=calls, spec=spec, flashinfer=flashinfer, strict=strict)
    return normalize(dumps, source, Path("pass"))[0]


def save(folder: Path, *dumps: RawDump) -> None:
    """Write dumps as the tracer does."""
    folder.mkdir(parents=True, exist_ok=True)
    for raw in dumps:
        (folder / f"{raw.name}.json").write_text(json.dumps(raw.document, indent=2))
