"""The bundled dump, its definitions, a maker of small dumps, and datasets that they fill."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from kernelkit.capture.sanitize import pipeline
from kernelkit.capture.sanitize.outcome import Outcome
from kernelkit.capture.sanitize.pipeline import Settings
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.workload import Workload
from kernelkit.models.load import load_model
from kernelkit.ops import gqa_paged
from kernelkit.ops.derivation import Request, derive

sys.path.insert(0, str(Path(__file__).parent))  # recorded_calls.py, for the tests beside it

ASSETS = Path(__file__).resolve().parents[4] / "scripts" / "demo_assets"
OP_TYPES = ("rmsnorm", "gemm", "gqa_paged", "gqa_ragged", "sampling")
PAGED_DECODE = "gqa_paged_decode_h32_kv8_d128_ps1"
SAMPLING = "top_k_top_p_sampling_from_probs_v128256"
DECODE = "BatchDecodeWithPagedKVCacheWrapper"
PREFILL = "BatchPrefillWithPagedKVCacheWrapper"
# As FlashInfer 0.6.12 and 0.7.2 record them, shortened behind the last parameter that is used.
SIGNATURES = {
    f"{DECODE}.plan": "(self, indptr: torch.Tensor, indices: torch.Tensor, last_page_len: "
    "torch.Tensor, num_qo_heads: int, num_kv_heads: int, head_dim: int, page_size: int, "
    "pos_encoding_mode: str = 'NONE', window_left: int = -1, logits_soft_cap: Optional[float] = "
    "None) -> None",
    f"{DECODE}.run": "(self, q: torch.Tensor, paged_kv_cache: Union[torch.Tensor, "
    "Tuple[torch.Tensor, torch.Tensor]], *args, q_scale: Optional[float] = None, k_scale: "
    "Optional[float] = None) -> torch.Tensor",
    f"{DECODE}.__init__": "(self, float_workspace_buffer: torch.Tensor, kv_layout: str = 'NHD')",
    f"{PREFILL}.plan": "(self, qo_indptr, paged_kv_indptr, paged_kv_indices, "
    "paged_kv_last_page_len, num_qo_heads, num_kv_heads, head_dim_qk, page_size, "
    "causal: bool = False)",
    f"{PREFILL}.run": "(self, q, paged_kv_cache, *args, return_lse: bool = False)",
    "rmsnorm": "(input: torch.Tensor, weight: torch.Tensor, eps: float = 1e-06) -> torch.Tensor",
}


@dataclass(frozen=True)
class Float:
    """A tensor of which the dump holds no data."""

    shape: tuple[int, ...]
    dtype: str = "bfloat16"


class Dump:
    """Writes level-10 folders, one millisecond after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.time = 0

    def call(
        self, function: str, *arguments: Any, wrapper: int | None = None, pid: int = 1,
        **changes: Any,
    ) -> Path:  # fmt: skip
        """One call; arrays keep their data, dictionaries are keywords, `changes` the record's."""
        self.time += 1
        name = f"20260101_000000_{self.time:03d}_pid{pid}_{function}_call{self.time:04d}"
        folder = self.root / name
        folder.mkdir(parents=True)
        record: dict[str, Any] = {
            "function_name": function, "process_id": pid, "input_metadata": {},
            "tensor_details": {}, "function_signature": SIGNATURES[function],
            "versions": {"flashinfer": "0.6.12"}, "execution_status": "inputs_saved",
            "graph_capture": False,
        }  # fmt: skip
        data: dict[str, np.ndarray] = {}
        if wrapper is not None:
            record["self_id"] = wrapper
            record["input_metadata"]["arg_0"] = {"type": function.split(".")[0], "repr": "<>"}
        first = 0 if wrapper is None else 1
        for position, value in enumerate(arguments, start=first):
            items = value.items() if isinstance(value, dict) else [(f"arg_{position}", value)]
            for key, item in items:
                _record(key if key.startswith("arg_") else f"kwarg_{key}", item, record, data)
        record.update(changes)
        done = {**record, "execution_status": changes.get("execution_status", "completed")}
        lines = (json.dumps(line) + "\n" for line in (record, done))
        (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
        if data:
            save_file(data, folder / "inputs.safetensors")
        return folder

    def plan(
        self, indptr: list[int], *, wrapper: int = 7, heads: int = 32, kv: int = 8,
        page_size: int = 1, spare: int = 0, indices: list[int] | None = None,
        last: list[int] | None = None, **changes: Any,
    ) -> Path:  # fmt: skip
        """A decode plan; `spare` entries stand behind the used indices."""
        ids = list(range(1, indptr[-1] + 1)) if indices is None else indices
        return self.call(
            f"{DECODE}.plan",
            np.array(indptr, np.int32), np.array(ids + [0] * spare, np.int32),
            np.array(last or [1] * (len(indptr) - 1), np.int32), heads, kv, 128, page_size,
            wrapper=wrapper, **changes,
        )  # fmt: skip

    def run(
        self, requests: int, *, wrapper: int = 7, pool: Any = (2049, 8, 128), heads: int = 32,
        **changes: Any,
    ) -> Path:  # fmt: skip
        """A decode run over a pair of pools of that shape, or over one tensor."""
        cache = pool if isinstance(pool, Float) else (Float(pool), Float(pool))
        q = Float((requests, heads, 128))
        return self.call(f"{DECODE}.run", q, cache, wrapper=wrapper, **changes)


def _record(key: str, value: Any, record: dict[str, Any], data: dict[str, np.ndarray]) -> None:
    if isinstance(value, tuple):
        items = []
        for position, item in enumerate(value):
            inner = f"{key}__{position}"
            _record(inner, item, record, data)
            items.append({"type": "torch.Tensor", "tensor_key": inner})
        record["input_metadata"][key] = {"type": "tuple", "length": len(value), "items": items}
    elif isinstance(value, (Float, np.ndarray)):
        dtype = f"torch.{value.dtype}"
        record["tensor_details"][key] = {"shape": list(value.shape), "dtype": dtype, "stride": []}
        if isinstance(value, np.ndarray):
            data[key] = value
    else:
        record["input_metadata"][key] = value


def fill(dataset: Dataset, definitions: list[Definition]) -> None:
    """Write definitions."""
    for definition in definitions:
        dataset.write_definition(definition)


def sanitize(dump: Path, dataset: Dataset, **settings: Any) -> Outcome:
    """Sanitize a dump for all definitions of a dataset, without a limit but what is given."""
    chosen = Settings(**{"most": None, "per_axes": None, **settings})
    return pipeline.sanitize(dump, dataset, list(dataset.definitions().values()), chosen)


def workloads(dataset: Dataset) -> dict[str, list[Workload]]:
    """The workloads of each definition."""
    found: dict[str, list[Workload]] = {}
    for line in dataset.load_workloads():
        assert line.value is not None and line.value.is_workload
        found.setdefault(line.value.definition, []).append(line.value.workload)
    return found


def files(dataset: Dataset) -> dict[Path, bytes]:
    """All files with what stands in them."""
    return {p: p.read_bytes() for p in dataset.root.rglob("*") if p.is_file()}


@pytest.fixture
def bundled() -> Path:
    """A dump folder of 14 calls, without the data of float tensors."""
    return ASSETS / "dump"


@pytest.fixture
def dump(tmp_path: Path) -> Dump:
    """A maker of dumps in an empty folder."""
    return Dump(tmp_path / "dump")


@pytest.fixture(scope="session")
def llama() -> list[Definition]:
    """Llama-3.1-8B's definitions at TP 1, page sizes 1 and 64."""
    spec = load_model(None, None, ASSETS / "config.json").spec
    request = Request(tags=("model:llama-3.1-8b",), op_types=OP_TYPES)
    return [variant.definition for variant in derive(spec, request).variants]


@pytest.fixture(scope="session")
def decode() -> Definition:
    """gqa_paged_decode_h32_kv8_d128_ps1."""
    return gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False)


@pytest.fixture
def filled(dataset: Dataset, llama: list[Definition], bundled: Path) -> Dataset:
    """Llama's definitions and all workloads of the bundled dump."""
    fill(dataset, llama)
    sanitize(bundled, dataset)
    return dataset
