"""The options that decide which definitions an entry names: one set for both scripts."""

from __future__ import annotations

import argparse
from pathlib import Path

from kernelkit import cli


# fmt: off
def add_mapping_options(parser: argparse.ArgumentParser) -> None:
    """What decides which definitions an entry names, and its words."""
    parser.add_argument("--dataset", type=Path, metavar="DIR",
                        help="name only definitions that this dataset has")
    parser.add_argument("--keep-missing", action="store_true",
                        help="with --dataset: name those that it lacks, too")
    parser.add_argument("--tp-list", type=cli.positive_ints, metavar="1,8",
                        help="tensor-parallel sizes (default: the cookbook's; else 1,2,4,8 with "
                        "--dataset, 1 without)")
    parser.add_argument("--ep-list", type=cli.positive_ints, metavar="1,8",
                        help="expert-parallel sizes (default: 1 beside --tp-list, else as there)")
    parser.add_argument("--page-sizes", type=cli.positive_ints, default=[1, 64], metavar="1,64",
                        help="KV-cache page sizes (default: 1,64)")
    parser.add_argument("--cookbook", type=Path, metavar="DIR",
                        help="sgl-cookbook checkout (default: tmp/sgl-cookbook if it exists)")
    parser.add_argument("--display-name", metavar="TEXT", help="the entry's name")
    parser.add_argument("--description", metavar="TEXT", help="the entry's description")
# fmt: on
