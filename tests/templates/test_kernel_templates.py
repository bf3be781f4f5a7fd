"""The templates that wrap or hold real kernels: their form, and their kernels on a CPU.

Triton kernels run through the interpreter, in a process of their own, where Triton is installed.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.solution import Solution  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.solutions.scaffold import scaffold  # noqa: E402
from kernelkit.solutions.templates import FOLDER, Template  # noqa: E402

GQA = family("gqa_paged").definition(32, 8, 128, 1, prefill=False)
GDN = family("gdn").definition(4, 8, 128, stage="decode")
MLA = family("mla_paged").definition(16, 512, 64, 1, prefill=False)
NORM = family("rmsnorm").definition
GDN_64 = family("gdn").definition(8, 16, 64, stage="decode")
NAMES = {
    "flashinfer_wrapper": GQA,
    "linear_attention": GDN,
    "linear_attention_prefill": family("gdn").definition(4, 8, 128, stage="prefill"),
    "vendored_kernel": MLA,
    "cute_dsl": NORM(4096, 1e-5),
}
DRIVER = Path(__file__).with_name("try_template.py")


@pytest.fixture(params=sorted(NAMES))
def template(request: pytest.FixtureRequest) -> Template:
    """Each of the four."""
    return Template.read(FOLDER / f"{request.param}.json")


def run_of(text: str, name: str = "run") -> ast.FunctionDef | None:
    """A top-level function of a source."""
    found = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name]
    return found[0] if found else None


def parameters(function: ast.FunctionDef) -> list[str]:
    """The names of its positional parameters."""
    return [argument.arg for argument in function.args.args]


def test_is_a_solution_of_its_definition(template: Template) -> None:
    definition = NAMES[template.name]
    solution = Solution.model_validate(template.document())
    assert solution.definition == definition.name
    assert template.serves(definition)
    assert definition.op_type in template.metadata["op_types"]
    assert not solution.spec.destination_passing_style
    assert "cpu" not in solution.spec.target_hardware
    assert all(source.content.strip() for source in solution.sources)


def test_run_takes_the_inputs_in_order(template: Template) -> None:
    definition, run = NAMES[template.name], run_of(template.main)
    assert run is not None and run.returns is not None
    assert parameters(run) == list(definition.inputs)


def test_annotations_stay_objects(template: Template) -> None:
    # flashinfer-bench counts the outputs in the return annotation, and takes a text for one.
    futures = [
        node for node in ast.walk(ast.parse(template.main))
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]  # fmt: skip
    assert not futures


def test_setup_takes_index_inputs_only(template: Template) -> None:
    setup, definition = run_of(template.main, "setup"), NAMES[template.name]
    names = parameters(setup) if setup else []
    assert bool(names) is (template.name == "flashinfer_wrapper")
    for name in names:
        assert definition.inputs[name].dtype.value.startswith("int")


def test_extra_files_are_imported_relatively(template: Template) -> None:
    modules = {Path(path).parts[0] for path in template.extra}
    for text in (template.main, *template.extra.values()):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                assert not modules & {alias.name.split(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] not in modules


@pytest.mark.parametrize(
    ("name", "definition", "constants"),
    [
        ("flashinfer_wrapper", family("gqa_paged").definition(40, 8, 64, 1, prefill=False),
         {"NUM_QO_HEADS": 40, "NUM_KV_HEADS": 8, "HEAD_DIM": 64}),
        ("linear_attention", GDN_64, {"HEAD_SIZE": 64}),
        ("vendored_kernel", family("mla_paged").definition(128, 256, 32, 1, prefill=False),
         {"HEAD_DIM_CKV": 256, "HEAD_DIM_KPE": 32}),
        ("cute_dsl", NORM(2880, 1e-5), {"HIDDEN_SIZE": 2880, "EPS": 1e-5, "WEIGHT_OFFSET": 0.0}),
        ("cute_dsl", NORM(7168, 1e-6, gemma=True), {"HIDDEN_SIZE": 7168, "WEIGHT_OFFSET": 1.0}),
    ],
)  # fmt: skip
def test_scaffold_sets_the_constants(
    name: str, definition: Definition, constants: dict[str, object]
) -> None:
    template = Template.read(FOLDER / f"{name}.json")
    assert template.serves(definition)
    files = scaffold(definition, template, own=True, author="someone", name="mine")
    tree = ast.parse(files["main.py"])
    found = {
        node.targets[0].id: ast.literal_eval(node.value) for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        and isinstance(node.targets[0], ast.Name)
    }  # fmt: skip
    assert {key: found[key] for key in constants} == constants
    assert set(template.extra) <= files.keys()


def test_other_page_sizes_are_not_served() -> None:
    for name in ("gqa_paged", "mla_paged"):
        sizes = (32, 8, 128, 16) if name == "gqa_paged" else (16, 512, 64, 64)
        definition = family(name).definition(*sizes, prefill=False)
        assert not any(
            Template.read(FOLDER / f"{n}.json").serves(definition)
            for n in ("flashinfer_wrapper", "vendored_kernel")
        )


# Triton's interpreter

INTERPRETED = {
    "vendored_kernel": [{"lengths": each} for each in ([1], [200], [0, 17])],
    "linear_attention": [{"axes": {"batch_size": 1}, "given": given}
                         for given in ({}, {"scale": None, "state": None})],
}  # fmt: skip
UNFIT = {
    "only 0-dimensional arrays": "this Triton's interpreter needs numpy below 2.4",
    "not kernel arguments": "flash-linear-attention 0.5.0 needs a Triton below 3.9",
}


@pytest.mark.parametrize("name", sorted(INTERPRETED))
def test_kernel_through_the_interpreter(name: str) -> None:
    for package in ("triton", *(["fla"] if name == "linear_attention" else [])):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    cases = json.dumps(INTERPRETED[name])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(DRIVER), name, "--cases", cases],
        capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"}, timeout=300,
    )  # fmt: skip
    for symptom, reason in UNFIT.items():
        if symptom in done.stdout:
            pytest.skip(reason)
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
    assert [row["status"] for row in rows] == ["PASSED"] * len(INTERPRETED[name]), done.stdout
    assert done.returncode == 0
