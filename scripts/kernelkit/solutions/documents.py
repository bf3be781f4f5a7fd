"""Solution JSON as plain documents: read strictly, checked by the model, written as it was.

A document keeps what a model's dump would lose: the order of keys, keys that nobody knows, and
the difference between null and absent. So a round trip through a folder is exact.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from kernelkit.dataset.solution import Solution
from kernelkit.dataset.validate.solutions import check_solution
from kernelkit.errors import FormatError, UsageError

Document = dict[str, Any]


def read_object(path: Path) -> Document:
    """The JSON object in a file. Raises UsageError where there is none, FormatError for another."""
    try:
        text = path.read_bytes().decode("utf-8")
        found = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
        json.dumps(found, ensure_ascii=False).encode("utf-8")  # an escape may be half a character
    except FileNotFoundError:
        raise UsageError("no such file", received=path) from None
    except OSError as error:
        raise UsageError("cannot be read", received=f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FormatError(f"{path}: not a JSON object", received=type(found).__name__)
    return found


def parse(document: Document, place: object) -> Solution:
    """The document as a Solution. Raises FormatError with every problem; `place` names it."""
    try:
        return Solution.model_validate(document)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            field = ".".join(str(part) for part in item["loc"])
            message = item["msg"].removeprefix("Value error, ")
            problems.append(f"{field}: {message}" if field else message)
        raise FormatError(f"{place}: not a solution: {'; '.join(problems)}") from None


def check_entry(solution: Solution, place: object) -> None:
    """Raises FormatError for a source that is no valid Python, or an entry point that is absent.

    Only the text is read: nothing is imported. A call's arguments are check_solution.py's.
    """
    for code, _, message, fix in check_solution(solution, None):
        if code in ("L5", "L6"):
            raise FormatError(f"{place}: {message}", next_step=fix)


def load(path: Path) -> Document:
    """A Solution file's document, checked. Raises UsageError, FormatError."""
    document = read_object(path)
    parse(document, path)
    return document


def to_text(document: Document) -> str:
    """The file form, the same as a model's: two spaces of indent and a final newline."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _unique(pairs: list[tuple[str, Any]]) -> Document:
    """An object of JSON. Raises ValueError for a repeated key: readers disagree on which counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} occurs twice")
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse(text)
