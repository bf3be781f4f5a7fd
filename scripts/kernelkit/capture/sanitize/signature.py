"""Names and defaults of a function's parameters, from the text of its recorded signature."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

# FlashInfer 0.7 takes these behind `*deprecated_positional_args`, under their 0.6 positions.
_LEGACY = (
    "pos_encoding_mode", "window_left", "logits_soft_cap", "q_data_type", "kv_data_type",
    "o_data_type", "data_type", "sm_scale", "rope_scale", "rope_theta", "non_blocking",
    "block_tables", "seq_lens", "fixed_split_size", "disable_split_kv", "q_len_per_req",
)  # fmt: skip
_LEGACY_MARK = "*deprecated_positional_args"


@dataclass(frozen=True)
class Signature:
    """`positional`: names by position; `defaults`: those that are literals."""

    positional: tuple[str, ...]
    defaults: dict[str, Any]

    def name_at(self, position: int) -> str:
        """The parameter at a position; `arg_{i}` where the signature does not say."""
        return self.positional[position] if position < len(self.positional) else f"arg_{position}"


@lru_cache(maxsize=1024)
def parse(text: str) -> Signature:
    """A signature as `str(inspect.signature(f))` writes it."""
    positional: list[str] = []
    defaults: dict[str, Any] = {}
    open_ended = False
    for part in _parts(text):
        if part.startswith("*"):
            if part.startswith(_LEGACY_MARK):
                positional += _LEGACY
            open_ended = True
            continue
        if part == "/":
            continue
        left, has_default, default = part.partition("=")
        name = left.split(":")[0].strip()
        if not open_ended:
            positional.append(name)
        if has_default:
            _add_literal(defaults, name, default)
    return Signature(tuple(positional), defaults)


def _parts(text: str) -> Iterator[str]:
    """The parameters between the outer parentheses, stripped, empty ones left out."""
    start, depth, current = text.find("("), 0, ""
    for character in text[start + 1 :] if start >= 0 else "":
        if character == ")" and depth == 0:
            break
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            yield from filter(None, [current.strip()])
            current = ""
        else:
            current += character
    yield from filter(None, [current.strip()])


def _add_literal(defaults: dict[str, Any], name: str, text: str) -> None:
    try:
        defaults[name] = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return
