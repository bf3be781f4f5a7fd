"""The command line of a collection, and what it means."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.capture.sglang_pass.arguments import pair
from kernelkit.cli import positive_int, seconds

if TYPE_CHECKING:
    from kernelkit.capture.collection.collecting import Manner, Traffic


# fmt: off
def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    _add_selection(parser)
    _add_model(parser)
    _add_traffic(parser)
    _add_output(parser)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset-dir", "--dataset", dest="dataset_arguments", action="append",
                        required=True, metavar="DIR",
                        help="the dataset with the definitions (a folder); given once more as "
                        "--dataset random|FILE it says what is asked (default: random)")
    parser.add_argument("--dump", type=Path, metavar="DIR",
                        help="recordings or level-10 dumps that are there: no server is started")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--definition-names", "--definitions", dest="definitions", type=cli.names,
                       metavar="A,B", help="only these definitions")
    which.add_argument("--op-type", type=cli.names, metavar="A,B", help="only these op types")
    which.add_argument("--all", action="store_true", help="all definitions (the default)")


def _add_model(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model-name", help="short name (default: from the definitions' tags)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--hf-repo-id", metavar="ORG/NAME", help="fetch its config from the hub")
    source.add_argument("--config", type=Path, metavar="FILE", help="a config.json on this disk")
    add("--model-path", metavar="PATH",
        help="a real checkpoint (default: dummy weights, few layers)")
    add("--tp", type=positive_int, metavar="N", help="default: what gives the shapes")
    add("--ep", type=positive_int, metavar="N", help="default: what gives the shapes")
    add("--real-parallelism", action="store_true",
        help="as many GPUs as TP asks for (default with --model-path)")
    add("--page-size", type=positive_int, default=1, metavar="N", help="default: 1")
    add("--layers", type=positive_int, metavar="N", help="at least N (dummy weights)")
    add("--quantization", default="none", metavar="NAME",
        help="none (the default), config (as published), or SGLang's name")
    add("--sglang-arg", action="append", default=[], metavar="K=V",
        help="one more engine argument, e.g. nnodes=2")
    add("--launch-command", metavar="TEXT",
        help="start this server instead; it gets the recorder's environment")
    add("--env", default="current", metavar="conda:NAME|venv:PATH|current",
        help="the Python that has SGLang")
    add("--sglang-path", type=Path, metavar="DIR", help="a checkout of SGLang")


def _add_traffic(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--traffic", choices=("auto", "engine", "server", "both"), default="auto",
        help="exact decode batches, a server, or what the definitions need")
    add("--num-prompts", "--num-samples", type=positive_int, default=100, metavar="N",
        help="requests to a server (default: 100)")
    add("--isl", type=positive_int, default=1024, metavar="N",
        help="most input tokens (default: 1024)")
    add("--osl", type=positive_int, default=64, metavar="N",
        help="most output tokens (default: 64)")
    add("--random-range-ratio", type=_share, default=0.1, metavar="R",
        help="random lengths from R times the most (default: 0.1)")
    add("--batch-sizes", type=cli.positive_ints, default=[1, 8, 32],
        metavar="1,8,32", help="exact decode batches (default: 1,8,32)")
    add("--num-batches", type=positive_int, default=2, metavar="N",
        help="batches of each size (default: 2)")
    add("--restart-per-batch-size", action="store_true",
        help="an engine of its own for each batch size")
    add("--concurrency", type=positive_int, default=16, metavar="N",
        help="requests at once (default: 16)")
    add("--request-rate", type=seconds, metavar="R",
        help="requests a second on average (default: no limit)")
    add("--seed", type=int, default=0, metavar="N", help="of prompts and arrivals")
    add("--port", type=positive_int, metavar="N", help="default: a free one")
    add("--timeout", type=seconds, default=3600.0, metavar="S",
        help="for one engine (default: 3600)")
    add("--server-timeout", type=seconds, default=1800.0, metavar="S",
        help="until a server is ready (default: 1800)")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=("recorder", "level10"), default="recorder",
                        help="level10 writes the whole KV pool at each call")
    parser.add_argument("--dump-count", type=positive_int, default=2000, metavar="N",
                        help="distinct contents kept of one shape of a call (default: 2000)")
    parser.add_argument("--max-disk-gb", type=seconds, default=20.0, metavar="N",
                        help="stop before the run's folder grows beyond it (default: 20)")
    parser.add_argument("--workloads-per-batch", type=positive_int, default=2, metavar="N",
                        help="workloads kept with the same axes (default: 2)")
    parser.add_argument("--max-new-workloads", type=positive_int, default=20, metavar="N",
                        help="kept of each definition (default: 20)")
    parser.add_argument("--replace-first", action="store_true",
                        help="put the new workloads in place of those that are there")
    parser.add_argument("--eval", action=argparse.BooleanOptionalAction, default=True,
                        help="evaluate the FlashInfer baseline on them (default: yes)")
    parser.add_argument("--submit", action=argparse.BooleanOptionalAction, default=False,
                        help="commit and push a branch of the dataset (default: only show it)")
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder of the run (default: out/collect/MODEL)")
    parser.add_argument("--resume", action="store_true", help="go on where a run has stopped")
    parser.add_argument("--dry-run", action="store_true", help="show what would be run and written")
# fmt: on


def datasets(args: argparse.Namespace) -> tuple[Path, str]:
    """The dataset's folder and the source of prompts, from the values of --dataset."""
    from kernelkit.capture.collection.prompts import RANDOM, SHAREGPT
    from kernelkit.errors import UsageError

    folders = [v for v in args.dataset_arguments if v not in (RANDOM, SHAREGPT)
               and not Path(v).is_file()]  # fmt: skip
    sources = [v for v in args.dataset_arguments if v not in folders]
    if absent := [v for v in folders if Path(v).suffix in (".json", ".jsonl")]:
        raise UsageError("no such file of conversations", received=absent[0],
                         allowed="random, or a file that is there")  # fmt: skip
    if len(folders) != 1 or len(sources) > 1:
        raise UsageError(
            "--dataset-dir names one folder, --dataset may name what is asked",
            received=args.dataset_arguments, allowed="--dataset-dir DIR [--dataset random|FILE]",
        )  # fmt: skip
    return Path(folders[0]), sources[0] if sources else RANDOM


def traffic(args: argparse.Namespace, source: str) -> Traffic:
    """What is asked."""
    from kernelkit.capture.collection.collecting import Traffic
    from kernelkit.capture.collection.driving import Arrival
    from kernelkit.capture.collection.prompts import Lengths

    return Traffic(
        dataset=source,
        num_prompts=args.num_prompts,
        lengths=Lengths(args.isl, args.osl, args.random_range_ratio),
        batch_sizes=tuple(args.batch_sizes),
        num_batches=args.num_batches,
        decode_tokens=min(args.osl, 16),
        arrival=Arrival(args.concurrency, args.request_rate, args.seed),
        seed=args.seed,
        restart_per_batch_size=args.restart_per_batch_size,
    )


def manner(args: argparse.Namespace) -> Manner:
    """How it is run."""
    from kernelkit.capture.collection.collecting import Manner

    return Manner(args.timeout, args.server_timeout, args.port, args.launch_command, args.resume)


def extra(args: argparse.Namespace) -> dict[str, Any]:
    """Engine arguments of --sglang-arg."""
    return dict(pair(text) for text in args.sglang_arg)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"not a share: {text!r}; expected above 0, at most 1")
    return value
