"""Who evaluates: this machine's devices, or a Ray cluster's."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from kernelkit.bench import device, fleet, options
from kernelkit.bench.selection import Plan
from kernelkit.bench.spread import cluster
from kernelkit.bench.spread.crew import Found
from kernelkit.dataset.store import Dataset
from kernelkit.errors import UsageError

RAY = "ray"


def devices_of(args: argparse.Namespace) -> list[str]:
    """The devices that the command line asks for. A dry run looks for none.

    See `device.choose`, `cluster.connect`. Raises UsageError for options that exclude each other.
    """
    if args.engine != RAY and args.ray_address is not None:
        raise UsageError("--ray-address is for --engine ray", received=args.ray_address)
    if args.engine == RAY and args.profile:
        raise UsageError("--profile needs a GPU of this machine", received="--engine ray")
    if args.cuda_graph and args.device == "cpu":
        raise UsageError("--cuda-graph needs a GPU", received="--device cpu")
    if args.dry_run:
        return ["cuda" if args.device == "all" else args.device or "cpu"]
    if args.engine == RAY:
        return cluster.connect(args.ray_address, args.device)
    chosen = device.choose(args.device)
    if args.cuda_graph and chosen == ["cpu"]:
        raise UsageError("--cuda-graph needs a GPU", received="no GPU here")
    return chosen


def named(args: argparse.Namespace, devices: list[str]) -> str:
    """The devices in a few words."""
    if args.engine != RAY or args.dry_run:
        return ", ".join(devices)
    return f"{len(devices)} x {devices[0].partition(':')[0]} of a Ray cluster"


def run(
    args: argparse.Namespace, dataset: Dataset, plan: Plan, devices: list[str], target: Dataset
) -> Iterator[Found]:
    """Run every pair of the plan; see `fleet.run`."""
    settings = options.settings_of(args)
    if args.engine == RAY:
        return cluster.run(dataset, plan, settings, devices, target)
    return fleet.run(dataset, plan, settings, devices, target, args.engine)
