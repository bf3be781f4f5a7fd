"""What every script shares: parser, types of options, output, progress, errors as exit codes.

A script is a docstring, `build_parser()` and `main(argv=None) -> int`:

    def main(argv: Sequence[str] | None = None) -> int:
        return cli.run(build_parser(), _run, argv)

`_run(args)` returns an exit code or None (0), and raises KernelkitError for everything it can name.
"""

from __future__ import annotations

import argparse
import errno
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from kernelkit.errors import EXIT_MISSING, EXIT_OK, KernelkitError

T = TypeVar("T")

_CONTROLS = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\t"), ord("\n")}
_TURNS = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # of the reading direction
_SHOWN = {code: f"\\u{code:04x}" for code in _CONTROLS | _TURNS}

EXIT_CODES = (
    "exit codes: 0 ok, 1 checks failed, 2 usage, 3 missing dependency or device, "
    "4 nothing selected, 5 timeout"
)

# What a disk or a folder refuses whatever the script does there, and what to do.
_ROOM, _RIGHTS = "make room there or name another place", "look at its permissions"
_OF_A_PLACE = {errno.EACCES: _RIGHTS, errno.EPERM: _RIGHTS, errno.EROFS: "name another place",
               errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM}  # fmt: skip


def parser(doc: str | None, *, examples: str = "") -> argparse.ArgumentParser:
    """A strict parser (no abbreviations) with `--json`; `doc` is the script's docstring."""
    made = argparse.ArgumentParser(
        description=(doc or "").strip(),
        epilog="\n\n".join(part for part in (examples.strip(), EXIT_CODES) if part),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--json", action="store_true", help="print one JSON document on stdout, all else on stderr"
    )
    return made


def model_source(
    made: argparse.ArgumentParser, name: str, *, config: str = "a config.json on this disk"
) -> argparse._MutuallyExclusiveGroup:
    """Add the options that say which model: --model-name (`name` is its help), --hf-repo-id or
    --config, --revision. Returns the group of the sources, for those of one script alone."""
    made.add_argument("--model-name", metavar="NAME", help=name)
    source = made.add_mutually_exclusive_group()
    source.add_argument("--hf-repo-id", metavar="ORG/NAME", help="fetch its config from the hub")
    source.add_argument("--config", type=Path, metavar="FILE", help=config)
    made.add_argument("--revision", metavar="R", help="branch, tag or commit on the hub")
    return source


def names(text: str) -> list[str]:
    """Comma-separated names; an empty name is an error."""
    values = [part.strip() for part in text.split(",")]
    if not all(values):
        raise argparse.ArgumentTypeError(f"empty name in {text!r}; expected a,b,c")
    return values


def tags(text: str) -> list[str]:
    """Comma-separated tags, each key:value."""
    values = names(text)
    if other := [value for value in values if ":" not in value]:
        raise argparse.ArgumentTypeError(f"not a tag: {other[0]!r}; expected key:value")
    return values


def positive_ints(text: str) -> list[int]:
    """Comma-separated positive integers without repetition."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"not integers: {text!r}; expected e.g. 1,2,4") from None
    if any(value < 1 for value in values):
        raise argparse.ArgumentTypeError(f"below 1: {text!r}; expected e.g. 1,2,4")
    return list(dict.fromkeys(values))


def positive_int(text: str) -> int:
    """A whole number of at least one."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a positive integer: {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A finite number above zero."""
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"not a positive number of seconds: {text!r}")
    return value


def not_negative(text: str) -> float:
    """A finite number of at least zero."""
    if not 0 <= (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"not a number of at least zero: {text!r}")
    return value


def fraction(text: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= (value := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"not a number from 0 to 1: {text!r}")
    return value


def _number(text: str) -> float:
    """The number, or NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def run(
    made: argparse.ArgumentParser,
    body: Callable[[argparse.Namespace], int | None],
    argv: Sequence[str] | None = None,
) -> int:
    """Parse `argv` and run `body`, guarded."""
    return guarded(lambda: body(made.parse_args(argv)) or EXIT_OK)


def guarded(body: Callable[[], int]) -> int:
    """The exit code of `body`; a KernelkitError becomes one line and its exit code.

    A reader of stdout that went away (`| head`) is no failure; a full disk, a full stdout, a
    folder that cannot be written and an absent package are one each, in one line.
    """
    try:
        try:
            return body()
        finally:
            _flush()
    except KernelkitError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; what was written is complete, run the same command again to go on")
        return 130
    except BrokenPipeError:
        return EXIT_OK
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == __package__:
            raise  # a fault of the pack
        say(f"error: a package is not installed; received: {error.name}; next: "
            "python scripts/setup_env.py cpu, then that environment")  # fmt: skip
        return EXIT_MISSING
    except OSError as error:
        if error.errno not in _OF_A_PLACE:
            raise
        say(f"error: {error.strerror}; received: {error.filename or 'a file'}; "
            f"next: {_OF_A_PLACE[error.errno]}, then run the same command again")  # fmt: skip
        return KernelkitError.exit_code


def _flush() -> None:
    """Write stdout to its end. Where that fails the rest goes nowhere, or Python tries it again."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise _unwritten(error) from None


def _unwritten(error: OSError) -> KernelkitError:
    return KernelkitError("stdout cannot be written", received=error.strerror)


def say(text: str) -> None:
    """A line for the person: stderr, so that stdout stays one document under --json. Names come
    from files of others: what would move a terminal's cursor or turn the text is shown as a code.
    """
    print(text.translate(_SHOWN), file=sys.stderr, flush=True)


def emit(document: object, *, as_json: bool, text: str = "") -> None:
    """The result on stdout: one JSON document, or the text form. Raises KernelkitError."""
    if as_json:
        text = json.dumps(document, indent=2, ensure_ascii=False)
    try:
        if text:
            print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritten(error) from None


def progress(items: Iterable[T], *, what: str, total: int | None = None) -> Iterable[T]:
    """A progress bar on stderr; silent where stderr is no terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, file=sys.stderr, disable=None, leave=False)
