"""A package named flashinfer with the real one's structure, for processes that are recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernelkit.capture import recording
from kernelkit.capture.recorder.settings import Settings, environment

if TYPE_CHECKING:
    from kernelkit.capture.recorder.observer import Entry

FILES = {
    "flashinfer/__init__.py": """
        __version__ = "0.6.12"
        from .norm import rmsnorm as rmsnorm
        from .decode import BatchDecodeWithPagedKVCacheWrapper as BatchDecodeWithPagedKVCacheWrapper
    """,
    "flashinfer/norm.py": """
        import torch
        def rmsnorm(input, weight, eps=1e-6, out=None, enable_pdl=None):
            return _inner(input, weight)
        def _inner(input, weight):
            return input * weight
        def fused_add_rmsnorm(input, residual, weight, eps=1e-6, enable_pdl=None):
            raise RuntimeError("no kernel")
    """,
    "flashinfer/mla/__init__.py": "from ._core import BatchMLAPagedAttentionWrapper",
    "flashinfer/mla/_core.py": """
        class BatchMLAPagedAttentionWrapper:
            def plan(self, qo_indptr, causal, sm_scale):
                self._causal, self._sm_scale = causal, sm_scale
            def run(self, q_nope):
                return q_nope
    """,
    "flashinfer/decode.py": """
        import functools
        class BatchDecodeWithPagedKVCacheWrapper:
            def __init__(self, kv_layout="NHD"):
                self._kv_layout = kv_layout
            def plan(self, indptr, indices, last_page_len, num_qo_heads, q_data_type="float16"):
                self._causal = False
            begin_forward = plan
            def forward(self, q, paged_kv_cache, sm_scale=None, causal=True):
                self._sm_scale, self._causal = sm_scale, causal
                return self.run(q, paged_kv_cache)
            def run(self, q, paged_kv_cache, *args, return_lse=False, k_scale=None):
                return q
            run_return_lse = functools.partialmethod(run, return_lse=True)
        class CUDAGraphBatchDecodeWithPagedKVCacheWrapper(BatchDecodeWithPagedKVCacheWrapper):
            pass
    """,
    "sglang/__init__.py": '__version__ = "0.5.14"',
    "sglang/srt/__init__.py": "",
    "sglang/srt/layers/__init__.py": "",
    "sglang/srt/model_executor/__init__.py": "",
    "sglang/srt/layers/radix_attention.py": """
        class RadixAttention:
            def __init__(self, layer_id):
                self.layer_id = layer_id
            def forward(self, call):
                return call()
    """,
    "sglang/srt/model_executor/model_runner.py": """
        from flashinfer import rmsnorm
        class ModelRunner:
            def forward(self, forward_batch, work):
                return work()
    """,
}


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with both packages."""
    for name, text in FILES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path / "packages"


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_recorded(tmp_path: Path, packages: Path) -> Run:
    """Run a program with the recorder loaded; recordings go to tmp_path/out."""

    def run(
        program: str, apis: list[str], extra: Path | None = None, **limits: int
    ) -> subprocess.CompletedProcess[str]:
        about = {"model": "toy", "tp": 1}
        settings = Settings(str(tmp_path / "out"), {api: ["d"] for api in apis}, about, **limits)
        settings.write(tmp_path / "settings.json")
        paths = [str(extra)] if extra else []
        base = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, str(packages)])}
        env = {**base, **environment(tmp_path / "settings.json", base)}
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture
def read(tmp_path: Path) -> Callable[[], recording.Recording]:
    """The one recording that the program left."""

    def only() -> recording.Recording:
        (path,) = recording.find(tmp_path / "out")
        return recording.Recording.open(path)

    return only


class Taker:
    """A sink that keeps entries."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.pending_bytes = 0

    def put(self, entry: Entry) -> None:
        self.entries.append(entry)
