"""Every template is a complete solution as it lies, and says truly what it serves."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from kernelkit.dataset.definition import Definition
from kernelkit.errors import FormatError, UsageError
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import OP_TYPES, gemm, rmsnorm
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.moe import FAMILY
from kernelkit.solutions.constants import fill
from kernelkit.solutions.documents import check_entry, parse
from kernelkit.solutions.pack import pack_source
from kernelkit.solutions.scaffold import scaffold
from kernelkit.solutions.templates import FOLDER, MAIN, Template, choose, load_all, row, serving

TEMPLATES = load_all()
CONFIGS = Path(__file__).resolve().parents[1] / "fixtures" / "configs"
EVERY = pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.name)
NVCC = shutil.which("nvcc")


@pytest.fixture(scope="module")
def real_definitions() -> dict[str, Definition]:
    """The definitions of the bundled configs at the TP and EP sizes that the templates name; their
    experts in bfloat16 too, which no model has by default."""
    found: dict[str, Definition] = {}
    degrees = [Parallelism(tp=size) for size in (1, 2, 4, 8)]
    request = Request(parallel=(*degrees, Parallelism(tp=8, ep=8)))
    for path in sorted(CONFIGS.glob("*.json")):
        spec = load_model(None, None, path).spec
        for variant in derive(spec, request).variants:
            found.setdefault(variant.definition.name, variant.definition)
        if spec.moe is not None:
            plain = FAMILY.definition(
                "bf16", None, num_experts=spec.moe.num_experts, top_k=spec.moe.top_k,
                hidden_size=spec.hidden_size, intermediate_size=spec.moe.intermediate_size,
            )  # fmt: skip
            found.setdefault(plain.name, plain)
    return found


def _definition(template: Template, known: dict[str, Definition]) -> Definition:
    name = template.metadata["definition"]
    assert name in known, f"{name} follows from no bundled config"
    return known[name]


def test_the_templates_of_the_playbook_are_there() -> None:
    groups = {template.group for template in TEMPLATES}
    assert groups >= {"dense_baseline", "triton_kernel", "cuda_kernel"}
    mains = {path.name.removesuffix(f"_{MAIN}") for path in FOLDER.glob(f"*_{MAIN}")}
    assert mains == {template.name for template in TEMPLATES}


@EVERY
def test_it_packs_as_it_lies(template: Template) -> None:
    document = pack_source(template.path)
    solution = parse(document, template.name)
    check_entry(solution, template.name)
    assert solution.spec.entry_point == "main.py::run"
    assert set(document) == {"name", "definition", "author", "description", "spec", "sources"}
    assert set(template.metadata["op_types"]) <= set(OP_TYPES)


@EVERY
def test_its_arguments_are_the_definitions(
    template: Template, real_definitions: dict[str, Definition]
) -> None:
    definition = _definition(template, real_definitions)
    assert template.serves(definition)
    assert definition.op_type in template.metadata["op_types"]
    run = ast.parse(template.main).body[-1]
    assert isinstance(run, ast.FunctionDef) and run.name == "run"
    outputs = definition.outputs if template.metadata["spec"]["destination_passing_style"] else ()
    assert [a.arg for a in run.args.args] == [*definition.inputs, *outputs]


@EVERY
def test_its_constants_are_the_definitions(
    template: Template, real_definitions: dict[str, Definition]
) -> None:
    values = _definition(template, real_definitions).const_axes
    for path, text in {MAIN: template.main, **template.extra}.items():
        assert fill(path, text, values) == text


@EVERY
def test_the_pattern_names_real_definitions(
    template: Template, real_definitions: dict[str, Definition]
) -> None:
    for definition in real_definitions.values():
        if template.serves(definition):
            files = scaffold(definition, template, own=True, author="a", name="n")
            compile(files[MAIN], MAIN, "exec")


def test_choosing(real_definitions: dict[str, Definition]) -> None:
    product, norm = gemm.FAMILY.definition(8, 8), rmsnorm.FAMILY.definition(8, 1e-5)
    assert choose(TEMPLATES, "triton_kernel", product)[0].name == "triton_kernel_gemm"
    assert choose(TEMPLATES, "triton_kernel_gemm", product)[0].name == "triton_kernel_gemm"
    assert choose(TEMPLATES, "triton_kernel", norm)[0].name == "triton_kernel"
    paged = real_definitions["gqa_paged_decode_h32_kv8_d128_ps1"]
    assert choose(TEMPLATES, "dense_baseline", paged)[1]
    assert not choose(TEMPLATES, "dense_baseline", norm)[1]
    with pytest.raises(
        UsageError, match="no such template; received: nope; allowed: .*cuda_kernel"
    ):
        choose(TEMPLATES, "nope", norm)
    with pytest.raises(UsageError, match="does not serve gemm_n8_k8.*allowed: dense_base.*triton"):
        choose(TEMPLATES, "cuda_kernel", product)
    assert {t.name for t in serving(TEMPLATES, product)} == {
        "dense_baseline",
        "triton_kernel_gemm",
        "fast_gemm",
    }


EXPERTS = {"num_experts": 8, "hidden_size": 128, "intermediate_size": 128}


@pytest.mark.parametrize(("kind", "routing", "wanted"), [
    ("fp8_block", "ds", "fast_moe_fp8_ds"),
    *(("fp8_block", routing, "fast_moe_fp8_block")
      for routing in ("renorm", "renorm_naive", "default", "llama4", "topk")),
    ("fp8_per_tensor", "renorm", "fast_moe_fp8_tensor"),
    ("fp8_per_tensor", "llama4", "fast_moe_fp8_llama4"),
])  # fmt: skip
def test_fast_experts(kind: str, routing: str, wanted: str) -> None:
    top_k = 1 if routing == "llama4" else 2
    for local in (8, 2):
        definition = FAMILY.definition(
            kind, routing, num_local_experts=local, top_k=top_k, **EXPERTS
        )
        part = "_part" if local == 2 and routing != "ds" else ""
        template, own = choose(TEMPLATES, "fast_kernel", definition)
        assert (template.name, own) == (wanted + part, True)
        text = scaffold(definition, template, own=own, author="a", name="n")[MAIN]
        named = f"ROUTING = {routing!r}\n" in text
        assert named == wanted.endswith("block") and f"TOP_K = {top_k}\n" in text


def test_fast_experts_of_a_given_routing() -> None:
    definition = FAMILY.definition("bf16", None, top_k=2, **EXPERTS)
    assert choose(TEMPLATES, "fast_kernel", definition)[0].name == "fast_moe_bf16"
    assert "fast_moe_bf16" not in {t.name for t in serving(TEMPLATES, FAMILY.definition(
        "fp4_routed", None, top_k=2, **EXPERTS))}  # fmt: skip


def test_what_the_list_shows() -> None:
    shown = row(next(t for t in TEMPLATES if t.name == "dense_baseline"))
    assert shown["serves"][-1] == "every other definition, by its reference"
    assert shown["op_types"] == ["gqa_paged"] and shown["language"] == "python"


def test_constants_of_a_pattern() -> None:
    template = next(t for t in TEMPLATES if t.name == "triton_kernel")
    plain, gemma = (rmsnorm.FAMILY.definition(64, 1e-3, gemma=flag) for flag in (False, True))
    for definition, offset in ((plain, "0.0"), (gemma, "1.0")):
        text = scaffold(definition, template, own=True, author="a", name="n")[MAIN]
        assert f"\nHIDDEN_SIZE = 64\nEPS = 0.001\nWEIGHT_OFFSET = {offset}  #" in text


def test_a_json_that_is_no_template(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"name": "x"}', encoding="utf-8")
    with pytest.raises(FormatError, match="not a template: lacks author"):
        pack_source(tmp_path / "x.json")


@pytest.mark.skipif(NVCC is None, reason="no nvcc")
@pytest.mark.parametrize("size", [4096, 100])
def test_the_cuda_kernel_compiles(tmp_path: Path, size: int) -> None:
    template = next(t for t in TEMPLATES if t.name == "cuda_kernel")
    definition = rmsnorm.FAMILY.definition(size, 1e-5)
    for path, text in scaffold(definition, template, own=True, author="a", name="n").items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    command = [str(NVCC), "-arch=sm_90", "-Werror=all-warnings", "-c", "csrc/rmsnorm.cu"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rmsnorm.o").stat().st_size > 1000
