"""Dump folders become calls, whatever state the dump is in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from kernelkit.capture import level10
from kernelkit.capture.level10 import TensorArg, load_calls
from kernelkit.errors import FormatError, NothingSelectedError, UsageError


def _record(folder: Path, **changes: object) -> None:
    folder.mkdir(parents=True)
    record = {
        "function_name": "rmsnorm",
        "process_id": 1,
        "input_metadata": {},
        "tensor_details": {"arg_0": {"shape": [3, 8], "dtype": "torch.bfloat16"}},
        "function_signature": "(input: torch.Tensor, weight: torch.Tensor, eps: float = 1e-06)",
        "execution_status": "completed",
        **changes,
    }
    (folder / "metadata.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")


def test_bundled_dump(dump: Path) -> None:
    calls, notes = load_calls(dump)
    assert len(calls) == 14
    assert notes == []
    assert all(call.completed for call in calls)
    plan = next(call for call in calls if call.function.startswith("BatchDecode"))
    assert (plan.api, plan.method) == ("BatchDecodeWithPagedKVCacheWrapper", "plan")
    assert plan.arguments["num_kv_heads"] == 8
    assert plan.arguments["data_type"] == "torch.bfloat16"
    assert plan.arguments["indptr"].data().tolist() == [0, 18, 83, 89, 123]


def test_tuples_become_tuples_of_tensors(dump: Path) -> None:
    calls, _ = load_calls(dump)
    run = next(call for call in calls if "paged_kv_cache" in call.arguments)
    keys, values = run.arguments["paged_kv_cache"]
    assert keys.shape == values.shape == (2049, 8, 128)
    assert keys.dtype == "bfloat16"
    assert not any("__" in name for name in run.arguments)


def test_data_that_was_stripped_is_named(dump: Path) -> None:
    calls, _ = load_calls(dump)
    norm = next(call for call in calls if call.function == "rmsnorm")
    with pytest.raises(FormatError, match="arg_0"):
        norm.arguments["input"].data()


def test_signature_gives_names_and_defaults(tmp_path: Path) -> None:
    _record(tmp_path / "a", input_metadata={"kwarg_enable_pdl": True})
    (call,), _ = load_calls(tmp_path)
    assert call.arguments["eps"] == 1e-6
    assert call.arguments["enable_pdl"] is True
    assert isinstance(call.arguments["input"], TensorArg)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("(a, b: int = 3) -> None", {"a": (False, None), "b": (True, 3)}),
        ("(a: Union[int, str] = 'x', *args)", {"a": (True, "x")}),
        ("(a: Callable[[int], str] = <function f at 0x1>)", {"a": (False, None)}),
        ("()", {}),
        ("", {}),
    ],
)
def test_signatures(signature: str, expected: dict[str, object]) -> None:
    assert level10._parameters(signature) == expected


def test_unreadable_and_foreign_folders_are_noted(tmp_path: Path) -> None:
    _record(tmp_path / "1_good")
    (tmp_path / "2_bad").mkdir()
    (tmp_path / "2_bad" / "metadata.jsonl").write_text("{not json\n", encoding="utf-8")
    (tmp_path / "3_empty").mkdir()
    _record(tmp_path / "1_good" / "graph_flushes" / "flush_0001")
    calls, notes = load_calls(tmp_path)
    assert [call.folder.name for call in calls] == ["1_good"]
    assert len(notes) == 1 and "2_bad" in notes[0]


def test_a_cut_last_line_leaves_the_call_incomplete(tmp_path: Path) -> None:
    _record(tmp_path / "a", execution_status="inputs_saved")
    with open(tmp_path / "a" / "metadata.jsonl", "a", encoding="utf-8") as file:
        file.write('{"execution_status": "comp')
    (call,), _ = load_calls(tmp_path)
    assert not call.completed


def test_no_dump_and_no_calls(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such dump"):
        load_calls(tmp_path / "absent")
    with pytest.raises(NothingSelectedError):
        load_calls(tmp_path)


def test_torch_format(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    _record(tmp_path / "a")
    torch.save({"arg_0": torch.arange(6).reshape(2, 3).t()}, tmp_path / "a" / "inputs.pt")
    (call,), _ = load_calls(tmp_path)
    assert np.array_equal(call.arguments["input"].data(), np.arange(6).reshape(2, 3).T)


def test_every_real_dump_is_read(extra: Path) -> None:
    """Both formats, two FlashInfer versions, eager and failed calls."""
    folders = [
        path
        for parent in ("level10_dumps", "level10_dumps_cpu")
        for path in sorted((extra / "data" / "captures" / parent).iterdir())
        if path.is_dir()
    ]
    assert len(folders) >= 6
    for folder in folders:
        calls, notes = load_calls(folder)
        assert calls and not notes, folder.name


def test_the_bundled_dump_is_the_real_one(extra: Path, dump: Path) -> None:
    real = extra / "data" / "captures" / "level10_dumps" / "llama8b"
    for folder in (path for path in real.iterdir() if path.is_dir()):
        ours, theirs = (at / folder.name / "metadata.jsonl" for at in (dump, real))
        assert ours.read_bytes() == theirs.read_bytes()
