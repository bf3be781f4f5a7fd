"""The shared command line: lists, exit codes, one document on stdout."""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kernelkit import cli, errors

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def _tree(error: type[errors.KernelkitError]) -> set[type[errors.KernelkitError]]:
    return {error}.union(*(_tree(child) for child in error.__subclasses__()))


# Not those of rooms, which may take other arguments.
SHARED = sorted(
    (e for e in _tree(errors.KernelkitError) if e.__module__ == errors.__name__),
    key=lambda e: e.__name__,
)


def test_every_error_has_its_exit_code() -> None:
    expected = {"UsageError": 2, "MissingDependencyError": 3, "NothingSelectedError": 4,
                "DeadlineError": 5}  # fmt: skip
    for error in _tree(errors.KernelkitError):
        assert error.exit_code in (1, *expected.values()), error.__name__
    for error in SHARED:
        assert error.exit_code == expected.get(error.__name__, 1), error.__name__
    assert set(expected) <= {error.__name__ for error in SHARED}


@pytest.mark.parametrize("error", SHARED)
def test_run_turns_errors_into_exit_codes(
    error: type[errors.KernelkitError], capsys: pytest.CaptureFixture[str]
) -> None:
    def body(args: argparse.Namespace) -> None:
        raise error("it broke", received=3, allowed="1 or 2", next_step="try 1")

    assert cli.run(cli.parser("x"), body, []) == error.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: it broke; received: 3; allowed: 1 or 2; next: try 1\n"


def test_emit_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    cli.say("on the side")
    cli.emit({"a": [1]}, as_json=True, text="not this")
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"a": [1]}
    assert captured.err == "on the side\n"


def test_what_moves_a_terminal_is_shown_as_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    cli.say("a\x1b[2J\x9bb\rc\u202ed\te\nf é ✓")
    assert capsys.readouterr().err == "a\\u001b[2J\\u009bb\\u000dc\\u202ed\te\nf é ✓\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    [[SCRIPTS / "bench.py", "--help"], [SCRIPTS / "setup_env.py", "--json"],
     ["-m", "kernelkit", "--help"]],
    ids=["help", "json", "installed"],
)  # fmt: skip
def test_a_reader_that_left_is_no_failure_and_a_full_disk_is_one(
    words: list[object], unbuffered: str
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONUNBUFFERED": unbuffered}
    reading, writing = os.pipe()
    os.close(reading)
    left = _into(writing, words, environment)
    assert (left.returncode, left.stderr) == (0, "")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    full = _into(os.open("/dev/full", os.O_WRONLY), words, environment)
    if unbuffered and "--help" in words and "-m" not in words:
        return  # argparse keeps to itself what it could not print
    assert full.returncode == 1
    assert full.stderr == ("error: stdout cannot be written; received: No space left on device\n")


@pytest.mark.parametrize(
    ("code", "next_step"),
    [(errno.ENOSPC, "make room"), (errno.EROFS, "another place"), (errno.EACCES, "permissions")],
)
def test_what_a_place_refuses_is_one_line(
    code: int, next_step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def body(args: argparse.Namespace) -> None:
        raise OSError(code, os.strerror(code), "/some/place")

    assert cli.run(cli.parser("x"), body, []) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert os.strerror(code) in line and "/some/place" in line and next_step in line


def test_other_errors_of_the_system_are_not_hidden() -> None:
    def body(args: argparse.Namespace) -> None:
        raise FileNotFoundError(errno.ENOENT, "a bug", "x")

    with pytest.raises(FileNotFoundError):
        cli.run(cli.parser("x"), body, [])


@pytest.mark.parametrize("name", ["kk_absent", "kk_absent.inner"])
def test_an_absent_package_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    def body(args: argparse.Namespace) -> None:
        importlib.import_module(name)

    assert cli.run(cli.parser("x"), body, []) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "kk_absent" in line and "setup_env.py" in line


def test_an_absent_module_of_the_pack_is_not_hidden() -> None:
    def body(args: argparse.Namespace) -> None:
        importlib.import_module("kernelkit.absent")

    with pytest.raises(ModuleNotFoundError):
        cli.run(cli.parser("x"), body, [])


def _into(
    stdout: int, words: list[object], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [sys.executable, *map(str, words)], stdout=stdout, stderr=subprocess.PIPE, text=True,
            env=environment, timeout=60,
        )  # fmt: skip
    finally:
        os.close(stdout)


@pytest.mark.parametrize(("text", "values"), [("1", [1]), ("8,1,8", [8, 1])])
def test_positive_ints(text: str, values: list[int]) -> None:
    assert cli.positive_ints(text) == values


@pytest.mark.parametrize("text", ["", "0", "-1", "1,,2", "a", "1.5"])
def test_positive_ints_refuse(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cli.positive_ints(text)


@pytest.mark.parametrize("text", ["", "a,,b", ","])
def test_names_refuse_empty(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cli.names(text)


@pytest.mark.parametrize("text", ["llama", "model:a,", "model:a,llama"])
def test_a_tag_has_a_key_and_a_value(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"not a tag|empty name"):
        cli.tags(text)
    assert cli.tags("model:a,tp:1") == ["model:a", "tp:1"]
