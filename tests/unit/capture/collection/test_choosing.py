"""Definitions to passes; phases; what is handed in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.collection import choosing, collecting, submission
from kernelkit.capture.collection.choosing import choose, level10_patterns, model_name, wanted_apis
from kernelkit.capture.collection.collecting import Traffic
from kernelkit.capture.collection.driving import Arrival
from kernelkit.capture.collection.phases import RECORD, Phases
from kernelkit.capture.collection.prompts import Prompt
from kernelkit.capture.sglang_pass.planning import Options
from kernelkit.dataset.definition import Definition
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.models.load import Model, load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive

CONFIGS = Path(__file__).resolve().parents[3] / "fixtures" / "configs"


def load(name: str) -> Model:
    return load_model(None, None, CONFIGS / f"{name}.json")


def definitions(model: Model, *names: str, tp: int = 1, ep: int = 1) -> list[Definition]:
    request = Request((f"model:{model.slug}",), (Parallelism(tp, ep),), page_sizes=(1,))
    found = {v.definition.name: v.definition for v in derive(model.spec, request).variants}
    return [found[name] for name in names] if names else list(found.values())


def test_the_parallel_size_is_the_one_that_gives_the_shape() -> None:
    model = load("deepseek-ai__DeepSeek-V3")
    wanted = definitions(model, "mla_paged_decode_h16_ckv512_kpe64_ps1", tp=8, ep=8)
    (serving,) = choose(model, wanted, Options(), None).servings
    assert (serving.plan.parallel.tp, serving.plan.variant.name) == (8, "base")
    assert serving.traffic == ["engine"]


def test_prefill_needs_a_server_and_its_own_flags() -> None:
    model = load("meta-llama__Llama-3.1-8B")
    wanted = definitions(model, "gqa_paged_prefill_causal_h32_kv8_d128_ps1")
    (serving,) = choose(model, wanted, Options(), None).servings
    assert serving.traffic == ["server"]
    assert serving.plan.env["SGLANG_FLASHINFER_USE_PAGED"] == "1"


def test_all_of_a_model_takes_as_few_passes_as_possible() -> None:
    model = load("Qwen__Qwen3-Next-80B-A3B-Instruct")
    found = choose(model, definitions(model), Options(), [Parallelism()])
    shown = {s.plan.variant.name: s.definitions for s in found.servings}
    assert list(shown) == ["base", "paged", "linear"]
    gdn = [f"gdn_{stage}_qk16_v32_d128_k_last" for stage in ("decode", "prefill")]
    assert shown["linear"] == gdn
    assert "gdn_mtp_qk16_v32_d128_k_last" in found.absent


@pytest.mark.parametrize(
    ("name", "op_type"),
    [("nvidia__Nemotron-H-56B-Base-8K", "mamba_ssu"), ("Qwen__Qwen3-Next-80B-A3B-Instruct", "gdn")],
)
def test_the_pool_of_recurrent_states_has_room_for_the_requests_and_no_more(
    name: str, op_type: str
) -> None:
    model = load(name)
    wanted = [d for d in definitions(model) if d.op_type == op_type]
    plan = choose(model, wanted, Options(), [Parallelism()]).servings[0].plan
    (engine,) = collecting.engine_plans(plan, Traffic(batch_sizes=(1, 8, 32)))
    assert engine.engine["max_mamba_cache_size"] == 32
    served = collecting.server_plan(plan, [Prompt([1, 2], 4)], Traffic(arrival=Arrival(16)))
    assert served.engine["max_mamba_cache_size"] == 5 * 16  # cached prefixes keep states, too
    assert served.engine["disable_radix_cache"] is False


def test_pages_of_many_tokens_are_no_shape_of_another_model() -> None:
    model = load("meta-llama__Llama-3.1-8B")
    request = Request((), (Parallelism(),), page_sizes=(1, 64))
    found = [v.definition for v in derive(model.spec, request).variants]
    wanted = [d for d in found if d.name.startswith("gqa_paged_decode")]
    (absent,) = choose(model, wanted, Options(), None).absent.values()
    assert "pages of one token" in absent and "flashinfer_backend.py" in absent


def test_a_shape_of_another_model_is_named() -> None:
    model, other = load("meta-llama__Llama-3.1-8B"), load("zai-org__GLM-4.5")
    wanted = definitions(other, "gqa_paged_decode_h96_kv8_d128_ps1")
    with pytest.raises(NothingSelectedError, match="no such shape"):
        choose(model, wanted, Options(), None)


def test_the_filter_is_made_of_the_tags() -> None:
    wanted = definitions(load("meta-llama__Llama-3.1-8B"), "rmsnorm_h4096",
                         "gqa_paged_decode_h32_kv8_d128_ps1")  # fmt: skip
    apis = wanted_apis(wanted)
    assert apis["flashinfer.norm.rmsnorm"] == ["rmsnorm_h4096"]
    assert level10_patterns(apis) == "*BatchDecodeWithPagedKVCacheWrapper.*,rmsnorm"


def test_the_model_comes_from_tags_else_from_the_op_type() -> None:
    llama = definitions(load("meta-llama__Llama-3.1-8B"), "rmsnorm_h4096")
    assert model_name(llama) == "llama-3.1-8b"
    mla = definitions(load("deepseek-ai__DeepSeek-V3"), "mla_paged_decode_h128_ckv512_kpe64_ps1")
    bare = [d.model_copy(update={"tags": ["model:nobody-knows"]}) for d in mla]
    assert model_name(bare) == "deepseek-v3"


def test_every_default_model_is_known() -> None:
    for name in (*choosing.DEFAULT_MODELS.values(), choosing.DEFAULT_MODEL):
        assert choosing._is_known(name), name


def test_phases_resume_only_the_same_request(tmp_path: Path) -> None:
    first = Phases.open(tmp_path, {"tp": 1}, resume=False)
    first.finish(RECORD, {"calls": 3})
    assert Phases.open(tmp_path, {"tp": 1}, resume=True).done == {RECORD: {"calls": 3}}
    assert Phases.open(tmp_path, {"tp": 1}, resume=False).done == {}
    with pytest.raises(UsageError, match="other options"):
        Phases.open(tmp_path, {"tp": 2}, resume=True)


ROWS: list[dict[str, Any]] = [
    {"name": "rmsnorm_h4096", "op_type": "rmsnorm", "added": 2, "ranges": {"batch_size": [1, 8]}}
]


def test_nothing_is_pushed_but_what_was_added(tmp_path: Path) -> None:
    remote, dataset = tmp_path / "remote.git", tmp_path / "dataset"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run([*git, "init", "-q", "--bare", str(remote)], check=True)
    subprocess.run([*git, "clone", "-q", str(remote), str(dataset)], check=True,
                   capture_output=True)  # fmt: skip
    for key, value in (("user.name", "t"), ("user.email", "t@example.com")):
        subprocess.run(["git", "-C", str(dataset), "config", key, value], check=True)
    lines = dataset / "workloads" / "rmsnorm" / "rmsnorm_h4096.jsonl"
    lines.parent.mkdir(parents=True)
    lines.write_text("{}\n")
    (dataset / "stray.txt").write_text("not ours")
    made = submission.prepare(dataset, ROWS, {"model": "llama-3.1-8b"})
    assert "| `rmsnorm_h4096` | 2 | batch_size 1 to 8 |" in made.body
    submission.submit(made)
    shown = subprocess.run(
        ["git", "-C", str(remote), "ls-tree", "-r", "--name-only", made.branch],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == ["workloads/rmsnorm/rmsnorm_h4096.jsonl"]


def test_a_folder_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    made = submission.prepare(tmp_path, ROWS, {"model": "m"})
    with pytest.raises(UsageError, match="not a git repository"):
        submission.submit(made)


def test_recordings_without_a_model_name_no_none(tmp_path: Path) -> None:
    made = submission.prepare(tmp_path, ROWS, {"model": None})
    assert made.branch.endswith("-recordings") and made.title.endswith(" from recordings")
