"""What is asked for, looked up and found to be there."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

from kernelkit.dataset.store import Dataset
from kernelkit.errors import NothingSelectedError, UsageError
from kernelkit.inventory import manifest as manifests
from kernelkit.inventory.manifest import Kernel, Manifest
from kernelkit.publish.repository import Repository
from kernelkit.sources.git import Git


@dataclass(frozen=True)
class Request:
    """The options with what they name."""

    args: argparse.Namespace
    dataset: Dataset
    repository: Repository
    bench: Repository | None
    manifest: Manifest | None
    names: list[str]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str | None:
        """The commit that the staged files started from; None where the dataset is no checkout."""
        if self.repository.root != self.dataset.root.resolve():
            return None
        return self.repository.merge_base("HEAD", self.repository.base.sha)

    @property
    def texts(self) -> Path:
        """Where the bodies of pull requests go."""
        return self.args.output.expanduser().resolve()

    def kernel(self, name: str) -> Kernel | None:
        """The manifest's entry."""
        return self.manifest.kernel(name) if self.manifest else None


def request_of(args: argparse.Namespace, git: Git) -> Request:
    """Raises UsageError for what is not there, NothingSelectedError where nothing is chosen."""
    if args.submit and args.dry_run:
        raise UsageError("--dry-run makes nothing that --submit could publish")
    if args.manifest is None and not args.definitions:
        raise UsageError("nothing is selected", allowed="--manifest FILE or --definitions A,B")
    manifest = manifests.load(args.manifest) if args.manifest else None
    dataset = Dataset.open(args.dataset)
    repository = Repository.open(
        args.dataset_repo or args.dataset, git, args.remote,
        what="the dataset", option="--dataset-repo",
    )  # fmt: skip
    bench = args.bench_repo and Repository.open(
        args.bench_repo, git, args.remote, what="the bench repository", option="--bench-repo"
    )
    names, skipped = _select(args, dataset, manifest)
    args = argparse.Namespace(**{**vars(args), "config": args.config or _config_of(manifest)})
    return Request(args, dataset, repository, bench or None, manifest, names, skipped)


def _config_of(manifest: Manifest | None) -> Path | None:
    """The model's config where the manifest's run read one that is still there."""
    path = Path(manifest.config) if manifest and manifest.config else None
    return path if path is not None and path.is_file() else None


def _select(
    args: argparse.Namespace, dataset: Dataset, manifest: Manifest | None
) -> tuple[list[str], dict[str, str]]:
    """The definitions to publish, and those that the dataset does not have."""
    names = list(dict.fromkeys(args.definitions or []))
    if manifest is not None:
        known = [kernel.definition_name for kernel in manifest.kernels]
        if unknown := [name for name in names if name not in known]:
            raise UsageError("the manifest has no such kernel", received=unknown[0],
                             allowed=", ".join(known[:5]) or "none")  # fmt: skip
        names = names or known
    held = {path.stem for path in dataset.files("definitions", ".json")}
    there = [name for name in names if name in held]
    if not there:
        raise NothingSelectedError(
            "the dataset has none of these definitions", received=", ".join(names[:5]) or "none"
        )
    return there, {name: "the dataset has no such definition" for name in names if name not in held}
