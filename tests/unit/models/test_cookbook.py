"""Serving configurations from a cookbook checkout."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kernelkit.errors import FormatError, NothingSelectedError, UsageError
from kernelkit.models import cookbook
from kernelkit.models.cookbook import parallel_sizes, serving_configs, serving_sizes
from kernelkit.models.parallelism import Parallelism

pytest.importorskip("yaml")


def _engine(tp: object, ep: object = None, dp: object = None) -> dict[str, object]:
    return {"tp": tp, "ep": ep, "dp": dp, "extra_args": []}


def _configuration(name: str, **parts: object) -> dict[str, object]:
    return {"name": name, "attributes": {"quantization": "fp8"}, "quantized_model_path": None,
            "engine": None, "prefill": None, "decode": None, **parts}  # fmt: skip


def _write(root: Path, version: str, model: str, *configurations: dict[str, object]) -> Path:
    folder = root / "data" / "models" / "generated" / version
    folder.mkdir(parents=True, exist_ok=True)
    models = [{"name": "m", "model_path": model,
               "hardware": {"H200": {"configurations": list(configurations)}}}]  # fmt: skip
    path = folder / f"{model.replace('/', '-')}.yaml"
    # JSON is YAML.
    path.write_text(json.dumps({"vendor": "v", "families": [{"models": models}]}))
    return path


def test_unset_sizes_are_one(tmp_path: Path) -> None:
    _write(tmp_path, "v0.5.6", "org/a", _configuration("default", engine=_engine(8)),
           _configuration("ep", engine=_engine(8, 8, 2)))  # fmt: skip
    first, second = serving_configs(tmp_path, "ORG/a")
    assert (first.tp, first.ep, first.dp, first.hardware) == (8, 1, 1, "H200")
    assert (second.ep, second.dp, second.name, second.quantization) == (8, 2, "ep", "fp8")
    assert first.file == "data/models/generated/v0.5.6/org-a.yaml"


def test_versions_are_compared_by_number(tmp_path: Path) -> None:
    for version, tp in (("v0.5.8", 2), ("v0.5.10", 4), ("v0.5.6", 1)):
        _write(tmp_path, version, "org/a", _configuration("default", engine=_engine(tp)))
    _write(tmp_path, "v0.5.6", "org/old", _configuration("default", engine=_engine(16)))
    assert [c.tp for c in serving_configs(tmp_path, "org/a")] == [4]
    assert [c.tp for c in serving_configs(tmp_path, "org/old")] == [16]


def test_disaggregated_engines_and_quantized_ids(tmp_path: Path) -> None:
    _write(
        tmp_path, "v0.5.6", "org/a",
        _configuration("pd", prefill=_engine(4), decode=_engine(8, 8)),
        _configuration("q", engine=_engine(2), quantized_model_path="org/a-FP8"),
    )  # fmt: skip
    configs = serving_configs(tmp_path, "org/a")
    assert parallel_sizes(configs) == [Parallelism(4, 1), Parallelism(8, 8)]
    assert [c.tp for c in serving_configs(tmp_path, "org/a-fp8")] == [2]


def test_sizes_are_distinct(tmp_path: Path) -> None:
    _write(tmp_path, "v0.5.6", "org/a", *[
        _configuration(str(n), engine=_engine(tp)) for n, tp in enumerate((8, 4, 8))
    ])  # fmt: skip
    assert serving_sizes(tmp_path, "org/a") == [Parallelism(4), Parallelism(8)]


def test_unlisted_model_names_close_ones(tmp_path: Path) -> None:
    _write(tmp_path, "v0.5.6", "Qwen/Qwen3-8B", _configuration("default", engine=_engine(1)))
    with pytest.raises(NothingSelectedError, match=r"Qwen/Qwen3-8B"):
        serving_configs(tmp_path, "Qwen/Qwen3-8b-FP8")
    with pytest.raises(NothingSelectedError):
        serving_sizes(tmp_path, "someone/else")


def test_a_default_checkout_need_not_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert serving_sizes(None, "org/a") == []
    _write(cookbook.DEFAULT_CHECKOUT, "v1", "org/a", _configuration("x", engine=_engine(2)))
    assert serving_sizes(None, "org/a") == [Parallelism(2)]
    assert serving_sizes(None, "org/unlisted") == [] == serving_sizes(None, None)


def test_a_named_checkout_needs_a_model_id(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--hf-repo-id"):
        serving_sizes(tmp_path, None)


def test_wrong_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkout"):
        serving_configs(tmp_path, "org/a")
    path = _write(tmp_path, "v1", "org/a", _configuration("x", engine=_engine("8")))
    with pytest.raises(FormatError, match="tp is wrong"):
        serving_configs(tmp_path, "org/a")
    for text in ("families: [", "vendor: x", "just text", "families: 3"):
        path.write_text(text)
        with pytest.raises(FormatError, match="not a cookbook file"):
            serving_configs(tmp_path, "org/a")


@pytest.mark.skipif("KERNELKIT_EXTRA_DATA" not in os.environ, reason="no KERNELKIT_EXTRA_DATA")
def test_real_cookbook() -> None:
    checkout = Path(os.environ["KERNELKIT_EXTRA_DATA"]) / "data" / "sgl_cookbook"
    rows = json.loads((checkout / "flat_index.json").read_text("utf-8"))
    assert serving_sizes(checkout, "meta-llama/Llama-3.1-70B-Instruct")
    configs = serving_configs(checkout, "deepseek-ai/DeepSeek-R1-0528")
    assert Parallelism(8, 8) in parallel_sizes(configs) and len(rows) > 100
