"""One run: what was asked, and the manifest that knows what is done."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kernelkit import cli
from kernelkit.dataset import atomic
from kernelkit.dataset.store import Dataset
from kernelkit.errors import (
    EXIT_FAILED,
    EXIT_MISSING,
    KernelkitError,
    MissingDependencyError,
    UsageError,
)
from kernelkit.inventory import manifest as manifests
from kernelkit.inventory.manifest import Kernel, Manifest, PhaseState
from kernelkit.models.load import Model, load_model
from kernelkit.models.naming import slug, slug_of_config
from kernelkit.ops.derivation import Derivation, Request


@dataclass
class Result:
    """What a phase tells: lines for a person, problems with the exit code that they ask for."""

    lines: list[str] = field(default_factory=list)
    problems: list[tuple[str, int]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # of the phase's parts

    def tell(self, text: str) -> None:
        """A line for a person."""
        self.lines.append(text)

    def fail(self, text: str, code: int = EXIT_FAILED) -> None:
        """Something is wrong, or (EXIT_MISSING) something is absent here."""
        self.problems.append((text, code))

    def fail_with(self, error: KernelkitError, what: str = "") -> None:
        """An error, with what was attempted."""
        self.fail(f"{what}: {error}" if what else str(error), error.exit_code)

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Note what the block takes, also where it fails."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = round(time.monotonic() - began, 1)

    @property
    def exit_code(self) -> int:
        """0; 3 where all that is wrong is something absent; else the worst."""
        codes = {code for _, code in self.problems}
        return next(iter(codes)) if len(codes) == 1 else EXIT_FAILED if codes else 0

    @property
    def status(self) -> str:
        """The word of the manifest."""
        code = self.exit_code
        return "done" if not code else "incomplete" if code == EXIT_MISSING else "failed"


@dataclass
class Run:
    """The options with what they name. Reading a property may need the network (`model`)."""

    args: argparse.Namespace
    path: Path  # the manifest
    slug: str

    @property
    def dry(self) -> bool:
        """Whether nothing may be written."""
        return self.args.dry_run

    @property
    def manifest(self) -> Manifest:
        """The manifest as it stands, or a fresh one."""
        return manifests.load(self.path) if self.path.exists() else self._fresh()

    @cached_property
    def model(self) -> Model:
        """The model. Raises what `load_model` raises."""
        args, held = self.args, self.manifest
        config, repo = args.config, args.hf_repo_id or held.hf_repo_id
        if config is None and args.hf_repo_id is None and held.config:
            config = Path(held.config)
        if config is not None:
            found = load_model(self.slug, None, config)
            return Model(found.slug, found.config, found.spec, repo)
        return load_model(args.model_name or held.model_slug, repo, None, args.revision)

    @cached_property
    def request(self) -> Request:
        """What is derived: the options', else the manifest's, else the cookbook's sizes."""
        from kernelkit.models.cookbook import chosen_sizes
        from kernelkit.models.parallelism import Parallelism
        from kernelkit.ops import OP_TYPES, family

        args, held = self.args, self.manifest
        for op_type in args.op_types or []:
            family(op_type)
        if held.serving and args.tp_list is None and args.ep_list is None:
            sizes = tuple(Parallelism(tp=s.tp, ep=s.ep) for s in held.serving)
        else:
            sizes = chosen_sizes(args.tp_list, args.ep_list, self.cookbook, self.model.repo_id)
        pages = args.page_sizes or held.page_sizes or [1, 64]
        return Request((f"model:{self.slug}",), sizes, tuple(pages),
                       tuple(args.op_types or OP_TYPES))  # fmt: skip

    @cached_property
    def derivation(self) -> Derivation:
        """The model's definitions, as the config implies them."""
        from kernelkit.ops.derivation import derive

        return derive(self.model.spec, self.request)

    @property
    def cookbook(self) -> Path | None:
        """The sgl-cookbook that lists this model's sizes, if there is one."""
        from kernelkit.errors import NothingSelectedError
        from kernelkit.models.cookbook import serving_configs

        folder = self.args.cookbook or self.args.target_dir / "sgl-cookbook"
        if not folder.is_dir() or self.model.repo_id is None:
            return None
        try:
            serving_configs(folder, self.model.repo_id)
        except (NothingSelectedError, MissingDependencyError) as error:
            cli.say(f"note: {error}")
            return None
        return folder

    @property
    def dataset_folder(self) -> Path:
        """Where the dataset is, or is to be."""
        return self.args.dataset or self.args.target_dir / "flashinfer-trace"

    @cached_property
    def dataset(self) -> Dataset:
        """Raises UsageError where there is none."""
        return Dataset.prepare(self.dataset_folder, create=self.args.create, dry_run=self.dry)

    @property
    def output(self) -> Path:
        """The folder of everything that is neither dataset nor state."""
        return (self.args.output or self.args.target_dir / "onboard" / self.slug).resolve()

    def config_file(self) -> Path:
        """The model's config on this disk: the one given, else the copy that phase 1 keeps, so
        that later phases need the network no more."""
        if self.args.config is not None:
            return self.args.config.resolve()
        held = self.manifest.config
        return Path(held) if held and Path(held).is_file() else self.keep_config()

    def keep_config(self) -> Path:
        """Copy the model's config, under its repository's name: ORG__NAME.json."""
        name = (self.model.repo_id or self.slug).replace("/", "__")
        path = self.output / f"{name}.json"
        atomic.write_text(path, json.dumps(self.model.config, indent=2) + "\n")
        return path

    def kernels(self) -> list[Kernel]:
        """The manifest's kernels of the asked op types. Raises UsageError where phase 1 is open."""
        wanted = self.args.op_types
        found = [k for k in self.manifest.kernels if not wanted or k.op_type in wanted]
        if not found:
            raise UsageError("the manifest has no kernels yet", received=self.path,
                             next_step="run phase 1 before: --phases 1")  # fmt: skip
        return found

    def update(self, change: Callable[[Manifest], None]) -> None:
        """Change the manifest, whole and under its lock."""
        manifests.update(self.path, change, otherwise=self._fresh())

    def update_kernels(self, change: Callable[[Kernel], None]) -> None:
        """Change each kernel of the manifest in place, in one write."""

        def all_of(held: Manifest) -> None:
            for kernel in held.kernels:
                change(kernel)

        self.update(all_of)

    def step_done(self, phase: int, step: str, mark: str) -> bool:
        """Whether the manifest says that a step was done from just this."""
        state = (self.manifest.phases or {}).get(str(phase))
        return (state.steps or {}).get(step) == mark if state else False

    def _fresh(self) -> Manifest:
        made = manifests.fresh(self.slug, self.args.hf_repo_id)
        if self.args.config is not None:
            made.config = str(self.args.config.resolve())
        return made


def note_step(held: Manifest, phase: int, step: str, mark: str) -> None:
    """Write down that a step is done; for use inside a change of the manifest."""
    states = dict(held.phases or {})
    state = states.get(str(phase)) or PhaseState(status="running")
    state.steps = {**(state.steps or {}), step: mark}
    held.phases = {**states, str(phase): state}


def mark_of(*parts: object) -> str:
    """A short hash of what a step is done from."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def set_entry(kernel: Kernel, name: str, key: str, value: str | None) -> None:
    """Set or (None) drop one entry of a kernel's `phase2`, `phase3` or `skipped`."""
    held = {k: v for k, v in (getattr(kernel, name) or {}).items() if k != key}
    entries = {**held, key: value} if value is not None else held
    if entries != (getattr(kernel, name) or {}):
        setattr(kernel, name, entries)


def open_run(args: argparse.Namespace) -> Run:
    """Raises UsageError where no model is named, or the manifest is another model's."""
    name = _slug(args)
    path = args.manifest or _default_manifest(args.target_dir, name)
    run = Run(args, path, name)
    if run.path.exists() and run.manifest.model_slug != name:
        raise UsageError(
            "the manifest belongs to another model", received=f"model {name}",
            allowed=run.manifest.model_slug, next_step="name another --manifest file",
        )  # fmt: skip
    return run


def _slug(args: argparse.Namespace) -> str:
    if args.model_name or args.hf_repo_id:
        return slug(args.model_name or args.hf_repo_id)
    if args.config is not None:
        return slug_of_config(args.config)
    if args.manifest is not None and args.manifest.exists():
        return manifests.load(args.manifest).model_slug
    raise UsageError("no model given", allowed="--config, --hf-repo-id, --model-name, --discover, "
                     "or the --manifest of an earlier run")  # fmt: skip


def _default_manifest(target: Path, name: str) -> Path:
    """The newest of this model, so that a run on another day goes on with it."""
    held = sorted(target.glob(f"onboard_{name}_????-??-??.json"))
    return held[-1] if held else target / f"onboard_{name}_{manifests.fresh(name).date}.json"
