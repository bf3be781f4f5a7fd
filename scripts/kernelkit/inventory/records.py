"""The records of a run manifest. See manifest.py for how they are read, extended and written."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from kernelkit.dataset.base import FormatModel, NonEmptyString, NonNegativeInt

SCHEMA_VERSION = 1

Source = Literal["model", "dataset", "flashinfer", "sglang"]


class Evidence(FormatModel):
    """One thing that was seen: what it shows, and where."""

    about: Source
    text: NonEmptyString
    file: str | None = None
    line: NonNegativeInt | None = None


class Serving(FormatModel):
    """One serving configuration."""

    tp: int = Field(ge=1)
    ep: int = Field(ge=1)


class Unmapped(FormatModel):
    """A part of the model that no definition stands for, and why."""

    part: NonEmptyString
    op_type: NonEmptyString
    reason: NonEmptyString


class PhaseState(FormatModel):
    """How far one phase is. `steps` maps what is done to a mark of what it was done from: a step
    whose mark has changed is done again."""

    status: Literal["running", "done", "incomplete", "failed"]
    problems: list[str] | None = None
    steps: dict[str, str] | None = None


class Kernel(FormatModel):
    """One definition that the model needs, and how far it is."""

    definition_name: NonEmptyString
    op_type: NonEmptyString
    phase1_status: Literal["existing", "new"] | None = None
    fi_status: Literal["fi_supported", "fi_missing"] | None = None
    fi_api: str | None = None
    fi_trace_template: bool | None = None
    sgl_status: Literal["sgl_integrated", "sgl_missing", "n/a"] | None = None
    sgl_default_path: bool | None = None
    serving: list[str] | None = None
    workloads: NonNegativeInt | None = None
    differences: list[str] | None = None
    evidence: list[Evidence] | None = None
    # Written by later steps.
    phase2_status: str | None = None
    phase2: dict[str, str] | None = None
    phase3_status: str | None = None
    phase3: dict[str, str] | None = None
    skipped: dict[str, str] | None = None
    workload_entries: NonNegativeInt | None = None
    fi_issue_url: str | None = None
    fi_trace_template_request_url: str | None = None
    sgl_pr_url: str | None = None
    phase4: Any = None


class Manifest(FormatModel):
    """One model's onboarding."""

    schema_version: int = Field(default=SCHEMA_VERSION, ge=1)
    model_slug: NonEmptyString
    hf_repo_id: str | None = None
    date: NonEmptyString
    updated: str | None = None
    config: str | None = None
    architecture: str | None = None
    num_layers: NonNegativeInt | None = None
    layers: dict[str, int] | None = None
    serving: list[Serving] | None = None
    page_sizes: list[int] | None = None
    repo_shas: dict[str, str] | None = None
    versions: dict[str, str] | None = None
    kernels: list[Kernel] = Field(default_factory=list)
    unmapped: list[Unmapped] | None = None
    notes: list[str] | None = None
    phases: dict[str, PhaseState] | None = None

    def kernel(self, definition_name: str) -> Kernel | None:
        """The entry of a definition, or None."""
        found = (k for k in self.kernels if k.definition_name == definition_name)
        return next(found, None)

    def to_text(self) -> str:
        """The file form. Whatever was set stays, a null of another step's field included."""
        plain = self.model_dump(mode="json", exclude_unset=True)
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
