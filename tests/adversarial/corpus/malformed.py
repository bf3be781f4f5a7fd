"""Files that no dataset should hold. Each must be refused, or fail, alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = "def run(hidden_states, weight):\n    return hidden_states\n"
DEEP = 100_000


def document(own_name: str, /, **changes: Any) -> dict[str, Any]:
    """A well-formed solution for rmsnorm, with parts of it replaced. `spec` replaces parts."""
    spec = {
        "language": "python",
        "target_hardware": ["cpu", "cuda"],
        "entry_point": "main.py::run",
        "dependencies": [],
        "destination_passing_style": False,
        **changes.pop("spec", {}),
    }
    whole: dict[str, Any] = {
        "name": own_name,
        "definition": "rmsnorm_h128",
        "author": "corpus",
        "spec": {key: value for key, value in spec.items() if value is not ...},
        "sources": [{"path": "main.py", "content": SOURCE}],
        **changes,
    }
    return {key: value for key, value in whole.items() if value is not ...}


def _source(path: Any = "main.py", content: Any = SOURCE) -> dict[str, Any]:
    return {"path": path, "content": content}


def documents() -> dict[str, dict[str, Any]]:
    """Solutions that are JSON, but not what a solution must be (`...`: the key is left out)."""
    main = _source()
    found: dict[str, dict[str, Any]] = {
        "mal_no_sources": {"sources": []},
        "mal_no_spec": {"spec_left_out": True},
        "mal_no_name": {"name": ...},
        "mal_name_number": {"name": 5},
        "mal_name_traversal": {"name": "../../mal_name_traversal"},
        "mal_name_surrogate": {"name": "mal_\ud800"},
        "mal_name_long": {"name": "mal_" + "n" * 5000},
        "mal_author_traversal": {"author": "../../../x"},
        "mal_author_surrogate": {"author": "a\udc00"},
        "mal_unknown_definition": {"definition": "no_such_definition"},
        "mal_definition_traversal": {"definition": "../rmsnorm/rmsnorm_h128"},
        "mal_definition_surrogate": {"definition": "rmsnorm_\ud800"},
        "mal_path_traversal": {"sources": [_source("../../../../traversal.py"), main]},
        "mal_path_hidden_traversal": {"sources": [_source("a/../../../traversal.py"), main]},
        "mal_path_absolute": {"sources": [_source("/tmp/corpus_absolute.py"), main]},
        "mal_path_backslash": {"sources": [_source("..\\..\\x.py"), main]},
        "mal_path_nul": {"sources": [_source("a\0b.py"), main]},
        "mal_path_surrogate": {"sources": [_source("a\ud800.py"), main]},
        "mal_path_empty": {"sources": [_source(""), main]},
        "mal_path_dot": {"sources": [_source("."), main]},
        "mal_path_deep": {"sources": [_source("d/" * 3000 + "x.py"), main]},
        "mal_path_long": {"sources": [_source("x" * 3000 + ".py"), main]},
        "mal_path_twice": {"sources": [main, _source(content="raise SystemExit\n")]},
        "mal_path_folder_and_file": {"sources": [main, _source("main.py/inner.py")]},
        "mal_content_number": {"sources": [_source(content=5)]},
        "mal_content_surrogate": {"sources": [_source(content=SOURCE + "# \ud800\n")]},
        "mal_content_nul": {"sources": [_source(content=SOURCE + "\0")]},
        "mal_content_empty": {"sources": [_source(content="")]},
        "mal_content_syntax": {"sources": [_source(content="def run(hidden_states, weight)\n")]},
        "mal_content_encoding": {"sources": [_source(content="# coding: no-such-code\n" + SOURCE)]},
        "mal_content_nested": {"sources": [_source(content="x = " + "(" * 5000 + ")" * 5000)]},
        "mal_entry_no_file": {"spec": {"entry_point": "other.py::run"}},
        "mal_entry_no_symbol": {"spec": {"entry_point": "main.py::other"}},
        "mal_entry_no_colons": {"spec": {"entry_point": "main.py"}},
        "mal_entry_not_callable": {"sources": [_source(content="run = 5\n")]},
        "mal_entry_surrogate": {"spec": {"entry_point": "main.py::\ud800"}},
        "mal_entry_no_python": {
            "spec": {"entry_point": "main.txt::run"}, "sources": [_source("main.txt")],
        },
        "mal_arity": {"sources": [_source(content="def run(a, b, c, d):\n    return a\n")]},
        "mal_language": {"spec": {"language": "cobol"}},
        "mal_hardware_text": {"spec": {"target_hardware": "cpu"}},
        "mal_style_text": {"spec": {"destination_passing_style": "perhaps"}},
        "mal_dependencies": {"spec": {"dependencies": {"a": 1}}},
        "mal_no_compiler": {
            "spec": {"language": "cpp", "entry_point": "k.cpp::run", "binding": "tvm-ffi"},
            "sources": [_source("k.cpp", "this is no C++\n")],
        },
    }  # fmt: skip
    return {name: _document(name, changes) for name, changes in found.items()}


def _document(name: str, changes: dict[str, Any]) -> dict[str, Any]:
    if changes.pop("spec_left_out", False):
        return {key: value for key, value in document(name).items() if key != "spec"}
    return document(name, **changes)


def files() -> dict[str, bytes]:
    """Files that are no JSON object at all, by id."""
    good = json.dumps(document("mal_raw"))
    return {
        "mal_empty": b"",
        "mal_blank": b" \n\t\n",
        "mal_truncated": good[: len(good) // 2].encode(),
        "mal_two_documents": f"{good}\n{good}".encode(),
        "mal_trailing": f"{good} garbage".encode(),
        "mal_array": f"[{good}]".encode(),
        "mal_null": b"null",
        "mal_number": b"1e999",
        "mal_text": b'"solution"',
        "mal_not_utf8": good.encode().replace(b"rmsnorm", b"rms\xff\xfe"),
        "mal_utf16": good.encode("utf-16"),
        "mal_zeros": b"\0" * 4096,
        "mal_binary": bytes(range(256)) * 16,
        "mal_deep": b"[" * DEEP + b"]" * DEEP,
        "mal_deep_objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
        "mal_long_number": b'{"name": ' + b"9" * 100_000 + b"}",
        "mal_large": json.dumps(
            document("mal_large", description="d" * (8 << 20), name=7)
        ).encode(),
        "mal_not_a_number": good.replace("[]", "[NaN]").encode(),
        "mal_lfs_pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    }


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inner.json").write_text("{")


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as end:
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(path.parent)  # such names are short
            end.bind(path.name)
        finally:
            os.fchdir(here)
            os.close(here)


PLACES: dict[str, Callable[[Path], None]] = {
    "mal_folder": _folder,
    "mal_dangling_link": lambda path: path.symlink_to("nowhere"),
    "mal_own_link": lambda path: path.symlink_to(path.name),
    "mal_endless_device": lambda path: path.symlink_to("/dev/zero"),
    "mal_secret_link": lambda path: path.symlink_to("/etc/passwd"),
    "mal_pipe": lambda path: os.mkfifo(path),
    "mal_socket": _socket,
}


def names() -> list[str]:
    """All ids, and the solution whose name another file has."""
    return [*documents(), *files(), *PLACES, "mal_duplicate"]


def write(name: str, folder: Path) -> None:
    """Put the file into `folder`, which is there, as {name}.json."""
    path = folder / f"{name}.json"
    if name in PLACES:
        PLACES[name](path)
    elif name == "mal_duplicate":
        for suffix in ("", "_again"):
            text = json.dumps(document("mal_duplicate", description=f"file{suffix}"))
            (folder / f"{name}{suffix}.json").write_text(text)
    else:
        # ASCII: a lone surrogate stays an escape, as a hostile file has it.
        found = documents()
        data = json.dumps(found[name]).encode() if name in found else files()[name]
        path.write_bytes(data)
