"""The recorder against the installed FlashInfer: what it wraps, and the names it records.

No kernel runs here: on a CPU each call raises in its body, after it was recorded.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit.capture.recorded import TensorValue
from kernelkit.capture.recorder.settings import Settings, environment
from kernelkit.capture.recording import Recording, find

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("flashinfer") is None, reason="flashinfer is not installed"
)

PROGRAM = """
import json, sys, torch, flashinfer
import flashinfer.gdn_decode
from flashinfer import BatchDecodeWithPagedKVCacheWrapper as Decode, fused_add_rmsnorm, rmsnorm
from flashinfer.mla import BatchMLAPagedAttentionWrapper as MLA
from flashinfer.sampling import top_k_top_p_sampling_from_probs

def attempt(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        print(type(error).__name__, file=sys.stderr)

x, w = torch.zeros(3, 64, dtype=torch.bfloat16), torch.ones(64, dtype=torch.bfloat16)
attempt(rmsnorm, x, w, 1e-5, None, None)
attempt(fused_add_rmsnorm, x, x, w, 1e-5, None)
attempt(top_k_top_p_sampling_from_probs, torch.rand(2, 9), torch.tensor([5, 7], dtype=torch.int32),
        torch.tensor([0.5, 0.75]), filter_apply_order="joint")
wrapper = object.__new__(Decode)
wrapper._kv_layout = "NHD"
index = torch.tensor([0, 2, 5], dtype=torch.int32)
attempt(wrapper.begin_forward, index, torch.arange(5, dtype=torch.int32),
        torch.ones(2, dtype=torch.int32), 8, 2, 64, 1, q_data_type=torch.bfloat16)
pool = torch.zeros(16, 2, 64, dtype=torch.bfloat16)
attempt(wrapper.forward, torch.zeros(2, 8, 64, dtype=torch.bfloat16), (pool, pool), sm_scale=0.5)
owners = {"mla": MLA, "decode": Decode}
wrapped = {name: hasattr(owner.run, "_kernelkit") and hasattr(owner.plan, "_kernelkit")
           for name, owner in owners.items()}
gdn = flashinfer.gdn_decode.gated_delta_rule_decode_pretranspose
wrapped["gdn"] = hasattr(gdn, "_kernelkit")
print("WRAPPED", json.dumps(wrapped))
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, dict[str, bool]]:
    folder = tmp_path_factory.mktemp("recorded")
    Settings(str(folder / "out")).write(folder / "settings.json")
    home = Path(importlib.util.find_spec("flashinfer").origin).parents[1]  # type: ignore[union-attr,arg-type]
    paths = [str(home), os.environ.get("PYTHONPATH", "")]
    base = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120,
        env={**base, **environment(folder / "settings.json", base)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = find(folder / "out")
    (line,) = [row for row in done.stdout.splitlines() if row.startswith("WRAPPED")]
    return Recording.open(path), json.loads(line.removeprefix("WRAPPED"))


def test_classes_and_functions_are_wrapped(recorded: tuple[Recording, dict[str, bool]]) -> None:
    assert recorded[1] == {"mla": True, "decode": True, "gdn": True}


def test_calls_carry_flashinfer_s_own_names(recorded: tuple[Recording, dict[str, bool]]) -> None:
    found = recorded[0]
    calls = {(c.api.name, c.api.method): c for c in found.calls()}
    norm = calls["rmsnorm", ""]
    assert norm.api.path == "flashinfer.norm.rmsnorm"
    assert (norm.arguments["eps"], norm.completed) == (1e-5, False)
    assert norm.arguments["input"].shape == (3, 64)
    assert {"residual", "weight"} <= set(calls["fused_add_rmsnorm", ""].arguments)
    plan = calls["BatchDecodeWithPagedKVCacheWrapper", "plan"]
    assert found.array(plan.bound["indptr"]).tolist() == [0, 2, 5]
    assert (plan.bound["num_qo_heads"], plan.bound["page_size"]) == (8, 1)
    sampling = calls["top_k_top_p_sampling_from_probs", ""]
    assert sampling.bound["filter_apply_order"] == "joint"
    assert found.array(sampling.bound["top_p"]).tolist() == [0.5, 0.75]


def test_forward_s_attributes_are_seen(recorded: tuple[Recording, dict[str, bool]]) -> None:
    (run,) = [c for c in recorded[0].calls() if c.api.method == "run"]
    assert run.attributes["sm_scale"] == 0.5
    keys = run.arguments["paged_kv_cache"][0]
    assert isinstance(keys, TensorValue)
    assert (keys.shape, keys.stride) == ((16, 2, 64), (128, 64, 1))
