"""The command line of an onboarding."""

from __future__ import annotations

import argparse
from pathlib import Path

from kernelkit import cli

PHASES = (0, 1, 2, 3, 4)


def phases(text: str) -> list[int]:
    """Comma-separated numbers of phases, in their order."""
    values = cli.names(text)
    if unknown := [value for value in values if value not in map(str, PHASES)]:
        raise argparse.ArgumentTypeError(f"no such phase: {unknown[0]!r}; of 0,1,2,3,4")
    return sorted({int(value) for value in values})


# fmt: off
def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    _add_model(parser)
    _add_sources(parser)
    _add_work(parser)
    _add_publishing(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    source = cli.model_source(parser, "short name, used as the tag model:NAME")
    source.add_argument("--discover", action="store_true",
                        help="list the models without coverage; onboard none")
    add("--tp-list", type=cli.positive_ints, metavar="1,2,4,8",
        help="tensor-parallel sizes (default: the manifest's, else the cookbook's, else 1)")
    add("--ep-list", type=cli.positive_ints, metavar="1,8", help="expert-parallel sizes (likewise)")
    add("--page-sizes", type=cli.positive_ints, metavar="1,64",
        help="KV-cache page sizes (default: the manifest's, else 1,64)")
    add("--op-types", type=cli.names, metavar="A,B", help="only these op types")


def _add_sources(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--target-dir", type=Path, default=Path("tmp"), metavar="DIR",
        help="where phase 0 puts checkouts (default: tmp)")
    add("--mirror", action="append", default=[], metavar="NAME=URL|PATH",
        help="take a repository from elsewhere; may be repeated")
    add("--sglang-path", type=Path, metavar="DIR",
        help="SGLang's sources (default: the checkout, else the installed one)")
    add("--flashinfer-path", type=Path, metavar="DIR",
        help="FlashInfer's sources (default: the installed one, else the checkout)")
    add("--cookbook", type=Path, metavar="DIR", help="sgl-cookbook (default: the checkout)")
    add("--dataset", type=Path, metavar="DIR",
        help="the dataset that is worked in (default: TARGET/flashinfer-trace)")
    add("--create", action="store_true", help="make the dataset folder if absent")


def _add_work(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--phases", type=phases, default=list(PHASES), metavar="0,1,2,3,4",
        help="only these: 0 repositories, 1 inventory, 2 definitions, 3 workloads, 4 publish")
    add("--manifest", type=Path, metavar="FILE",
        help="the run's state (default: the newest TARGET/onboard_MODEL_*.json, else today's)")
    add("--output", type=Path, metavar="DIR",
        help="recordings, issue texts, patches (default: TARGET/onboard/MODEL)")
    add("--env", default="current", metavar="conda:NAME|venv:PATH|current",
        help="the Python that has SGLang")
    add("--quantization", default="none", metavar="NAME",
        help="of SGLang's runs: none (default), config (as published), or SGLang's name")
    add("--sglang-arg", action="append", default=[], metavar="K=V",
        help="one more argument of SGLang's engine; may be repeated")
    add("--run-tests", action=argparse.BooleanOptionalAction, default=True,
        help="run the reference tests that were not run on these definitions yet")
    add("--skip-workload", action="store_true", help="record and evaluate nothing")
    add("--dump", type=Path, metavar="DIR", help="take workloads from these recordings or dumps")
    add("--collect-arg", action="append", default=[], metavar="OPTION[=VALUE]",
        help="one more option of collect_workloads.py, e.g. --collect-arg=--isl=512")
    add("--bench-arg", action="append", default=[], metavar="OPTION[=VALUE]",
        help="one more option of bench.py on how it measures, e.g. --bench-arg=--iterations=20")
    add("--device", metavar="cpu|cuda[:N]|all",
        help="where baselines are evaluated (default: a GPU; without one they are not)")
    add("--jobs", type=cli.positive_int, default=1, metavar="N",
        help="repositories, and passes on one GPU, at a time (default: 1)")
    add("--timeout", type=cli.seconds, default=900.0, metavar="S",
        help="for one SGLang pass, and one reference test (default: 900)")


def _add_publishing(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--dataset-repo", type=Path, metavar="DIR",
        help="the checkout that gets the branches (default: the dataset itself)")
    add("--bench-repo", type=Path, metavar="DIR",
        help="checkout of flashinfer-bench, for the coverage document")
    add("--remote", default="origin", metavar="NAME", help="of both (default: origin)")
    add("--hub-repo", metavar="ORG/NAME", help="the dataset on the hub")
    add("--pr-repo", metavar="OWNER/NAME", help="the GitHub repository of the coverage document")
    add("--issue-repo", default="flashinfer-ai/flashinfer", metavar="OWNER/NAME",
        help="where requests are filed (default: flashinfer-ai/flashinfer)")
    add("--branch-prefix", default="onboard/", metavar="TEXT", help="default: onboard/")
    add("--allow-incomplete", action="store_true",
        help="submit although parts are absent, e.g. traces")
    add("--submit", action=argparse.BooleanOptionalAction, default=False,
        help="file the issues, push, open the pull requests (default: prepare them only)")
    add("--dry-run", action="store_true", help="say what each phase would do")
# fmt: on
