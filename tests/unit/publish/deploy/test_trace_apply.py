"""What Trace Apply is given: what it calls, and that FlashInfer itself runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from deployable import GQA, NORM, ROUTED, TOP_K, single, solution  # noqa: E402

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.publish.deploy import curated, entry, live  # noqa: E402
from kernelkit.publish.deploy.choosing import Choice  # noqa: E402
from kernelkit.publish.deploy.routes import Route, route_of  # noqa: E402


# What Trace Apply calls
def loaded(folder: Path, made: Solution) -> Any:
    """Written and imported as Trace Apply does: the entry file alone, by its path."""
    for source in made.sources:
        (folder / source.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / source.path).write_text(source.content, encoding="utf-8")
    name = f"deployed_{abs(hash(str(folder)))}"
    spec = importlib.util.spec_from_file_location(name, folder / entry.FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return getattr(module, entry.FUNCTION)


def deployed(definition: Definition, made: Solution | None = None) -> Solution:
    """A solution as it stands in the folder."""
    route = route_of(definition)
    assert isinstance(route, Route), route
    return curated.solution_of(Choice(definition, route, made or solution(definition)))


def inputs_of(definition: Definition) -> dict[str, Any]:
    op = family(definition.op_type)
    return op.make_inputs(definition, op.small_axes(definition), seed=3)


def reference(definition: Definition, inputs: dict[str, Any]) -> Any:
    scope: dict[str, Any] = {}
    exec(definition.reference, scope)
    return scope["run"](*inputs.values())


def test_lse_only_where_it_is_asked_for(tmp_path: Path) -> None:
    apply, inputs = loaded(tmp_path, deployed(GQA)), inputs_of(GQA)
    output, lse = reference(GQA, inputs)
    assert torch.equal(apply(**inputs), output)
    assert torch.equal(apply(**inputs, return_lse=True)[1], lse)
    scale = inputs.pop("sm_scale")
    assert scale == 16**-0.5 and torch.equal(apply(**inputs), output)


def test_destination_passing(tmp_path: Path) -> None:
    text = GQA.reference.replace("def run(", "def compute(") + (
        "\n\ndef run(q, k, v, indptr, indices, scale, output, lse):\n"
        "    for out, value in zip((output, lse), compute(q, k, v, indptr, indices, scale)):\n"
        "        out.copy_(value)\n"
    )
    made = single(GQA, "main.py", text, destination_passing_style=True)
    apply = loaded(tmp_path, deployed(GQA, made))
    inputs = inputs_of(GQA)
    for got, want in zip(apply(**inputs, return_lse=True), reference(GQA, inputs), strict=True):
        assert torch.equal(got, want) and got.dtype is want.dtype


def test_filters_may_be_numbers_and_samples_are_int32(tmp_path: Path) -> None:
    apply, inputs = loaded(tmp_path, deployed(TOP_K)), inputs_of(TOP_K)
    best = apply(probs=inputs["probs"], top_k=1)
    assert best.dtype is torch.int32 and torch.equal(best, inputs["probs"].argmax(1).int())


def test_norms_of_more_dimensions_and_other_types(tmp_path: Path) -> None:
    apply, inputs = loaded(tmp_path, deployed(NORM)), inputs_of(NORM)
    wide = inputs["hidden_states"][None].expand(2, -1, -1)
    assert torch.equal(apply(wide, inputs["weight"])[1], reference(NORM, inputs))
    with pytest.raises(TypeError, match="verified for torch.bfloat16 only"):
        apply(wide.half(), inputs["weight"])


# FlashInfer's own side
@pytest.fixture(scope="module")
def trace_apply() -> None:
    """Skips where FlashInfer has no Trace Apply; looked for without importing FlashInfer here."""
    found = importlib.util.find_spec("flashinfer")
    folder = Path(next(iter(found.submodule_search_locations))) if found else Path()
    if not (folder / "trace_apply").is_dir():
        pytest.skip("needs flashinfer-python 0.7.2 or newer")


def choices() -> list[Choice]:
    return [Choice(d, route_of(d), solution(d, f"own_{d.name}")) for d in ROUTED]


CHILD = """
import json, sys, torch
torch.cuda.is_current_stream_capturing = lambda: False
import flashinfer
from flashinfer.decode import BatchDecodeWithPagedKVCacheWrapper as Decode
from flashinfer.trace_apply import stats
from flashinfer.trace_apply.config import load_config
values = torch.load(sys.argv[1])
x, r, w = (values[n] for n in ("hidden_states", "residual", "weight"))
flashinfer.norm.fused_add_rmsnorm(x, r, w)
q, k, v = (values[n] for n in ("q", "k_cache", "v_cache"))
wrapper = object.__new__(Decode)
wrapper._paged_kv_indptr_buf = values["kv_indptr"]
wrapper._paged_kv_indices_buf = values["kv_indices"]
wrapper._sm_scale = None
output = wrapper.run(q, (k, v))
both = wrapper.run(q, (k, v), return_lse=True)
torch.save({"x": x, "r": r, "output": output, "both": both}, sys.argv[2])
print(json.dumps([len(load_config().solutions), stats()]))
"""


def test_flashinfer_loads_and_calls_it(trace_apply: None, tmp_path: Path) -> None:
    """The environment variables, FlashInfer's import hook, loader, routing and output binding; a
    wrapper that was never planned stands in for one that needs a GPU."""
    folder = tmp_path / "apply"
    curated.write(folder, curated.files(choices(), "tests"), [])
    fused, values = ROUTED[1], {**inputs_of(ROUTED[1]), **inputs_of(GQA)}
    torch.save(values, tmp_path / "in.pt")
    environment = {**os.environ, curated.ENABLE: "1", curated.PATH: str(folder)}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "in.pt"), str(tmp_path / "out.pt")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    count, stats = json.loads(done.stdout.splitlines()[-1])
    assert count == len(ROUTED)
    assert sorted(s for counts in stats.values() for s in counts.items()) == [
        ("hit", 1),
        ("hit", 2),
    ]
    got = torch.load(tmp_path / "out.pt")
    given = {name: values[name] for name in fused.inputs}
    assert torch.equal(got["x"], reference(fused, given))  # in place, the sum beside it
    assert torch.equal(got["r"], values["hidden_states"] + values["residual"])
    want = reference(GQA, {name: values[name] for name in GQA.inputs})
    assert torch.equal(got["output"], want[0]) and torch.equal(got["both"][1], want[1])


def test_live_check_on_a_cpu(trace_apply: None, tmp_path: Path) -> None:
    folder = tmp_path / "apply"
    broken = solution(TOP_K, "broken").model_dump(mode="json")
    text = "import torch\ndef run(probs, top_k):\n    return probs.argmin(dim=1)\n"
    broken["sources"][1]["content"] = text
    made = [*choices()[:4], Choice(TOP_K, route_of(TOP_K), Solution.model_validate(broken))]
    curated.write(folder, curated.files(made, "tests"), [])
    found = {v["live_name"]: v for v in live.check(folder, made, "cpu", 120.0)}
    assert [v["status"] for v in found.values()] == ["PASSED"] * 3 + ["SKIPPED", "FAILED"]
    assert "filters exclude" in found["top_k_sampling_v40"]["message"]
    assert all(v["hits"] == 1 for v in found.values() if v["status"] != "SKIPPED")


@pytest.mark.parametrize("definition", ROUTED, ids=lambda definition: definition.name)
def test_the_live_name_is_the_templates(trace_apply: None, definition: Definition) -> None:
    """The name that FlashInfer's template gives the call is the one that is deployed."""
    from kernelkit.ops.crosscheck import trace

    call = family(definition.op_type).flashinfer_call(definition)
    assert trace(call)["name"] == route_of(definition).live
