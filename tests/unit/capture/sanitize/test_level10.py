"""Dump folders become calls, whatever state the dump is in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernelkit.capture.sanitize import calls, level10
from kernelkit.capture.sanitize.calls import Call, TensorArg, Unusable

from .conftest import Dump, Float


def _all(root: Path, **options: bool) -> list[Call | Unusable]:
    return list(level10.read_calls(level10.look(root).folders, root, **options))


def _good(root: Path, **options: bool) -> list[Call]:
    found = _all(root, **options)
    assert not [item for item in found if isinstance(item, Unusable)]
    return [item for item in found if isinstance(item, Call)]


def _broken(root: Path) -> dict[str, str]:
    found = [item for item in _all(root) if isinstance(item, Unusable)]
    return {item.place: item.kind for item in found}


def test_bundled_dump(bundled: Path) -> None:
    found = _good(bundled)
    assert len(found) == 14
    plan = next(call for call in found if call.api.startswith("BatchDecode"))
    assert plan.name == "BatchDecodeWithPagedKVCacheWrapper.plan"
    assert plan.arguments["num_kv_heads"] == 8
    assert plan.arguments["data_type"] == "bfloat16"
    assert plan.arguments["indptr"].read().array().tolist() == [0, 18, 83, 89, 123]
    assert plan.origin.flashinfer_version == "0.6.12"


def test_tuples_become_tuples_of_tensors(bundled: Path) -> None:
    run = next(call for call in _good(bundled) if "paged_kv_cache" in call.arguments)
    keys, values = run.arguments["paged_kv_cache"]
    assert (keys.shape, keys.dtype) == ((2049, 8, 128), "bfloat16") == (values.shape, values.dtype)
    assert not any("__" in name for name in run.arguments)


def test_data_that_was_stripped_is_named(bundled: Path) -> None:
    norm = next(call for call in _good(bundled) if call.api == "rmsnorm")
    with pytest.raises(Unusable) as caught:
        norm.arguments["input"].read()
    assert caught.value.kind == calls.NO_DATA


def test_names_and_defaults_come_from_the_signature(dump: Dump) -> None:
    dump.call("rmsnorm", Float((3, 8)), Float((8,)), {"out": None})
    (call,) = _good(dump.root)
    assert call.arguments["eps"] == 1e-6
    assert call.arguments["out"] is None
    assert isinstance(call.arguments["weight"], TensorArg)


def test_a_call_in_the_order_of_its_time_wherever_it_lies(dump: Dump, tmp_path: Path) -> None:
    first, second = (dump.call("rmsnorm", Float((n, 8)), Float((8,))) for n in (1, 2))
    (dump.root / "deeper").mkdir()
    first.rename(dump.root / "deeper" / first.name)
    assert [call.arguments["input"].shape[0] for call in _good(dump.root)] == [1, 2]
    assert _good(second)[0].place == second.name


def test_each_kind_of_broken_folder_is_named_and_the_rest_is_read(dump: Dump) -> None:
    """Whatever a full disk or a killed process leaves."""
    expected: dict[str, str] = {}

    def broken(kind: str, **changes: object) -> Path:
        folder = dump.call("rmsnorm", Float((3, 8)), np.ones(8, np.float32), **changes)
        expected[folder.name] = kind
        return folder

    (broken(calls.NO_METADATA) / "metadata.jsonl").unlink()
    lines = "", "{not json", "[1, 2]", '{"function_name": "rmsnorm"'
    for text in (*lines, '{"execution_status": "completed"}'):
        place = broken(calls.CUT_METADATA) / "metadata.jsonl"
        place.write_text(text, encoding="utf-8")
    cut = broken(calls.CUT_TENSORS) / "inputs.safetensors"
    cut.write_bytes(cut.read_bytes()[:-7])
    (broken(calls.CUT_TENSORS) / "inputs.safetensors").write_bytes(b"\0" * 4)
    torch_file = broken(calls.CUT_TENSORS)
    (torch_file / "inputs.safetensors").rename(torch_file / "inputs.pt")
    broken(calls.INPUTS_ONLY, execution_status="inputs_saved")
    broken(calls.CUDA_GRAPH, graph_capture=True)
    details = {"arg_0": {"shape": [3], "dtype": "torch.float7"}}
    broken(calls.BAD_DTYPE, tensor_details=details)
    broken(calls.CUT_METADATA, tensor_details={"arg_0": {"shape": [-1], "dtype": "torch.int32"}})
    dump.call("rmsnorm", Float((4, 8)), Float((8,)))
    assert _broken(dump.root) == expected
    good = [item for item in _all(dump.root) if isinstance(item, Call)]
    assert [call.arguments["input"].shape for call in good] == [(4, 8)]


def test_a_cut_last_line_leaves_the_call_incomplete(dump: Dump) -> None:
    folder = dump.call("rmsnorm", Float((3, 8)), Float((8,)))
    text = (folder / "metadata.jsonl").read_text(encoding="utf-8")
    (folder / "metadata.jsonl").write_text(text[:-20], encoding="utf-8")
    assert _broken(dump.root) == {folder.name: calls.INPUTS_ONLY}
    assert len(_good(dump.root, accept_incomplete=True)) == 1


def test_flushes_of_cuda_graphs_are_no_calls(dump: Dump) -> None:
    folder = dump.call("rmsnorm", Float((3, 8)), Float((8,)))
    inner = folder / "graph_flushes" / "flush_0001"
    inner.mkdir(parents=True)
    (inner / "metadata.jsonl").write_text("{}\n", encoding="utf-8")
    assert len(_good(dump.root)) == 1


def test_links_are_not_followed(dump: Dump) -> None:
    dump.call("rmsnorm", Float((3, 8)), Float((8,)))
    (dump.root / "again").symlink_to(dump.root)
    assert len(_good(dump.root)) == 1


def test_torch_format(dump: Dump) -> None:
    torch = pytest.importorskip("torch")
    folder = dump.call("rmsnorm", np.zeros((3, 2), np.int64), Float((2,)))
    (folder / "inputs.safetensors").unlink()
    torch.save({"arg_0": torch.arange(6).reshape(2, 3).t()}, folder / "inputs.pt")
    (call,) = _good(dump.root)
    assert np.array_equal(call.arguments["input"].read().array(), np.arange(6).reshape(2, 3).T)


def test_every_real_dump_is_read(extra: Path) -> None:
    """Both formats, two FlashInfer versions, calls that raised, and one file that was cut."""
    parents = [
        extra / "data" / "captures" / name for name in ("level10_dumps", "level10_dumps_cpu")
    ]
    folders = [path for parent in parents for path in sorted(parent.iterdir()) if path.is_dir()]
    assert len(folders) >= 6
    for folder in folders:
        found = _all(folder, accept_incomplete=True)
        broken = [str(item) for item in found if isinstance(item, Unusable)]
        assert all("kwarg_out is cut off" in text for text in broken), broken
        assert len(found) - len(broken) >= 6


def test_the_bundled_dump_is_the_real_one(extra: Path, bundled: Path) -> None:
    real = extra / "data" / "captures" / "level10_dumps" / "llama8b"
    for folder in (path for path in real.iterdir() if path.is_dir()):
        ours, theirs = (at / folder.name / "metadata.jsonl" for at in (bundled, real))
        assert ours.read_bytes() == theirs.read_bytes()
