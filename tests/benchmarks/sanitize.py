#!/usr/bin/env python3
"""How fast is a level-10 dump sanitised? A gqa decode with its whole KV pools, on sparse files.

Generates `--calls` calls (for each forward step a plan, then a run for each layer), sanitises them
with scripts/sanitize_dumps.py in a process of its own, and reports wall time, CPU time, peak memory
and the bytes that were read. Ends with 1 where a limit is passed.

    python tests/benchmarks/sanitize.py --max-seconds 2 --max-megabytes 500
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit import cli  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.ops import gqa_paged  # noqa: E402

WRAPPER = "BatchDecodeWithPagedKVCacheWrapper"
HEADS, KV_HEADS, DIM = 32, 8, 128
POOL_TOKENS = 262_145  # with SGLang's padded slot: 0.5 GiB of keys and as much of values a call
# As flashinfer 0.6.12 records them.
SIGNATURES = {
    "plan": "(self, indptr: torch.Tensor, indices: torch.Tensor, last_page_len: torch.Tensor, "
    "num_qo_heads: int, num_kv_heads: int, head_dim: int, page_size: int, pos_encoding_mode: str "
    "= 'NONE', window_left: int = -1, logits_soft_cap: Optional[float] = None, q_data_type: "
    "Union[str, torch.dtype, NoneType] = 'float16', kv_data_type: Union[str, torch.dtype, "
    "NoneType] = None, o_data_type: Union[str, torch.dtype, NoneType] = None, data_type: "
    "Union[str, torch.dtype, NoneType] = None, sm_scale: Optional[float] = None, rope_scale: "
    "Optional[float] = None, rope_theta: Optional[float] = None, non_blocking: bool = True)",
    "run": "(self, q: torch.Tensor, paged_kv_cache: Union[torch.Tensor, Tuple[torch.Tensor, "
    "torch.Tensor]], *args, q_scale: Optional[float] = None, k_scale: Optional[float] = None, "
    "v_scale: Optional[float] = None, out: Optional[torch.Tensor] = None, lse: "
    "Optional[torch.Tensor] = None, return_lse: bool = False, enable_pdl: Optional[bool] = None, "
    "window_left: Optional[int] = None, sinks: Optional[torch.Tensor] = None) -> "
    "Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]]",
}  # fmt: skip
MEASURED = (
    "import resource, runpy, sys\n"
    "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
    "except SystemExit as end: code = end.code\n"
    "read = next(l.split()[1] for l in open('/proc/self/io') if l.startswith('rchar'))\n"
    "used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "print('USED', read, used.ru_maxrss, used.ru_utime + used.ru_stime, file=sys.stderr)\n"
    "sys.exit(code)"
)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--calls", type=int, default=2000, help="plans and runs together (default: 2000)")
    add("--layers", type=int, default=32, help="runs for each plan (default: 32)")
    add("--repeat", type=int, default=3, help="the best of so many (default: 3)")
    add("--max-seconds", type=float, default=2.0, metavar="S", help="limit (default: 2)")
    add("--max-megabytes", type=float, default=500.0, metavar="MB", help="limit (default: 500)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="sanitize-") as folder:
        root = Path(folder)
        distinct = generate(root / "dump", args.calls, args.layers)
        runs = [_measure(root, attempt) for attempt in range(args.repeat)]
    best = min(runs, key=lambda run: run["wall_s"])
    document = {"calls": args.calls, "layers": args.layers, "distinct": distinct, **best}
    text = ", ".join(f"{name} {value:g}" for name, value in document.items())
    cli.emit(document, as_json=args.json, text=text)
    kept = best["wall_s"] <= args.max_seconds and best["peak_mb"] <= args.max_megabytes
    return 0 if kept and best["distinct_found"] == distinct else 1


def _measure(root: Path, attempt: int) -> dict[str, float]:
    """One run into a fresh dataset."""
    dataset = Dataset.create(root / f"dataset{attempt}")
    dataset.write_definition(gqa_paged.FAMILY.definition(HEADS, KV_HEADS, DIM, 1, prefill=False))
    script = str(ROOT / "scripts" / "sanitize_dumps.py")
    words = ["--dump-dir", str(root / "dump"), "--dataset", str(dataset.root), "--json"]
    here = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})"
    watch = f"{here}; sys.argv = {[script, *words]!r}\n{MEASURED}"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True)
    wall = time.perf_counter() - start
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    used = done.stderr.rsplit("USED", 1)[1].split()
    (found,) = json.loads(done.stdout)["definitions"]
    blobs = sum(p.stat().st_size for p in (dataset.root / "blob").rglob("*") if p.is_file())
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(float(used[2]), 3),
        "peak_mb": round(int(used[1]) / 1024, 1),
        "read_mb": round(int(used[0]) / 1e6, 1),
        "blob_mb": round(blobs / 1e6, 1),
        "distinct_found": found["distinct"],
        "workloads": found["added"],
    }


def generate(folder: Path, calls: int, layers: int) -> int:
    """Write the dump; the number of distinct decode steps in it."""
    rng = random.Random(0)
    steps = 0
    lengths: list[int] = []
    for number in range(calls):
        layer = number % (layers + 1)
        if layer == 0:
            if not lengths or rng.random() < 0.2:
                lengths = [rng.randint(1, 4000) for _ in range(rng.choice([1, 4, 16, 64]))]
            lengths = [length + 1 for length in lengths]
            _plan(folder, number, lengths)
            steps += 1
        else:
            _run_call(folder, number, len(lengths))
    return steps


def _plan(folder: Path, number: int, lengths: list[int]) -> None:
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    first = number * 977 % 1000
    indices = range(first, first + offsets[-1])
    tensors = {
        "arg_1": ("I32", [len(offsets)], _int32(offsets)),
        "arg_2": ("I32", [len(indices)], _int32(indices)),
        "arg_3": ("I32", [len(lengths)], _int32([1] * len(lengths))),
    }
    scalars = {f"arg_{i}": value for i, value in enumerate((HEADS, KV_HEADS, DIM, 1), start=4)}
    _call(folder, number, "plan", tensors, scalars)


def _run_call(folder: Path, number: int, requests: int) -> None:
    pool = [POOL_TOKENS, KV_HEADS, DIM]
    tensors = {
        "arg_1": ("BF16", [requests, HEADS, DIM], None),
        "arg_2__0": ("BF16", pool, None),
        "arg_2__1": ("BF16", pool, None),
    }
    items = [
        {"type": "torch.Tensor", "shape": pool, "dtype": "torch.bfloat16", "stride": [1024, 128, 1],
         "device": "cuda:0", "requires_grad": False, "is_contiguous": True, "tensor_key": key}
        for key in ("arg_2__0", "arg_2__1")
    ]  # fmt: skip
    pair = {"type": "tuple", "length": 2, "items": items, "truncated": False}
    _call(folder, number, "run", tensors, {"arg_2": pair, "kwarg_k_scale": None})


def _call(
    folder: Path, number: int, method: str, tensors: dict[str, Any], scalars: dict[str, Any]
) -> None:
    stamp = f"20260101_{number // 1000:06d}_{number % 1000:03d}"
    path = folder / f"{stamp}_pid11_{WRAPPER}.{method}_call{number:04d}"
    path.mkdir(parents=True)
    dtypes = {"I32": "torch.int32", "BF16": "torch.bfloat16"}
    record = {
        "function_name": f"{WRAPPER}.{method}", "module": "flashinfer.decode",
        "call_sequence": number, "timestamp": stamp, "process_id": 11,
        "input_metadata": {"arg_0": {"type": WRAPPER, "repr": f"<{WRAPPER}>"}, **scalars},
        "output_metadata": {},
        "tensor_details": {
            key: {"shape": shape, "dtype": dtypes[code], "stride": [1] * len(shape)}
            for key, (code, shape, _) in tensors.items()
        },
        "tensor_format": "safetensors", "function_signature": SIGNATURES[method],
        "versions": {"torch": "2.11.0", "python": "3.12.3", "flashinfer": "0.6.12"},
        "graph_capture": False, "self_id": 140588348995200,
    }  # fmt: skip
    statuses = "inputs_saved", "completed"
    lines = (json.dumps({**record, "execution_status": status}) + "\n" for status in statuses)
    (path / "metadata.jsonl").write_text("".join(lines), encoding="utf-8")
    with open(path / "inputs.safetensors", "wb") as file:
        for part in _safetensors(tensors):
            if isinstance(part, bytes):
                file.write(part)
            else:
                file.truncate(file.seek(part, 1))  # a hole: no block on the disk


def _safetensors(tensors: dict[str, Any]) -> Iterator[bytes | int]:
    """The parts of a file: bytes, or the length of a hole."""
    header, at = {}, 0
    sizes = []
    for key, (code, shape, data) in tensors.items():
        size = _bytes(code, shape)
        header[key] = {"dtype": code, "shape": shape, "data_offsets": [at, at + size]}
        sizes.append(data if data is not None else size)
        at += size
    text = json.dumps(header).encode()
    yield struct.pack("<Q", len(text)) + text
    yield from sizes


def _bytes(code: str, shape: list[int]) -> int:
    size = 4 if code == "I32" else 2
    for length in shape:
        size *= length
    return size


def _int32(values: Any) -> bytes:
    values = list(values)
    return struct.pack(f"<{len(values)}i", *values)


if __name__ == "__main__":
    raise SystemExit(main())
