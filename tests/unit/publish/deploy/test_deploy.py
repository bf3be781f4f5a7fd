"""Deployments: what is chosen, what Trace Apply is given, and that FlashInfer itself runs it."""

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

from kernelkit.bench.selection import key  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.dataset.trace import Evaluation, Trace  # noqa: E402
from kernelkit.dataset.workload import Workload  # noqa: E402
from kernelkit.errors import UsageError  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.publish.deploy import curated, entry, live  # noqa: E402
from kernelkit.publish.deploy.choosing import Choice, calls_flashinfer, choose  # noqa: E402
from kernelkit.publish.deploy.routes import Route, route_of  # noqa: E402

NORM = family("rmsnorm").definition(64, 1e-6)
GQA = family("gqa_paged").definition(4, 2, 16, 1, prefill=False)
TOP_K = family("sampling").definition("top_k", 40)
ROUTED = [
    NORM,
    family("rmsnorm").definition(64, 1e-6, fused=True),
    family("rmsnorm").definition(64, 1e-6, gemma=True),
    GQA,
    family("gqa_paged").definition(4, 2, 16, 1, prefill=True),
    family("gqa_ragged").definition(4, 2, 16),
    family("mla_ragged").definition(4, 24, 16),
    family("mla_paged").definition(4, 32, 16, 1, prefill=False),
    *(family("sampling").definition(kind, 40) for kind in ("top_k", "top_p", "top_k_top_p")),
]
DEVICE = "NVIDIA H200"


def solution(definition: Definition, name: str = "own") -> Solution:
    """The reference as a solution of two files, of which one imports the other."""
    main = "from .kernels.plain import run\n\n\ndef start(*args):\n    return run(*args)\n"
    return Solution.model_validate({
        "name": name, "definition": definition.name, "author": "me",
        "spec": {"language": "python", "target_hardware": ["cuda"], "dependencies": ["torch"],
                 "entry_point": "lib/main.py::start", "destination_passing_style": False},
        "sources": [{"path": "lib/main.py", "content": main.replace(".kernels", "..kernels")},
                    {"path": "kernels/plain.py", "content": definition.reference}],
    })  # fmt: skip


def single(definition: Definition, path: str, text: str, **spec: Any) -> Solution:
    """A solution of one file, with parts of its spec changed."""
    document = solution(definition).model_dump(mode="json")
    document["sources"] = [{"path": path, "content": text}]
    document["spec"] |= {"entry_point": f"{path}::run"} | spec
    return Solution.model_validate(document)


def evaluation(status: str, latency_ms: float, log: str, hardware: str) -> Evaluation:
    """A verdict with its times."""
    found: dict[str, Any] = {"status": status, "environment": {"hardware": hardware}, "log": log,
                             "timestamp": "2026-01-01T00:00:00"}  # fmt: skip
    if status == "PASSED":
        found |= {"correctness": {}, "performance": {"latency_ms": latency_ms,
                  "reference_latency_ms": 1.0, "speedup_factor": 1.0 / latency_ms}}  # fmt: skip
    return Evaluation.model_validate(found)


def measured(
    dataset: Dataset, made: Solution, statuses: dict[str, str], latency_ms: float, *,
    log: str = "", hardware: str = DEVICE,
) -> None:  # fmt: skip
    """Write a solution and one trace for each workload, by uuid."""
    definition = dataset.find_definition(made.definition)
    dataset.write_solution(made, definition)
    traces = []
    for uuid, status in statuses.items():
        inputs = {name: {"type": "random"} for name in definition.inputs}
        work = Workload.model_validate({"uuid": uuid, "axes": {"batch_size": 2}, "inputs": inputs})
        found = evaluation(status, latency_ms, log, hardware)
        traces.append(Trace(definition=definition.name, workload=work, solution=made.name,
                            evaluation=found))  # fmt: skip
    dataset.append_traces(definition, traces)
    dataset.write_workloads(definition, [t.model_copy(update={"solution": None, "evaluation": None})
                                         for t in traces])  # fmt: skip


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """A norm with two workloads and solutions good, fast but wrong, slow, and of FlashInfer."""
    dataset.write_definition(NORM)
    both = {"a": "PASSED", "b": "PASSED"}
    measured(dataset, solution(NORM, "good"), both, 0.5)
    measured(dataset, solution(NORM, "slow"), both, 0.9)
    wrong = {"a": "PASSED", "b": "RUNTIME_ERROR"}
    measured(dataset, solution(NORM, "wrong"), wrong, 0.1)
    wrapper = solution(NORM, "wrapper").model_dump(mode="json")
    wrapper["sources"][1]["content"] = "import flashinfer.norm\n" + NORM.reference
    measured(dataset, Solution.model_validate(wrapper), both, 0.2)
    return dataset


def chosen(dataset: Dataset, **options: Any) -> Choice:
    """The one choice of a dataset with one definition."""
    (found,) = choose(dataset, list(dataset.definitions().values()), **options)
    return found


def test_the_fastest_that_is_right_everywhere(filled: Dataset) -> None:
    found = chosen(filled)
    assert found.solution.name == "good" and found.score.hardware == DEVICE
    assert found.passed_over == (
        "wrapper: it calls FlashInfer, and would be handed its own call",
        "wrong: passed 1 of 2 workloads",
    )
    assert chosen(filled, solutions=["slow"]).solution.name == "slow"
    assert chosen(filled, solutions=["wrong"]).solution is None


def test_traces_of_other_sources_do_not_count(filled: Dataset) -> None:
    made = solution(NORM, "newer")
    both = {"a": "PASSED", "b": "PASSED"}
    measured(filled, made, both, 0.01, log="solution sha256:0123456789abcdef on cuda")
    assert chosen(filled).solution.name == "good"
    assert "newer: its sources changed after it was measured" in chosen(filled).passed_over
    measured(filled, made, both, 0.01, log=f"solution sha256:{key(made)} on cuda")
    assert chosen(filled).solution.name == "newer"


def test_one_device_counts(filled: Dataset) -> None:
    both = {"a": "PASSED", "b": "PASSED"}
    measured(filled, solution(NORM, "other"), both, 0.1, hardware="NVIDIA B200")
    with pytest.raises(UsageError, match="several devices"):
        chosen(filled)
    assert chosen(filled, hardware="b200").solution.name == "other"
    assert chosen(filled, hardware="h200").solution.name == "good"
    with pytest.raises(UsageError, match="no one device"):
        chosen(filled, hardware="NVIDIA")


def test_compiled_languages_are_left_out(dataset: Dataset) -> None:
    dataset.write_definition(NORM)
    made = single(NORM, "k.cu", "// nothing", language="cuda")
    measured(dataset, made, {"a": "PASSED"}, 0.5)
    assert "hands a cuda solution other arguments" in chosen(dataset).reason


def test_two_definitions_of_one_live_name(dataset: Dataset) -> None:
    other = NORM.model_copy(update={"name": "rmsnorm_h64_eps1e-5"})
    for definition in (NORM, other):
        dataset.write_definition(definition)
        measured(dataset, solution(definition, f"s_{definition.name}"), {"a": "PASSED"}, 0.5)
    found = choose(dataset, [NORM, other])
    assert [c.solution for c in found] == [None, None]
    assert "rmsnorm_h64_eps1e-5; name one with --definitions" in found[0].reason
    assert choose(dataset, [other])[0].route.live == "rmsnorm_h64"


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("import flashinfer", True),
        ("from flashinfer.norm import rmsnorm", True),
        ("import importlib\nx = importlib.import_module('flashinfer.norm')", True),
        ("'''as flashinfer does it'''\nimport flashinfer_like", False),
        ("from .flashinfer import x", False),
    ],
)
def test_who_calls_flashinfer(text: str, calls: bool) -> None:
    document = solution(NORM).model_dump(mode="json")
    document["sources"][1]["content"] = f"{text}\n{NORM.reference}"
    assert calls_flashinfer(Solution.model_validate(document)) is calls


@pytest.mark.parametrize(
    "definition",
    [
        family("gqa_paged").definition(4, 2, 16, 64, prefill=False),
        family("mla_paged").definition(4, 32, 16, 1, prefill=True),
        family("rmsnorm").definition(64, 1e-6, fused=True, gemma=True),
        family("gemm").definition(8, 8),
        family("rope").definition(16, 8),
        family("gdn").definition(2, 4, 16, stage="decode"),
    ],
    ids=lambda definition: definition.name,
)
def test_calls_that_a_name_does_not_determine(definition: Definition) -> None:
    assert isinstance(route_of(definition), str)


def test_what_the_name_does_not_show_is_said() -> None:
    route = route_of(NORM)
    assert isinstance(route, Route) and "eps=1e-06" in route.assumes


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
