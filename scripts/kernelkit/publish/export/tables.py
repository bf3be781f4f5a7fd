"""Rows as files: JSON lines, and Parquet where pyarrow is installed."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from typing import Any

from kernelkit.errors import MissingDependencyError
from kernelkit.publish.export.views import FILES, FLAG, REAL, TEXT, TEXTS, WHOLE, Record, View

PARQUET, JSONL = "parquet", "jsonl"
FORMATS = (PARQUET, JSONL)


def require(formats: list[str]) -> None:
    """Raises MissingDependencyError where a format needs a package that is absent."""
    if PARQUET in formats and find_spec("pyarrow") is None:
        raise MissingDependencyError(
            "Parquet needs pyarrow", allowed=f"--formats {JSONL} needs none",
            next_step="pip install 'pyarrow>=17,<27'",
        )  # fmt: skip


def path_of(view: View, kind: str) -> str:
    """Where a view stands in the export."""
    return f"{kind}/{view.name}.{kind}"


def encode(view: View, rows: list[Record], kind: str) -> bytes:
    """A view's file."""
    return _parquet(view, rows) if kind == PARQUET else _jsonl(view, rows)


def _jsonl(view: View, rows: list[Record]) -> bytes:
    lines = (json.dumps({n: row[n] for n in view.columns}, ensure_ascii=False) for row in rows)
    return "".join(line + "\n" for line in lines).encode("utf-8")


def _parquet(view: View, rows: list[Record]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, _type(kind)) for name, kind in view.columns.items()])
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _type(kind: str) -> Any:
    import pyarrow

    text = pyarrow.string()
    return {
        TEXT: text,
        WHOLE: pyarrow.int64(),
        REAL: pyarrow.float64(),
        FLAG: pyarrow.bool_(),
        TEXTS: pyarrow.list_(text),
        FILES: pyarrow.list_(pyarrow.struct([("path", text), ("content", text)])),
    }[kind]
