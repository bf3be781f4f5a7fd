"""Keys of a loaded document that its models do not have."""

from __future__ import annotations

from collections.abc import Iterator

from kernelkit.dataset.base import FormatModel
from kernelkit.dataset.validate.definitions import Problem


def extras(value: object, where: str = "") -> Iterator[Problem]:
    """Unknown keys of a model and of the models in it."""
    if isinstance(value, FormatModel):
        for key in value.__pydantic_extra__ or {}:
            known = ", ".join(type(value).model_fields)
            yield "S0", f"{where}{key}", f"{key!r} is ignored by every reader", f"one of {known}"
        for name, item in value.__dict__.items():  # its fields: a million lines pass here
            if isinstance(item, (FormatModel, dict)):
                yield from extras(item, f"{where}{name}.")
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, FormatModel):
                yield from extras(item, f"{where}{name}.")
