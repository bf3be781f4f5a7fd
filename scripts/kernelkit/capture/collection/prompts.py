"""Prompts as token ids: of random lengths, or as long as a file's conversations.

No tokenizer is needed: the kernels see lengths and shared prefixes, never the text. A text becomes
one id for every four characters, the id a hash of them, so that texts with a common beginning
share a prefix of ids, as turns of one conversation do.

Files: ShareGPT (JSON list, `conversations` of from/value), Alpaca (`instruction`, `input`,
`output`), OpenAI chat (`messages` of role/content), `turns`, and JSONL with `prompt` or `text` (and
`output`, `completion`).
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.errors import FormatError, UsageError

CHARACTERS_PER_TOKEN = 4  # of English text; only lengths follow from it
FIRST_ID = 10  # below are often control tokens
RANDOM, SHAREGPT = "random", "sharegpt"


@dataclass(frozen=True)
class Prompt:
    """Token ids, and how many tokens are to be generated."""

    ids: list[int]
    new_tokens: int


@dataclass(frozen=True)
class Lengths:
    """Input and output lengths; each drawn from [ratio * n, n]."""

    isl: int = 1024
    osl: int = 128
    ratio: float = 1.0

    def draw(self, most: int, source: random.Random) -> int:
        """One length, at least 1."""
        return source.randint(max(1, round(most * self.ratio)), max(1, most))


def random_prompts(count: int, lengths: Lengths, vocab_size: int, seed: int) -> list[Prompt]:
    """`count` prompts of random ids."""
    draw = random.Random(seed)
    low = min(FIRST_ID, vocab_size - 1)
    made = []
    for _ in range(count):
        size = lengths.draw(lengths.isl, draw)
        ids = [draw.randrange(low, vocab_size) for _ in range(size)]
        made.append(Prompt(ids, lengths.draw(lengths.osl, draw)))
    return made


def file_prompts(
    path: Path, count: int, lengths: Lengths, vocab_size: int, seed: int
) -> list[Prompt]:
    """Up to `count` prompts of a file, each turn with the conversation before it.

    Prompts are cut at `lengths.isl` tokens from the left, answers at `lengths.osl`. Conversations
    are drawn in random order. Raises UsageError without the file, FormatError where it holds no
    conversation of a known form.
    """
    conversations = [turns for turns in map(_turns, _records(path)) if turns]
    if not conversations:
        raise FormatError(
            "no conversation in this file", received=path,
            allowed="ShareGPT, Alpaca, OpenAI chat, or JSONL with prompt or text",
        )  # fmt: skip
    order = random.Random(seed)
    order.shuffle(conversations)
    made: list[Prompt] = []
    for turns in conversations:
        made += _of_conversation(turns, lengths, vocab_size)
        if len(made) >= count:
            break
    return made[:count]


def load(dataset: str, count: int, lengths: Lengths, vocab_size: int, seed: int) -> list[Prompt]:
    """By name: `random`, or a file (`sharegpt` alone names no file)."""
    if dataset == RANDOM:
        return random_prompts(count, lengths, vocab_size, seed)
    if dataset == SHAREGPT and not Path(dataset).exists():
        raise UsageError(
            "sharegpt is a file to download", received=dataset,
            next_step="give its path: --dataset ShareGPT_V3_unfiltered_cleaned_split.json",
        )  # fmt: skip
    return file_prompts(Path(dataset), count, lengths, vocab_size, seed)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Objects of a JSON list or of JSON lines; a line that is neither is left out."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            "the dataset file cannot be read", received=f"{path}: {error.strerror}"
        ) from None
    try:
        whole = json.loads(text)
    except ValueError:
        whole = None
    rows = whole if isinstance(whole, list) else [whole] if isinstance(whole, dict) else None
    for row in rows if rows is not None else _lines(text):
        if isinstance(row, dict):
            yield row


def _lines(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _turns(record: dict[str, Any]) -> list[str]:
    """Texts of a conversation, question and answer in turn."""
    for name, part in (("conversations", "value"), ("messages", "content")):
        if isinstance(record.get(name), list):
            said = [m.get(part) for m in record[name] if isinstance(m, dict)]
            return [text for text in said if isinstance(text, str) and text]
    if isinstance(record.get("turns"), list):
        return [part for turn in record["turns"] for part in (str(turn), "") if str(turn)]
    if "instruction" in record:
        question = f"{record['instruction']}\n{record.get('input') or ''}".strip()
        return [question, str(record.get("output") or "")]
    question = record.get("prompt") or record.get("text")
    answer = record.get("output") or record.get("completion") or ""
    return [str(question), str(answer)] if question else []


def _of_conversation(turns: Sequence[str], lengths: Lengths, vocab_size: int) -> Iterator[Prompt]:
    """One prompt for each question: what was said before it, and itself."""
    said = ""
    for position in range(0, len(turns), 2):
        said += turns[position]
        ids = text_ids(said, vocab_size)[-lengths.isl :]
        answer = turns[position + 1] if position + 1 < len(turns) else ""
        expected = len(answer) // CHARACTERS_PER_TOKEN or lengths.osl
        yield Prompt(ids, min(expected, lengths.osl))
        said += answer


def text_ids(text: str, vocab_size: int) -> list[int]:
    """One id for each four characters; equal beginnings give equal ids."""
    low = min(FIRST_ID, vocab_size - 1)
    span = vocab_size - low
    parts = range(0, len(text), CHARACTERS_PER_TOKEN)
    return [low + zlib.crc32(text[i : i + CHARACTERS_PER_TOKEN].encode()) % span for i in parts]
