"""Reading a config from a file or from the hub, and every way in which that fails."""

from __future__ import annotations

import builtins
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from model_configs import llama

from kernelkit.errors import ConfigError, KernelkitError, MissingDependencyError, UsageError
from kernelkit.models.hub import fetch_config, read_config


def test_infinity_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"time_step_limit": [0.0, Infinity]}', encoding="utf-8")
    assert read_config(path)["time_step_limit"][1] == math.inf


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_config(tmp_path / "absent.json")
    with pytest.raises(UsageError, match=r"a folder.*config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"{\xff}", "not JSON"),
        (b'{"a": 1} trailing', "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[1, 2]", "JSON list"),
        (b"null", "JSON NoneType"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    ],
    ids=["empty", "quotes", "bytes", "trailing", "deep", "list", "null", "lfs"],
)
def test_content_that_is_no_config(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def _hub_raises(monkeypatch: pytest.MonkeyPatch, error: Exception | None, path: str = "") -> None:
    hub = pytest.importorskip("huggingface_hub")

    def download(repo_id: str, filename: str, *, revision: str | None) -> str:
        assert filename == "config.json"
        if error is not None:
            raise error
        return path

    monkeypatch.setattr(hub, "hf_hub_download", download)


def _answer(name: str) -> Exception:
    """An error of huggingface_hub, made without a real response."""
    errors = pytest.importorskip("huggingface_hub.errors")
    kind = getattr(errors, name)
    error = kind.__new__(kind)
    Exception.__init__(error, "the library's\nlong text")
    error.response = SimpleNamespace()
    return error


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("GatedRepoError", UsageError, "gated"),
        ("RepositoryNotFoundError", UsageError, "does not exist"),
        ("RevisionNotFoundError", UsageError, "at revision v9: the revision"),
        ("EntryNotFoundError", UsageError, "no config.json"),
        ("HFValidationError", UsageError, "no model id"),
        ("LocalEntryNotFoundError", MissingDependencyError, "cannot be reached"),
        ("HfHubHTTPError", MissingDependencyError, "cannot be reached"),
    ],
)
def test_hub_errors(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: type[KernelkitError], message: str
) -> None:
    _hub_raises(monkeypatch, _answer(name))
    with pytest.raises(KernelkitError, match=message) as caught:
        fetch_config("org/name", "v9")
    assert type(caught.value) is kind
    assert "--config FILE" in caught.value.next_step and "\n" not in str(caught.value)


def test_offline_without_a_cached_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    _hub_raises(monkeypatch, _answer("LocalEntryNotFoundError"))
    with pytest.raises(KernelkitError, match="HF_HUB_OFFLINE is set"):
        fetch_config("org/name")


def test_a_fetched_config_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(llama()), encoding="utf-8")
    _hub_raises(monkeypatch, None, str(path))
    assert fetch_config("org/name") == llama()


def test_without_the_hub_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: object, **more: object) -> object:
        if name.split(".")[0] == "huggingface_hub":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    for name in [n for n in sys.modules if n.split(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MissingDependencyError, match="huggingface_hub"):
        fetch_config("org/name")
