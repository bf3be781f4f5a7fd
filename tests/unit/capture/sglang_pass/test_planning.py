"""Configs cut down to a rank and a few layers, and the passes that follow, for every model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.sglang_pass import diagnosis
from kernelkit.capture.sglang_pass.memory import roomier, smaller
from kernelkit.capture.sglang_pass.planning import Options, make_plan
from kernelkit.capture.sglang_pass.reduction import reduce_config
from kernelkit.capture.sglang_pass.variants import Choices
from kernelkit.errors import UsageError
from kernelkit.models.config import parse_config
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism

CONFIGS = Path(__file__).resolve().parents[3] / "fixtures" / "configs"
FILES = sorted(p for p in CONFIGS.glob("*.json") if "__" in p.name)


def config(name: str) -> dict[str, Any]:
    return json.loads((CONFIGS / f"{name}.json").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_config_keeps_its_kinds_of_layers_and_its_sizes(path: Path) -> None:
    whole = json.loads(path.read_text())
    spec = parse_config(whole)
    made = reduce_config(whole, Parallelism(), layers=None)
    assert made.spec is not None
    assert set(made.spec.layers) == set(spec.layers)
    assert made.spec.num_layers <= 6
    assert (made.spec.attention, made.spec.mla) == (spec.attention, spec.mla)
    assert (made.spec.gdn, made.spec.mamba, made.spec.moe) == (spec.gdn, spec.mamba, spec.moe)
    assert json.loads(path.read_text()) == whole  # the given config is not touched


def test_real_configs_divide_by_tp_and_ep(extra: Path) -> None:
    done = 0
    for path in sorted((extra / "data" / "model_configs").glob("*__*.json")):
        whole = json.loads(path.read_text())
        spec = parse_config(whole)
        for size in (1, 2, 4, 8):
            try:
                made = reduce_config(whole, Parallelism(size, size), layers=None)
            except UsageError as error:  # heads that do not divide, or of another size then
                assert size > 1, error
                continue
            except Exception as error:
                assert "mamba2" in path.name and "Mamba heads" in str(error)  # d_model gives them
                continue
            if spec.attention and made.spec:
                assert made.spec.attention.num_qo_heads * size == spec.attention.num_qo_heads
                assert made.spec.attention.head_dim == spec.attention.head_dim
            done += 1
    assert done > 130


def test_deepseek_of_one_rank() -> None:
    made = reduce_config(config("deepseek-ai__DeepSeek-V3"), Parallelism(8, 8), layers=None)
    assert made.changes["num_attention_heads"] == [128, 16]
    assert made.changes["n_routed_experts"] == [256, 32]
    assert made.changes["first_k_dense_replace"] == [3, 1]
    assert made.config["num_hidden_layers"] == 2
    assert made.config["n_group"] == 8  # four experts a group are left
    assert "quantization_config" not in made.config and "auto_map" not in made.config


def test_patterns_and_lists_of_layers_are_cut_together() -> None:
    made = reduce_config(config("nvidia__Nemotron-H-56B-Base-8K"), Parallelism(2), layers=None)
    assert sorted(made.config["hybrid_override_pattern"]) == ["*", "-", "M"]
    assert (made.config["mamba_num_heads"], made.config["n_groups"]) == (128, 4)
    assert made.config["mamba_n_groups"] == 4  # what SGLang's layer reads; 8 would be its default
    made = reduce_config(config("Qwen__Qwen3.5-35B-A3B"), Parallelism(), layers=None)
    text = made.config["text_config"]
    assert text["layer_types"] == ["linear_attention", "full_attention"]
    assert (text["num_hidden_layers"], text["full_attention_interval"]) == (2, 2)


def test_more_layers_can_be_asked_for() -> None:
    made = reduce_config(config("meta-llama__Llama-3.1-8B"), Parallelism(), layers=5)
    assert made.config["num_hidden_layers"] == 5


def test_kv_heads_are_replicated_and_head_dim_is_stated() -> None:
    made = reduce_config(config("meta-llama__Llama-3.1-8B"), Parallelism(16), layers=None)
    assert (made.config["num_attention_heads"], made.config["num_key_value_heads"]) == (2, 1)
    assert made.config["head_dim"] == 128


def test_a_model_whose_head_dim_would_change_is_refused_with_the_file() -> None:
    with pytest.raises(UsageError, match="mixtral.py"):
        reduce_config(config("mistralai__Mixtral-8x7B-v0.1"), Parallelism(2), layers=None)


def plan_of(name: str, **options: Any) -> Any:
    model = load_model(None, None, CONFIGS / f"{name}.json")
    return make_plan(model, Options(**options))


def test_variants_follow_from_the_model() -> None:
    names = {
        "meta-llama__Llama-3.1-8B": ["base", "paged"],
        "Qwen__Qwen3-Next-80B-A3B-Instruct": ["base", "paged", "linear"],
        "nvidia__Nemotron-H-56B-Base-8K": ["base", "paged", "mamba"],
        "openai__gpt-oss-20b": ["base"],
    }
    for name, expected in names.items():
        assert [p.variant.name for p in plan_of(name).passes] == expected


def test_a_refused_model_is_said_plainly_and_runs_with_another_backend() -> None:
    plan = plan_of("openai__gpt-oss-20b", version="0.5.23")
    assert "refuses attention_backend=flashinfer" in plan.notes[0]
    assert "model_hook.py:540" in plan.notes[0]
    assert "attention_backend" not in plan.passes[0].engine
    assert "model_hook.py:540" in plan.absent["gqa_paged_decode_h64_kv8_d64_ps1"]


def test_a_size_that_does_not_divide_is_a_note_and_the_others_run() -> None:
    plan = plan_of("meta-llama__Llama-3.1-8B", parallel=(Parallelism(1), Parallelism(3)))
    assert {p.parallel.tp for p in plan.passes} == {1}
    assert any("tp=3" in note for note in plan.notes)


def test_each_reason_names_a_file_of_the_version() -> None:
    for version in ("0.5.14", "0.5.20", "0.5.23", "0.5.13.post1"):
        plan = plan_of("Qwen__Qwen3-Next-80B-A3B-Instruct", version=version, page_sizes=(1, 64))
        assert all(".py:" in reason for reason in plan.absent.values())
        assert "gdn_decode_qk16_v32_d128_k_last" not in plan.absent
        assert any("pages of one token" in note for note in plan.notes)


def test_without_a_variant_its_definitions_are_not_expected() -> None:
    plan = plan_of("deepseek-ai__DeepSeek-V3", variants=["base"])
    name = "mla_paged_prefill_causal_h128_ckv512_kpe64_ps1"
    assert "--flashinfer-mla-disable-ragged" in plan.absent[name]
    assert "mla_ragged_prefill_causal_h128_qk192_vo128" not in plan.absent


def test_deterministic_mode_changes_what_is_expected() -> None:
    plan = plan_of("meta-llama__Llama-3.1-8B", choices=Choices(deterministic=True))
    assert plan.passes[0].engine["enable_deterministic_inference"] is True
    expected = set(plan.expected) - set(plan.absent)
    assert expected == {
        "gqa_paged_decode_h32_kv8_d128_ps1", "gqa_paged_prefill_causal_h32_kv8_d128_ps1",
    }  # fmt: skip


def test_real_parallelism_gives_the_engine_the_sizes() -> None:
    (first, *_) = plan_of(
        "meta-llama__Llama-3.1-8B", parallel=(Parallelism(4),), emulate=False
    ).passes
    assert (first.gpus, first.engine["tp_size"]) == (4, 4)
    assert first.config is not None and first.config["num_attention_heads"] == 32


@pytest.mark.parametrize(
    ("name", "passes"), [("nvidia__Nemotron-H-56B-Base-8K", 3), ("Qwen__Qwen3-30B-A3B", 4)]
)
def test_without_experts_ep_makes_no_further_pass(name: str, passes: int) -> None:
    plan = plan_of(name, parallel=(Parallelism(1, 1), Parallelism(1, 8)))
    assert len({item.name for item in plan.passes}) == len(plan.passes) == passes


def test_memory_goes_down_and_up() -> None:
    (first, *_) = plan_of("meta-llama__Llama-3.1-8B").passes
    tokens = [smaller(first, n).engine["max_total_tokens"] for n in (1, 2, 3, 9)]
    assert tokens == [1024, 512, 256, 256]
    assert roomier(first).engine["mem_fraction_static"] == 0.95


RECURRENT = ("nvidia__Nemotron-H-56B-Base-8K", "Qwen__Qwen3-Next-80B-A3B-Instruct")


@pytest.mark.parametrize("name", RECURRENT)
def test_the_pool_of_recurrent_states_is_bounded_as_the_kv_pool_is(name: str) -> None:
    """Unset, SGLang fills nearly half of the GPU with states, and a workload is as large."""
    plan = plan_of(name)
    sizes = {item.engine["max_mamba_cache_size"] for item in plan.passes}
    assert sizes == {max(len(b.prompt_lens) for b in plan.passes[0].batches)}
    for made in (smaller(plan.passes[0], 1), roomier(plan.passes[0])):
        # without the radix cache a request has one state: so many requests run at once
        assert made.engine["max_mamba_cache_size"] == made.engine["max_running_requests"]


def test_a_model_without_states_gets_no_such_pool_and_a_given_size_stays() -> None:
    (first, *_) = plan_of("meta-llama__Llama-3.1-8B").passes
    assert "max_mamba_cache_size" not in first.engine
    assert "max_mamba_cache_size" not in smaller(first, 1).engine
    given = Choices(extra={"max_mamba_cache_size": 77})
    (first, *_) = plan_of(RECURRENT[0], choices=given).passes
    assert first.engine["max_mamba_cache_size"] == 77
    assert smaller(first, 1).engine["max_mamba_cache_size"] == 77


def test_with_the_radix_cache_a_request_may_hold_five_states() -> None:
    cached = Choices(extra={"disable_radix_cache": False})
    (first, *_) = plan_of(RECURRENT[0], choices=cached).passes
    assert first.engine["max_mamba_cache_size"] == 5 * 4


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("x\ntorch.OutOfMemoryError: CUDA out of memory. Tried\n", diagnosis.OUT_OF_MEMORY),
        ("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
         diagnosis.NO_ROOM),
        ("OSError: [Errno 98] Address already in use", diagnosis.PORT),
        ("[rank0]: RuntimeError: No CUDA GPUs are available", diagnosis.NO_DEVICE),
        ("ModuleNotFoundError: No module named 'sgl_kernel'", diagnosis.MISSING),
        ("OSError: [Errno 28] No space left on device", diagnosis.DISK),
        ("ValueError: Model architectures ['X'] are not supported for now", diagnosis.UNSUPPORTED),
        ("first\n[2026] ValueError: something else\n", diagnosis.OTHER),
    ],
)  # fmt: skip
def test_logs_are_read(log: str, kind: str) -> None:
    found = diagnosis.diagnose(log, 1)
    assert found.kind == kind
    assert found.line.strip() in log


def test_settings_that_name_a_backend_are_no_cause() -> None:
    log = (
        "[2026-11-21 16:20:15] server_args=ServerArgs(attention_backend='flashinfer', "
        "disable_flashinfer_autotune=False, only_prefill_attention_backend=None, "
        "fallback='unsupported')\n"
        "RuntimeError: split_with_sizes expects split_sizes to sum exactly to 8224\n"
    )
    found = diagnosis.diagnose(log, 1)
    assert (found.kind, found.line[:30]) == (diagnosis.OTHER, "RuntimeError: split_with_sizes")


def test_a_silent_death_says_its_exit_code() -> None:
    assert "exit code 137" in diagnosis.diagnose("", 137).line
