"""What runs inside SGLang's Python: the fields of ServerArgs in both of its forms."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from kernelkit.capture.sglang_pass.running import PROGRAM


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROGRAM.with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclasses.dataclass
class AsDataclass:
    model_path: str
    page_size: int = 1


class AsStruct:
    __struct_fields__ = ("model_path", "page_size")


@pytest.mark.parametrize("server_args", [AsDataclass, AsStruct])
def test_unknown_arguments_are_left_out_and_named(server_args: type) -> None:
    known, unknown = load("server_fields").accepted(
        {"model_path": "x", "page_size": 2, "new_flag": True}, server_args
    )
    assert known == {"model_path": "x", "page_size": 2}
    assert unknown == ["new_flag"]


def test_the_programs_import_nothing_of_ours() -> None:
    for name in ("engine_main", "server_main", "server_fields"):
        assert "kernelkit" not in (load(name).__dict__)
        text = Path(PROGRAM.with_name(f"{name}.py")).read_text()
        assert "from kernelkit" not in text and "import kernelkit" not in text


def test_another_node_of_a_server_changes_fields_of_its_order(tmp_path: Path) -> None:
    order = {"engine": {"tp_size": 16, "node_rank": 0}, "model_path": "m"}
    (tmp_path / "server.json").write_text(json.dumps(order))
    changes = ["node_rank=1", "dist_init_addr=10.0.0.1:20000"]
    assert load("server_main").wanted_fields(str(tmp_path / "server.json"), changes) == {
        "tp_size": 16, "node_rank": 1, "model_path": "m", "dist_init_addr": "10.0.0.1:20000",
    }  # fmt: skip


def test_a_spawned_worker_that_imports_the_program_starts_nothing() -> None:
    load("engine_main")
    load("server_main")
