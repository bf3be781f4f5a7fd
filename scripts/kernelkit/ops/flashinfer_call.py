"""How a definition is shown to FlashInfer's tracer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FlashInferCall:
    """A call that shows a definition to FlashInfer's tracer: the API's dotted path (with `.run`
    for wrappers) and keyword arguments, tensors on the meta device.

    `aliases` gives the template's name of an axis or input where it is not ours. `differs` names
    axes and inputs in which the template and the dataset disagree on purpose, with the reason.
    """

    api: str
    kwargs: dict[str, Any]
    aliases: Mapping[str, str] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)
