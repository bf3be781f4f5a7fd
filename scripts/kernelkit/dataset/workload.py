"""Workload: the axes of one real call, and where each input comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kernelkit.dataset.base import FormatModel, NonEmptyString, NonNegativeInt


class RandomInput(FormatModel):
    """Made by the op family, from the seed."""

    type: Literal["random"] = "random"


class ScalarInput(FormatModel):
    """A number as it was passed."""

    type: Literal["scalar"] = "scalar"
    value: int | float | bool


class SafetensorsInput(FormatModel):
    """A recorded tensor; `path` is relative to the dataset's root."""

    type: Literal["safetensors"] = "safetensors"
    path: NonEmptyString
    tensor_key: NonEmptyString


InputSource = Annotated[RandomInput | ScalarInput | SafetensorsInput, Field(discriminator="type")]


class Provenance(FormatModel):
    """Where a workload was recorded. Readers of the format that do not know it pass over it."""

    source: str
    model: str | None = None
    sglang_version: str | None = None
    flashinfer_version: str | None = None
    weights: str | None = None
    rank: int | None = None
    step: int | None = None
    call: str | None = None
    assumed: list[str] | None = None


class Workload(FormatModel):
    """One real call of a definition."""

    uuid: NonEmptyString
    axes: dict[str, NonNegativeInt]
    inputs: dict[str, InputSource]
    provenance: Provenance | None = None
