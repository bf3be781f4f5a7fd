"""What generated files look like: clean, no larger than needed, the same on every call."""

from __future__ import annotations

import ast
import dataclasses
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from samples import DEFINITIONS

from kernelkit.dataset.store import Dataset
from kernelkit.ops import family
from kernelkit.reftests import bundle, write
from kernelkit.reftests.plan import NoPlanError
from kernelkit.reftests.plans import plan_of

NO_EPS = "def run(hidden_states, weight):\n    return hidden_states * weight\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The test of every sample definition."""
    dataset = Dataset.create(tmp_path_factory.mktemp("files"))
    written = {}
    for name, definition in DEFINITIONS.items():
        dataset.write_definition(definition)
        path = dataset.definition_path(definition)
        made = write.write(dataset, path, definition, write.Options(), dry_run=False)
        assert made.action == "new"
        written[name] = made.path
        again = write.write(dataset, path, definition, write.Options(), dry_run=False)
        assert again.action == "unchanged"
    return written


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
def test_files_are_linted_and_formatted(files: dict[str, Path]) -> None:
    folder = next(iter(files.values())).parent
    for words in (("check", "--select", "E,F,I,W,B,UP"), ("format", "--check")):
        command = [sys.executable, "-m", "ruff", *words, "--isolated", "--line-length", "100"]
        done = subprocess.run([*command, folder], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout


def test_every_function_is_used(files: dict[str, Path]) -> None:
    for path in files.values():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        unused = {name for name in defined - used if not name.startswith("test_")}
        assert unused == set(), path.name


def test_constants_are_the_definitions(files: dict[str, Path]) -> None:
    grouped = next(name for name in files if "ds_routing" in name)
    text = files[grouped].read_text(encoding="utf-8")
    assert "TOP_K = 4\n" in text and "N_GROUP = 4\n" in text and "TOPK_GROUP = 2\n" in text
    assert "route = route_ds\n" in text and "def route_renorm" not in text
    assert "EPS = 1e-05\n" in files["rmsnorm_h512"].read_text(encoding="utf-8")


def test_tolerances_are_the_ops(files: dict[str, Path]) -> None:
    name = "gqa_ragged_prefill_causal_h8_kv2_d64"
    tolerance = family("gqa_ragged").tolerance(DEFINITIONS[name])
    text = files[name].read_text(encoding="utf-8")
    for one in (tolerance, tolerance.each["lse"]):
        assert f"atol={one.atol},\n        rtol={one.rtol}," in text
    assert f"row_error={tolerance.row_error}" in text


def test_an_edit_shows(files: dict[str, Path]) -> None:
    text = next(iter(files.values())).read_text(encoding="utf-8")
    assert write.is_untouched(text)
    assert not write.is_untouched(text.replace("SEED", "SEEDS"))
    assert not write.is_untouched("def test() -> None: ...\n")


def test_a_reference_with_fixed_sizes_keeps_them() -> None:
    definition = family("gemm").definition(4096, 512)
    assert write.reduced_axes(definition, plan_of(definition)) == {"N": 512}
    text = definition.reference.replace("    return", "    assert B.shape[0] == 4096\n    return")
    fixed = definition.model_copy(update={"reference": text})
    assert write.reduced_axes(fixed, plan_of(fixed)) == {}


def test_what_is_not_known_is_said() -> None:
    definition = DEFINITIONS["rmsnorm_h512"]
    with pytest.raises(NoPlanError, match="no ground truth"):
        plan_of(definition.model_copy(update={"op_type": "odd"}))
    with pytest.raises(NoPlanError, match="not the interface"):
        plan_of(definition.model_copy(update={"op_type": "gemm"}))
    for changes in ({"op_type": "moe"}, {"name": "layernorm_h512"}, {"reference": NO_EPS}):
        with pytest.raises(NoPlanError, match="not the interface"):
            plan_of(definition.model_copy(update=changes))


def test_an_input_that_is_not_known_is_said(dataset: Dataset) -> None:
    held = DEFINITIONS["rmsnorm_h512"]
    odd = held.model_copy(update={"inputs": {**held.inputs, "bias": held.inputs["weight"]}})
    with pytest.raises(NoPlanError, match="inputs bias"):
        write.write(dataset, dataset.definition_path(odd), odd, write.Options(), dry_run=True)


def test_a_part_that_lacks_a_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        bundle.bundle([[("draws", "nothing")]], {})


@pytest.mark.parametrize(
    "name", [n for n, d in DEFINITIONS.items() if d.op_type in ("sampling", "dsa_paged", "gemm")]
)
def test_a_ground_truth_gets_contiguous_inputs(
    files: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FlashInfer's kernels refuse a view with strides; torch, the stand-in on a CPU, does not."""
    monkeypatch.setenv("REFERENCE_TEST_DEVICE", "cpu")
    scope = runpy.run_path(str(files[name]))
    got: dict[str, Any] = {}
    truth = next(each for each in scope["GROUND_TRUTHS"].values() if each.package is None)

    def compute(inputs: dict[str, Any]) -> Any:
        got.update(inputs)
        return truth.compute(inputs)

    spied = dataclasses.replace(truth, compute=compute)
    scope["check"](scope["sized_inputs"]("small")[1], spied, lambda *_: None)
    assert got
    assert [n for n, v in got.items() if hasattr(v, "stride") and not v.is_contiguous()] == []
