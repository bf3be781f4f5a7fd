#!/usr/bin/env python3
"""Serve a dataset's report on this machine's loopback address, for a browser over SSH.

Prints the address and the ssh command that forwards it. The report is made anew when a file of the
dataset changed: reload the page. /report.json has it as JSON. Ctrl-C ends the server.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli

EXAMPLES = """examples:
  python scripts/serve_report.py --dataset tmp/flashinfer-trace
  python scripts/serve_report.py --dataset DIR --port 0 --baseline cublas"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("--dataset", type=Path, required=True, metavar="DIR", help="the dataset")
    add("--port", type=_port, default=8765, metavar="N", help="0 takes a free one (default: 8765)")
    add("--baseline", metavar="SOLUTION", help="also show the speedup against this solution")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    words = ["python", "scripts/serve_report.py", *(sys.argv[1:] if argv is None else argv)]
    return cli.run(build_parser(), lambda args: _run(args, shlex.join(words)), argv)


def _run(args: argparse.Namespace, command: str) -> None:
    from kernelkit.dataset.store import Dataset
    from kernelkit.report import server
    from kernelkit.report.summary import Selection

    Dataset.open(args.dataset)
    reports = server.Reports(args.dataset, Selection(baseline=args.baseline), command)
    reports.get("/")  # a wrong choice is told now, not to the browser
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends it like Ctrl-C
    with server.listen(args.port, reports) as listening:
        try:
            _tell(args, f"http://{server.ADDRESS}:{listening.server_port}/",
                  server.forwarding(listening.server_port))  # fmt: skip
            listening.serve_forever()
        except KeyboardInterrupt:
            cli.say("stopped")


def _tell(args: argparse.Namespace, url: str, forward: str) -> None:
    """Where the report is, at once even into a pipe."""
    text = f"report: {url}\nfrom your own machine: {forward}\n  then open {url} there"
    document = {"url": url, "ssh": forward, "dataset": str(args.dataset)}
    cli.emit(document, as_json=args.json, text=text)
    sys.stdout.flush()


def _port(text: str) -> int:
    """A port number."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"not a port from 0 to 65535: {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
