"""Attention under another mask: no causal mask, a sliding window, a soft cap on the logits.

The published families are causal and have neither; FlashInfer's dump gives all of them one name.
Such a call becomes a definition of its own: the family's reference with the rule put in, under the
family's name with a suffix (`_w{window_left}`, `_cap{soft cap}`), a prefill without `_causal`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kernelkit.dataset.definition import Definition

# Where the families' references decide what a query sees, and what they do with the logits.
PREFILL_SEEN = "(j[:n] <= (i + kv_len - q_len)[..., None])"
PREFILL_REACH = (
    "n = min(width, max(1, start + len(i) + reach))  # no later key is seen in this block"
)
DECODE_SEEN = "valid = position < lengths[first:last, None]"
PREFILL_SCALE = ".mul_(sm_scale)"
DECODE_SCALE = " * sm_scale\n"


@dataclass(frozen=True)
class Mask:
    """What a query sees. window_left: keys before its own that it sees, -1 for all of them.

    soft_cap c: logits x become c tanh(x / c); 0 is none.
    """

    causal: bool = True
    window_left: int = -1
    soft_cap: float = 0.0

    @property
    def plain(self) -> bool:
        """Whether this is the families' own mask."""
        return self == Mask()

    @property
    def suffix(self) -> str:
        """What a name gets."""
        window = f"_w{self.window_left}" if self.window_left >= 0 else ""
        return window + (f"_cap{self.soft_cap:g}".replace(".", "p") if self.soft_cap else "")

    def words(self) -> str:
        """What a description gets."""
        parts = [] if self.causal else ["no causal mask"]
        if self.window_left >= 0:
            parts.append(f"a window of {self.window_left} keys before the query's own")
        if self.soft_cap:
            parts.append(f"logits capped by {self.soft_cap:g} tanh(x / {self.soft_cap:g})")
        return ", ".join(parts)


def masked(definition: Definition, mask: Mask, *, prefill: bool) -> Definition:
    """The definition under the mask; itself where the mask is the family's own.

    Raises ValueError where the family's reference has not the places that are replaced.
    """
    if mask.plain:
        return definition
    name = definition.name if mask.causal else definition.name.replace("_causal", "")
    text = _prefill(definition.reference, mask) if prefill else definition.reference
    text = text if prefill else _decode(text, mask)
    words = definition.description or ""
    words = words if mask.causal else words.replace(", causal", "").replace("causal ", "")
    return definition.model_copy(
        update={
            "name": name + mask.suffix,
            "description": f"{words.rstrip('.')}; {mask.words()}.",
            "reference": text,
        }
    )


def _prefill(text: str, mask: Mask) -> str:
    first = "(j[:n] >= (i + kv_len - q_len)[..., None] - WINDOW_LEFT)"
    rules = [PREFILL_SEEN] if mask.causal else []
    rules += [first] if mask.window_left >= 0 else []
    if not mask.causal:
        text = _replaced(text, PREFILL_REACH, "n = width")
        text = text.replace("        reach = int((kv_len - q_len).max())\n", "")
        text = text.replace(", causal;", ";").replace(", causal.", ".")
    text = _replaced(text, f" & {PREFILL_SEEN}", "".join(f" & {rule}" for rule in rules))
    # Without a rule the keys alone decide, for every query of the block.
    if not rules:
        text = _replaced(text, "seen = kv_valid[:, None, :n]\n",
                         "seen = kv_valid[:, None, :n].expand(-1, len(i), -1)\n")  # fmt: skip
    return _constants(_capped(text, PREFILL_SCALE, mask), mask)


def _decode(text: str, mask: Mask) -> str:
    if mask.window_left >= 0:
        ends = "lengths[first:last, None]"
        rule = f"(position < {ends}) & (position >= {ends} - 1 - WINDOW_LEFT)"
        text = _replaced(text, f"{DECODE_SEEN}\n", f"valid = {rule}\n")
    return _constants(_capped(text, DECODE_SCALE, mask), mask)


def _capped(text: str, scale: str, mask: Mask) -> str:
    if not mask.soft_cap:
        return text
    if scale == PREFILL_SCALE:
        return _replaced(text, scale, ".mul_(sm_scale / SOFT_CAP).tanh_().mul_(SOFT_CAP)")
    capped = " * (sm_scale / SOFT_CAP)\n{0}logits = SOFT_CAP * torch.tanh(logits)\n"
    line = next(row for row in text.splitlines() if row.endswith(scale.rstrip("\n")))
    indent = line[: len(line) - len(line.lstrip())]
    return _replaced(text, scale, capped.format(indent))


def _constants(text: str, mask: Mask) -> str:
    """The mask's numbers, on top of the program."""
    lines = [f"WINDOW_LEFT = {mask.window_left}"] if mask.window_left >= 0 else []
    lines += [f"SOFT_CAP = {float(mask.soft_cap)}"] if mask.soft_cap else []
    if not lines:
        return text
    return _replaced(text, "import torch\n", "import torch\n\n" + "\n".join(lines) + "\n")


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise ValueError(f"the reference has {text.count(old)} places {old!r}, not one")
    return text.replace(old, new)
