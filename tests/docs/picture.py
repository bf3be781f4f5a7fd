#!/usr/bin/env python3
"""Make the README's picture of a report anew, from the demo's dataset, with a headless Chromium.

First `bash scripts/demo.sh`, then this. The picture is the top of the page in the light theme.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit import cli  # noqa: E402
from kernelkit.dataset import atomic  # noqa: E402
from kernelkit.dataset.store import Dataset  # noqa: E402
from kernelkit.errors import FormatError, MissingDependencyError  # noqa: E402

PICTURE = ROOT / "templates" / "report.png"
COMMAND = "python scripts/report.py --dataset out/demo/dataset -o out/demo/report.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MOST_BYTES = 200_000
SECONDS = 120


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples="examples:\n  python tests/docs/picture.py")
    add = parser.add_argument
    add("--dataset", type=Path, default=ROOT / "out" / "demo" / "dataset", metavar="DIR",
        help="the demo's (default: out/demo/dataset)")  # fmt: skip
    add("--output", type=Path, default=PICTURE, metavar="FILE",
        help="default: templates/report.png")  # fmt: skip
    add("--size", default="1180,1155", metavar="W,H", help="of the window (default: 1180,1155)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    from kernelkit.report.page import render
    from kernelkit.report.summary import summarize

    page = render(summarize(Dataset.open(args.dataset)), COMMAND)
    with tempfile.TemporaryDirectory(prefix="picture-") as folder:
        picture = _shot(Path(folder), page, args.size)
    if len(picture) > MOST_BYTES:
        raise FormatError("the picture is too large", received=f"{len(picture)} bytes",
                          allowed=f"{MOST_BYTES}", next_step="choose a smaller --size")  # fmt: skip
    atomic.write_bytes(args.output, picture)
    document = {"output": str(args.output), "bytes": len(picture)}
    cli.emit(document, as_json=args.json, text=f"{args.output}: {len(picture)} bytes")


def _shot(folder: Path, page: str, size: str) -> bytes:
    """The page as PNG. Raises MissingDependencyError without a browser."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise MissingDependencyError("no Chromium here", next_step="install chromium")
    (folder / "report.html").write_text(page, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--hide-scrollbars", "--blink-settings=preferredColorScheme=1",
               f"--user-data-dir={folder / 'profile'}", f"--window-size={size}",
               f"--screenshot={folder / 'report.png'}",
               (folder / "report.html").as_uri()]  # fmt: skip
    subprocess.run(command, check=True, timeout=SECONDS, capture_output=True)
    return (folder / "report.png").read_bytes()


if __name__ == "__main__":
    raise SystemExit(main())
