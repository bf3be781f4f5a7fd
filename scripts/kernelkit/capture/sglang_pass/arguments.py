"""The command line of a pass, and what it means."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.errors import UsageError

if TYPE_CHECKING:
    from kernelkit.capture.sglang_pass.planning import Options
    from kernelkit.capture.sglang_pass.running import Capture
    from kernelkit.capture.sglang_pass.session import Manner
    from kernelkit.models.load import Model

DEFAULT_VERSION = "0.5.14"  # routing facts where no SGLang is installed
VARIANT_NAMES = ("base", "paged", "linear", "mamba")


# fmt: off
def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    _add_model(parser)
    _add_engine(parser)
    _add_output(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    cli.model_source(parser, "short name, e.g. llama-3.1-8b")
    parser.add_argument("--weights", metavar="PATH",
                        help="a real checkpoint (default: dummy weights)")
    parser.add_argument("--tp-list", type=cli.positive_ints, metavar="1,4,8",
                        help="tensor-parallel sizes (default: the cookbook's, else 1)")
    parser.add_argument("--ep-list", type=cli.positive_ints, metavar="1,8",
                        help="expert-parallel sizes (default: the cookbook's, else 1)")
    parser.add_argument("--cookbook", type=Path, metavar="DIR", help="sgl-cookbook checkout")
    parser.add_argument("--page-sizes", type=cli.positive_ints, default=[1], metavar="1,64",
                        help="server page sizes (default: 1; the kernels see pages of 1 anyway)")
    parser.add_argument("--layers", type=cli.positive_int, metavar="N",
                        help="at least N layers (default: one of each kind)")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--emulate-parallelism", dest="emulate", action="store_true", default=True,
                      help="one GPU, heads and experts divided in the config (default)")
    kind.add_argument("--real-parallelism", dest="emulate", action="store_false",
                      help="as many GPUs as TP asks for")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variants", type=_variants, metavar="A,B",
                        help=f"of {', '.join(VARIANT_NAMES)} (default: all that show something)")
    parser.add_argument("--attention-backend", default="flashinfer", metavar="NAME",
                        help="default: flashinfer; another shows no FlashInfer attention")
    parser.add_argument("--linear-attn-backend", metavar="NAME", help="for every variant")
    parser.add_argument("--moe-runner-backend", metavar="NAME",
                        help="e.g. flashinfer_cutlass, which shows cutlass_fused_moe")
    parser.add_argument("--deterministic", action="store_true", help="SGLang's deterministic mode")
    parser.add_argument("--quantization", default="none", metavar="NAME",
                        help="none (16 bits, the default), config (as published), or SGLang's name")
    parser.add_argument("--sglang-arg", action="append", default=[], metavar="K=V",
                        help="one more engine argument; V is JSON, else text")
    parser.add_argument("--env", default="current", metavar="conda:NAME|venv:PATH|current",
                        help="the Python that has SGLang")
    parser.add_argument("--sglang-path", type=Path, metavar="DIR", help="a checkout of SGLang")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="DIR",
                        help="folder of the run (default: out/sglang_pass/MODEL)")
    parser.add_argument("--trace-dump", type=Path, metavar="DIR", help="default: OUTPUT/trace_dump")
    parser.add_argument("--record", type=Path, metavar="DIR", help="default: OUTPUT/record")
    parser.add_argument("--level10", type=Path, metavar="DIR", help="FlashInfer's full dumps, too")
    parser.add_argument("--timeout", type=cli.seconds, default=900.0, metavar="S",
                        help="seconds for one pass (default: 900; compiling kernels is the most)")
    parser.add_argument("--jobs", type=cli.positive_int, default=1, metavar="N",
                        help="passes side by side on one GPU (default: 1)")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failed pass")
    parser.add_argument("--resume", action="store_true", help="leave out passes that are done")
    parser.add_argument("--dry-run", action="store_true", help="show the passes, run none")
# fmt: on


def options(args: argparse.Namespace, model: Model, version: str | None) -> Options:
    """What the plan is made from."""
    from kernelkit.capture.sglang_pass.planning import Options
    from kernelkit.capture.sglang_pass.variants import Choices
    from kernelkit.models.cookbook import chosen_sizes

    named = None if args.quantization in ("none", "config") else args.quantization
    return Options(
        parallel=chosen_sizes(args.tp_list, args.ep_list, args.cookbook, model.repo_id),
        page_sizes=tuple(args.page_sizes),
        layers=args.layers,
        emulate=args.emulate and args.weights is None,  # a checkpoint has all its heads
        weights=args.weights,
        keep_quantization=args.quantization != "none",
        variants=args.variants,
        choices=Choices(
            attention_backend=args.attention_backend,
            linear_attn_backend=args.linear_attn_backend,
            moe_runner_backend=args.moe_runner_backend,
            quantization=named,
            deterministic=args.deterministic,
            extra=dict(pair(text) for text in args.sglang_arg),
        ),
        version=version if version and version[0].isdigit() else DEFAULT_VERSION,
    )


def capture(args: argparse.Namespace, slug: str) -> Capture:
    """Where the passes write."""
    from kernelkit.capture.sglang_pass.running import Capture

    work = (args.output or Path("out") / "sglang_pass" / slug).resolve()
    return Capture(
        work=work,
        record=(args.record or work / "record").resolve(),
        trace_dump=(args.trace_dump or work / "trace_dump").resolve(),
        level10=args.level10.resolve() if args.level10 else None,
    )


def manner(args: argparse.Namespace) -> Manner:
    """How the passes are run."""
    from kernelkit.capture.sglang_pass.session import Manner

    return Manner(
        timeout_s=args.timeout, jobs=args.jobs, keep_going=args.keep_going, resume=args.resume,
        weights=args.weights,
    )  # fmt: skip


def pair(text: str) -> tuple[str, Any]:
    """NAME=VALUE as an engine argument; a value that is JSON is read as such."""
    name, equals, value = text.partition("=")
    if not equals or not name.replace("-", "_").isidentifier():
        raise UsageError("not an engine argument", received=text, allowed="NAME=VALUE")
    try:
        return name.replace("-", "_"), json.loads(value)
    except ValueError:
        return name.replace("-", "_"), value


def _variants(text: str) -> list[str]:
    found = cli.names(text)
    if unknown := sorted(set(found) - set(VARIANT_NAMES)):
        raise argparse.ArgumentTypeError(
            f"no such variant: {', '.join(unknown)}; of {', '.join(VARIANT_NAMES)}"
        )
    return found
