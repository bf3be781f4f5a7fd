"""Valid files made hostile, and the promise that every reader keeps.

Two ways: bytes of a file are changed (flips, cuts, repeats, splices of bad bytes), and values
inside of a JSON document are (other types, huge numbers, NaN, deep nesting, odd names, repeated
keys).
KERNELKIT_FUZZ_EXAMPLES says how many files of each kind are tried (default: a few, in seconds).
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from kernelkit.errors import KernelkitError

FEW = 25
ASKED = os.environ.get("KERNELKIT_FUZZ_EXAMPLES")
DEADLINE_MS = 20_000  # of one file: all are small, machines may be busy

WORDS = (b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"NaN", b"-Infinity", b"1e999", b"null", b"{",
         b"]", b'"', b"\\ud800", b"\n", b"\r\n", b"9" * 400, b"[" * 5000, b'{"a":' * 3000,
         b"version https://git-lfs.github.com/spec/v1\n")  # fmt: skip
NAMES = ("", ".", "..", "../../outside", "/tmp/outside", "a\0b", "C:\\x", "\u202e", "\ud800",
         "\x1b[2J", "CON", "é" * 200, "a/b", "{definition}", "%s", "<script>",
         "run", "__proto__")  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, float("nan"),
    float("inf"), -float("inf"), "", "0", "x" * 5000, [], [[]], {}, [None], {"": None},
    {"type": "const", "value": -1}, {"type": []}, [{}], [1, "a", None], "@deep@",
)  # fmt: skip


def budget(cheap: float = 1) -> settings:
    """The settings of a test; `cheap`: how many times more files than usual."""
    return settings(
        max_examples=int(ASKED) if ASKED else int(FEW * cheap),
        derandomize=True,
        deadline=DEADLINE_MS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def changed_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """The data after one to four changes."""
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        near = min(to, at + 16)
        kind = draw(st.sampled_from(["flip", "cut", "drop", "repeat", "splice", "number"]))
        if kind == "flip" and at < len(data):
            flipped = data[at] ^ (1 << draw(st.integers(0, 7)))
            data = data[:at] + bytes([flipped]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:to]
        elif kind == "drop":
            data = data[:at] + data[near:]
        elif kind == "repeat":
            data = data[:to] + data[at:]
        elif kind == "splice":
            data = data[:at] + draw(st.sampled_from(WORDS)) + data[near:]
        else:
            size = draw(st.sampled_from([1, 2, 4, 8]))
            data = data[:at] + draw(st.binary(min_size=size, max_size=size)) + data[at + size :]
    return data


@st.composite
def changed_document(draw: st.DrawFn, document: Any) -> Any:
    """The document after one to three changes of values, keys or nesting."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(made))
        if not places:
            return draw(st.sampled_from(VALUES))
        holder, key = draw(st.sampled_from(places))
        kind = draw(
            st.sampled_from(["value", "value", "name", "remove", "rename", "wrap", "other"])
        )
        if kind == "value":
            holder[key] = copy.copy(draw(st.sampled_from(VALUES)))
        elif kind == "name":
            holder[key] = draw(st.sampled_from(NAMES))
        elif kind == "remove":
            del holder[key]
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NAMES))] = holder.pop(key)
        elif kind == "wrap":
            holder[key] = _deep(holder[key], draw(st.sampled_from([1, 5, 60])))
        else:
            other, from_key = draw(st.sampled_from(places))
            held = other[from_key] if from_key in _keys(other) else None
            holder[key] = json.loads(json.dumps(held))
    return made


def as_file(document: Any) -> bytes:
    """The document as JSON. "@deep@" becomes lists in lists, deeper than Python can write them."""
    deep = b"[" * 20_000 + b"]" * 20_000
    return json.dumps(document).encode().replace(b'"@deep@"', deep)


def hostile_json(document: Any, *, lines: bool = False) -> st.SearchStrategy[bytes]:
    """The document's file, hostile in one way or the other."""
    plain = json.dumps(document).encode()
    changed = changed_document(document).map(as_file)
    twice = st.sampled_from(sorted(document)).map(
        lambda key: b"{" + json.dumps(key).encode() + b": 1, " + plain[1:]
    )
    one = st.one_of(changed, changed, changed_bytes(plain), twice)
    return st.lists(one, min_size=1, max_size=3).map(b"\n".join) if lines else one


def refused_or_read(read: Callable[[], object]) -> object:
    """What `read` gives; None where it refuses with an error of ours. Others are the finding."""
    try:
        return read()
    except KernelkitError as error:
        assert str(error)
        return None


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in _keys(value):
        yield value, key
        yield from _places(value[key])


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _deep(value: Any, depth: int) -> Any:
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value
