"""Typed look-ups in a config that remember where each value came from.

A look-up tries the names in order in the config's scopes (the text config, then what the outer
config shares with it), then the architecture's class defaults. A field that is present but null
counts as unset and shuts out the class default, as in the transformers library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kernelkit.errors import ConfigError
from kernelkit.models.architectures import Architecture

T = TypeVar("T")

# What a multimodal config states outside its text config, yet means for it.
SHARED = ("tie_word_embeddings", "torch_dtype", "dtype", "quantization_config")
LARGEST = 2**40  # of any size in a config: beyond it arithmetic and memory give out
_SHOWN = 30  # field names listed in an error


class MissingFieldError(ConfigError):
    """A field that neither the config nor its class gives."""


@dataclass(frozen=True)
class Found(Generic[T]):
    """A value and where it stands: a config field, or a sentence for anything else."""

    value: T
    source: str


class Fields:
    """One config, seen as `architecture` reads it. Collects `sources` and `undecided`."""

    def __init__(
        self, text: Mapping[str, Any], prefix: str, outer: Mapping[str, Any], kind: Architecture
    ) -> None:
        self.architecture = kind
        self.prefix = prefix
        self.sources: dict[str, str] = {}
        self.undecided: dict[str, str] = {}
        self._text = text
        self._outer = {name: outer[name] for name in SHARED if name in outer} if prefix else {}

    def find(self, *names: str) -> Found[Any] | None:
        """The first of `names` that is set; its value is None where it is present but null."""
        null = None
        for name in names:
            for prefix, scope in ((self.prefix, self._text), ("", self._outer)):
                present, value = _dotted(scope, name)
                if value is not None:
                    return Found(value, prefix + name)
                if present:
                    null = null or Found(None, f"{prefix}{name} is null")
        if null is not None:
            return null
        defaults = self.architecture.defaults
        return next((self.default(defaults[name]) for name in names if name in defaults), None)

    @property
    def class_source(self) -> str:
        """The source of what the architecture's class fixes."""
        if not self.architecture.known:
            return "assumed, as in Llama: the architecture is unknown"
        return f"class default: {self.architecture.config_class}"

    def default(self, value: T) -> Found[T]:
        """`value` as a fact of the architecture's class."""
        return Found(value, self.class_source)

    def note(self, target: str, found: Found[T]) -> T:
        """Record where `target` came from; returns the value."""
        self.sources[target] = found.source
        return found.value

    def undecide(self, families: Sequence[str], reason: str) -> None:
        """The config leaves these op families open."""
        for family in families:
            self.undecided.setdefault(family, reason)

    def required(self, target: str, *names: str, otherwise: Found[Any] | None = None) -> Found[Any]:
        """The value with its source, recorded. Raises ConfigError where there is none."""
        found = self.find(*names)
        if found is None or found.value is None:
            found = otherwise
        if found is None:
            raise self.missing(*names)
        self.note(target, found)
        return found

    def integer(
        self, target: str, *names: str, otherwise: Found[Any] | None = None, minimum: int = 1
    ) -> int:
        """An integer of at least `minimum`."""
        found = self.required(target, *names, otherwise=otherwise)
        return self.check_integer(found, minimum)

    def optional_integer(self, target: str, *names: str, minimum: int = 1) -> int | None:
        """An integer of at least `minimum`, or None where the field is unset."""
        found = self.find(*names)
        if found is None or found.value is None:
            return None
        return self.check_integer(Found(self.note(target, found), found.source), minimum)

    def number(self, target: str, *names: str, otherwise: Found[Any] | None = None) -> float:
        """A finite number above zero."""
        found = self.required(target, *names, otherwise=otherwise)
        value = found.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.wrong(found, "a number")
        if not 0 < value <= sys.float_info.max:  # no NaN, no integer beyond any float
            raise self.wrong(found, "a finite number above 0")
        return float(value)

    def text(self, target: str, *names: str, otherwise: Found[Any] | None = None) -> str:
        """A string."""
        found = self.required(target, *names, otherwise=otherwise)
        if not isinstance(found.value, str):
            raise self.wrong(found, "a string")
        return found.value

    def flag(self, target: str, *names: str, otherwise: Found[bool]) -> bool:
        """true or false."""
        found = self.required(target, *names, otherwise=otherwise)
        if not isinstance(found.value, bool):
            raise self.wrong(found, "true or false")
        return found.value

    def items(self, *names: str) -> Found[list[Any]] | None:
        """A list (of whatever), or None where the field is unset."""
        found = self.find(*names)
        if found is None or found.value is None:
            return None
        if not isinstance(found.value, list):
            raise self.wrong(found, "a list")
        return found

    def mapping(self, *names: str) -> Found[Mapping[str, Any]] | None:
        """An object, or None where the field is unset."""
        found = self.find(*names)
        if found is None or found.value is None:
            return None
        if not isinstance(found.value, Mapping):
            raise self.wrong(found, "an object")
        return found

    def check_integer(self, found: Found[Any], minimum: int = 1) -> int:
        """`found` as an integer. Raises ConfigError for another type or a smaller value."""
        value = found.value
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(found, "an integer")
        if value < minimum:
            raise self.wrong(found, f"an integer of at least {minimum}")
        if value > LARGEST:
            raise self.wrong(found, f"an integer of at most {LARGEST}")
        return value

    def missing(self, *names: str) -> MissingFieldError:
        """The error for a field that neither the config nor the class gives."""
        shown = sorted(self._text)
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        spelled = self.prefix + names[0]
        if len(names) > 1:
            spelled += f" (or {', '.join(names[1:])})"
        return MissingFieldError(
            f"{self.architecture.name}: the config has no {spelled}, and no class default is known",
            received=f"fields {', '.join(shown[:_SHOWN])}{more}",
            next_step="use the config.json as the model's repository publishes it",
        )

    def wrong(self, found: Found[Any], allowed: str) -> ConfigError:
        """The error for a value of the wrong type or size."""
        return ConfigError(
            f"{self.architecture.name}: {found.source} is wrong",
            received=_shown(found.value),
            allowed=allowed,
        )


def _shown(value: object) -> str:
    """The value as it was given; a number of too many digits for Python to write, by its size."""
    if isinstance(value, int) and abs(value) > LARGEST**4:
        return f"an integer of {value.bit_length()} bits"
    return repr(value)


def _dotted(scope: Mapping[str, Any], name: str) -> tuple[bool, Any]:
    """Whether `name` ("a" or "a.b") stands in `scope`, and its value."""
    value: Any = scope
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value
