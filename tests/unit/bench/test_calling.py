"""Loading and calling a solution, without a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.isolation.calling import (  # noqa: E402
    BadOutputError,
    describe,
    load_function,
    name_outputs,
)

ONE, TWO = torch.zeros(1), torch.ones(2)


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    """What a loaded solution leaves in this process goes away."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.mark.parametrize("result", [(ONE, TWO), [ONE, TWO], {"b": TWO, "a": ONE}])
def test_outputs_by_order_or_name(result: object) -> None:
    named = name_outputs(result, ["a", "b"])
    assert named["a"] is ONE and named["b"] is TWO


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (None, "INCORRECT_DTYPE"),
        (3.0, "INCORRECT_DTYPE"),
        (ONE, "INCORRECT_SHAPE"),
        ((ONE, TWO, ONE), "INCORRECT_SHAPE"),
        ({"a": ONE, "c": TWO}, "INCORRECT_SHAPE"),
        ((ONE, 1.0), "INCORRECT_DTYPE"),
    ],
)
def test_what_is_no_set_of_outputs(result: object, status: str) -> None:
    with pytest.raises(BadOutputError) as caught:
        name_outputs(result, ["a", "b"])
    assert caught.value.status == status


def test_modules_find_their_sisters(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "kernel.py").write_text(
        "from . import helper\nimport flat\n\ndef run():\n    return helper.X + flat.Y\n"
    )
    (tmp_path / "src" / "helper.py").write_text("X = 1\n")
    (tmp_path / "flat.py").write_text("Y = 2\n")
    assert load_function(tmp_path, "src/kernel.py", "run")() == 3


def test_a_file_named_like_a_module_is_the_file(tmp_path: Path) -> None:
    (tmp_path / "this.py").write_text("def run():\n    return 'mine'\n")
    assert load_function(tmp_path, "this.py", "run")() == "mine"


@pytest.mark.parametrize(
    ("text", "error"),
    [("x = 1\n", AttributeError), ("run = 3\n", TypeError), ("def run(:\n", SyntaxError)],
)
def test_what_cannot_be_loaded(tmp_path: Path, text: str, error: type[Exception]) -> None:
    (tmp_path / "main.py").write_text(text)
    with pytest.raises(error):
        load_function(tmp_path, "main.py", "run")


def test_errors_name_the_solutions_own_lines(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def run():\n    return 1 / 0\n")
    run = load_function(tmp_path, "main.py", "run")
    with pytest.raises(ZeroDivisionError) as caught:
        run()
    text = describe(caught.value, str(tmp_path))
    assert text == "main.py:2 in run: return 1 / 0\nZeroDivisionError: division by zero"


def test_a_file_beside_the_source_comes_before_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "colorsys.py").write_text("MINE = 'another'\n")
    monkeypatch.syspath_prepend(tmp_path / "other")
    (tmp_path / "main.py").write_text("import colorsys\n\ndef run():\n    return colorsys.MINE\n")
    (tmp_path / "colorsys.py").write_text("MINE = 'mine'\n")
    sys.modules.pop("colorsys", None)
    assert load_function(tmp_path, "main.py", "run")() == "mine"


def test_folders_between_are_packages(tmp_path: Path) -> None:
    deep = tmp_path / "one" / "two"
    deep.mkdir(parents=True)
    (tmp_path / "one" / "__init__.py").write_text("SAID = 'one'\n")
    (tmp_path / "one" / "helper.py").write_text("X = 4\n")
    (deep / "kernel.py").write_text(
        "from .. import SAID, helper\n\ndef run():\n    return SAID, helper.X\n"
    )
    assert load_function(tmp_path, "one/two/kernel.py", "run")() == ("one", 4)
    assert sys.modules["solution_sources.one"].SAID == "one"


def test_packages_between_are_imported_though_nobody_names_them(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "__init__.py").write_text("SAID = 'one'\n")
    (tmp_path / "one" / "kernel.py").write_text("def run():\n    return 1\n")
    assert load_function(tmp_path, "one/kernel.py", "run")() == 1
    assert sys.modules["solution_sources.one"].SAID == "one"


@pytest.mark.parametrize("file", ["main.txt", "main"])
def test_what_is_no_python_file_is_no_module(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("def run():\n    return 1\n")
    with pytest.raises(ImportError, match=f"{file} is no Python module"):
        load_function(tmp_path, file, "run")


class Sub(torch.Tensor):
    """A tensor that could overload what the comparison does."""


@pytest.mark.parametrize("value", [ONE.to_sparse(), ONE.as_subclass(Sub)])
def test_outputs_are_plain_tensors(value: torch.Tensor) -> None:
    for result in ((value,), {"a": value}):
        with pytest.raises(BadOutputError, match="a is .*, no tensor") as caught:
            name_outputs(result, ["a"])
        assert caught.value.status == "INCORRECT_DTYPE"


def test_an_error_s_last_twelve_frames_and_2000_characters(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "def run(depth, text):\n"
        "    if not depth:\n        raise ValueError(text)\n"
        "    run(depth - 1, text)\n"
    )
    run = load_function(tmp_path, "main.py", "run")
    with pytest.raises(ValueError) as caught:
        run(30, "deep")
    lines = describe(caught.value, str(tmp_path)).splitlines()
    assert len(lines) == 13 and lines[-2:] == [
        "main.py:3 in run: raise ValueError(text)", "ValueError: deep"
    ]  # fmt: skip
    with pytest.raises(ValueError) as caught:
        run(0, "y" * 5000)
    assert describe(caught.value, str(tmp_path)) == "y" * 2000
