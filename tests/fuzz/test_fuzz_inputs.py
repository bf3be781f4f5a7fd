"""Hostile inputs from elsewhere: configs, cookbooks, manifests, dumps, documents of the website."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fuzz_samples import lay_out
from hostile import budget, changed_bytes, hostile_json, refused_or_read, snapshot
from hypothesis import given
from hypothesis import strategies as st

from kernelkit.errors import KernelkitError
from kernelkit.models.config import parse_config
from kernelkit.models.hub import read_config
from kernelkit.ops.derivation import Request, derive

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
MODELS = ("meta-llama__Llama-3.1-8B", "deepseek-ai__DeepSeek-V3.2-Exp",
          "Qwen__Qwen3-Next-80B-A3B-Instruct", "nvidia__Nemotron-H-56B-Base-8K",
          "openai__gpt-oss-20b", "ibm-granite__granite-4.0-h-tiny")  # fmt: skip
FAMILIES = ("rmsnorm", "gemm", "gqa_paged", "moe", "mla_paged", "gdn", "mamba_ssu", "rope")


@pytest.mark.parametrize("model", MODELS)
def test_configs(tmp_path: Path, model: str) -> None:
    config = json.loads((FIXTURES / "configs" / f"{model}.json").read_text())
    file = tmp_path / "config.json"

    @budget()
    @given(hostile_json(config))
    def check(data: bytes) -> None:
        file.write_bytes(data)

        def read() -> object:
            return derive(parse_config(read_config(file), name="x"), Request(op_types=FAMILIES))

        refused_or_read(read)

    check()
    assert snapshot(tmp_path).keys() == {"config.json"}


ABSURD = (2**31, 2**63, 10**400, -1, 0, float("inf"), float("nan"), [], {"a": 1}, "x", True, None)


@pytest.mark.parametrize("model", MODELS)
def test_every_field_of_a_config_may_be_absurd(model: str) -> None:
    """One field after the other: a huge count of layers or heads must cost neither time nor
    memory."""
    config = json.loads((FIXTURES / "configs" / f"{model}.json").read_text())
    for field in config:
        for value in ABSURD:
            changed = {**config, field: value}
            refused_or_read(lambda changed=changed: parse_config(changed, name="x"))


COOKBOOK: dict[str, Any] = {
    "vendor": "v",
    "families": [{"models": [{
        "name": "m", "model_path": "org/a",
        "hardware": {"H200": {"configurations": [{
            "name": "default", "attributes": {"quantization": "fp8"},
            "quantized_model_path": None, "engine": {"tp": 8, "ep": 2, "dp": None},
            "prefill": None, "decode": None}]}},
    }]}],
}  # fmt: skip
YAML = (b"a: !!python/object/apply:os.system ['touch outside']\n", b"a: &a [*a]\n", b"\tb: c\n",
        b"a: &x [1]\nb: *y\n", b"? [1, 2]\n: x\n", b"<<: 3\n", b"!!binary x\n",
        b"2026-13-45\n")  # fmt: skip


def test_cookbooks(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    from kernelkit.models.cookbook import all_models, serving_configs

    file = tmp_path / "data" / "models" / "generated" / "v0.5.6" / "a.yaml"
    file.parent.mkdir(parents=True)

    @budget(cheap=2)
    @given(st.one_of(hostile_json(COOKBOOK), st.sampled_from(YAML)))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        refused_or_read(lambda: serving_configs(tmp_path, "org/a"))
        refused_or_read(lambda: all_models(tmp_path))

    check()
    assert len(snapshot(tmp_path)) == 1


def test_run_manifests(tmp_path: Path) -> None:
    from kernelkit.inventory import manifest

    file = tmp_path / "manifest.json"
    known = manifest.fresh("m", "org/m")
    known.kernels = [
        manifest.Kernel(definition_name="rmsnorm_h64", op_type="rmsnorm", phase1_status="new",
                        evidence=[manifest.Evidence(about="dataset", text="absent", line=1)])
    ]  # fmt: skip
    known.serving = [manifest.Serving(tp=8, ep=1)]
    document = json.loads(known.to_text())

    @budget(cheap=3)
    @given(hostile_json(document))
    def check(data: bytes) -> None:
        file.write_bytes(data)

        def change(held: manifest.Manifest) -> None:
            manifest.merge(held, known)

        if refused_or_read(lambda: manifest.load(file)) is None:
            return
        if refused_or_read(lambda: manifest.update(file, change)) is not None:
            manifest.load(file)

    check()


def test_recorded_outcomes(tmp_path: Path) -> None:
    from kernelkit.reftests import outcomes

    record = {"status": "passed", "verified": True, "definition": "0" * 16, "tests": ["a"]}
    document = {"schema_version": outcomes.SCHEMA_VERSION, "outcomes": {"rmsnorm_h64": record}}
    file = tmp_path / "outcomes.json"

    @budget(cheap=3)
    @given(hostile_json(document))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        refused_or_read(lambda: outcomes.load(file))

    check()


def test_coverage_documents(tmp_path: Path) -> None:
    from kernelkit.inventory.coverage import checks
    from kernelkit.inventory.coverage.expected import Holdings
    from kernelkit.inventory.coverage.lines import read_document

    data = (FIXTURES / "coverage" / "kept_by_hand.mdx").read_bytes()
    file = tmp_path / "coverage.mdx"
    holdings = Holdings(lay_out(tmp_path / "dataset"))

    @budget(cheap=2)
    @given(changed_bytes(data))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        document = refused_or_read(lambda: read_document(file))
        if document is not None:
            assert document.text.encode("utf-8", "surrogateescape") == data
            list(checks.check_files(document, holdings))

    check()


TYPESCRIPT = (b"`${models}`", b"...models,", b"/*", b"//", b"'\\u{110000}'", b"'\\u{d800}'", b"0x",
              b"1e999",
              b"[models]: 1,", b"<a/>", b"as const", b"\xe2\x80\xa8", b"(" * 500,
              b"[" * 3000)  # fmt: skip


def test_models_files() -> None:
    pytest.importorskip("tree_sitter_typescript")
    from kernelkit.webmodel.models_file import ModelsFile

    data = (FIXTURES / "web" / "models.ts").read_bytes()

    @st.composite
    def spliced(draw: st.DrawFn) -> bytes:
        at = draw(st.integers(0, len(data)))
        return data[:at] + draw(st.sampled_from(TYPESCRIPT)) + data[at:]

    @budget(cheap=2)
    @given(st.one_of(changed_bytes(data), spliced()))
    def check(data: bytes) -> None:
        def read() -> object:
            file = ModelsFile(data, "models.ts")
            for held in file.entries:
                refused_or_read(lambda held=held: file.entry(held.id))
                held.is_spread()
                for key in ("id", "name", "modules", "layers", "nodes"):
                    held.literal(key)
            return file.style()

        refused_or_read(read)

    check()


def test_trace_dumps(tmp_path: Path) -> None:
    from kernelkit.capture.normalize import normalizer, raw

    document = {
        "name": "rmsnorm_h128", "op_type": "rmsnorm", "description": "x",
        "tags": ["fi_api:flashinfer.norm.rmsnorm"],
        "axes": {"batch_size": {"type": "var"}, "hidden_size": {"type": "const", "value": 128}},
        "constraints": [],
        "inputs": {"hidden_states": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"},
                   "weight": {"shape": ["hidden_size"], "dtype": "bfloat16"},
                   "eps": {"shape": None, "dtype": "float32", "value": 1e-6}},
        "outputs": {"output": {"shape": ["batch_size", "hidden_size"], "dtype": "bfloat16"}},
        "reference": "import torch\n\n\ndef run(hidden_states, weight, eps):\n    return weight\n",
    }  # fmt: skip
    file = tmp_path / "dump.json"

    @budget(cheap=2)
    @given(hostile_json(document))
    def check(data: bytes) -> None:
        file.write_bytes(data)
        dumps = [one for one in raw.read(raw.find(tmp_path)) if isinstance(one, raw.RawDump)]

        def read() -> object:
            found = normalizer.normalize(dumps, normalizer.Source(), tmp_path)
            for one in found:
                json.dumps(one.as_dict()), one.as_text()
            return found

        refused_or_read(read)

    check()


def test_an_unknown_error_is_a_finding() -> None:
    """The promise itself: what is no error of ours is not swallowed."""
    assert refused_or_read(lambda: 3) == 3

    def bad() -> None:
        raise KeyError("x")

    def refused() -> None:
        raise KernelkitError("no")

    assert refused_or_read(refused) is None
    with pytest.raises(KeyError):
        refused_or_read(bad)
