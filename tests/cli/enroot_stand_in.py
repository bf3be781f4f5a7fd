#!/usr/bin/env python3
"""`enroot` for a test, without namespaces: a container is a folder, an image a tar archive.

Like enroot: nothing is overwritten, a mount's path holds no space, a command sees the variables of
/etc/environment and none of the caller's, and runs through a login shell. The image is Debian's, so
its /etc/profile sets PATH anew. Paths below /etc, /opt and /var in a command become those of the
container, which `root` links to while it runs. ENROOT_FAILS names a command that fails half-way.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

DATA = Path(os.environ["ENROOT_DATA_PATH"])
ROOT = DATA / "root"
PROFILE = """PATH={root}/usr/local/bin:/usr/bin:/bin
for file in {root}/etc/profile.d/*.sh; do [ -r "$file" ] && . "$file"; done
"""
# The image's Python: it stands for setup_env.py, and says that the pack is mounted.
PYTHON = """#!/bin/sh
[ -f "$1" ] && [ "$2 $3" = "cpu --path" ] || exit 9
mkdir -p "$4/bin" && printf '#!/bin/sh\\n' > "$4/bin/python" && chmod +x "$4/bin/python"
"""
APT = '#!/bin/sh\n[ "$DEBIAN_FRONTEND" = noninteractive ]\n'


def main(words: list[str]) -> None:
    """Carry out one enroot command."""
    command, *rest = words
    options = {word: value for word, value in zip(rest, rest[1:], strict=False) if word[0] == "-"}
    {"import": _import, "create": _create, "start": _start, "export": _export, "remove": _remove}[
        command
    ](options, rest)
    if os.environ.get("ENROOT_FAILS") == command:
        sys.exit(f"{command} failed, as asked")


def _import(options: dict[str, str], rest: list[str]) -> None:
    if not re.fullmatch(r"docker://[a-z0-9/._-]+:[A-Za-z0-9._-]+", rest[-1]):
        sys.exit(f"invalid image reference: {rest[-1]}")
    folder = DATA / "import"
    files = {"etc/profile": PROFILE.format(root=ROOT), "etc/environment": "PATH=/usr/bin\n",
             "usr/local/bin/python3.12": PYTHON, "usr/local/bin/apt-get": APT}  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "etc/profile.d").mkdir()
    _pack(folder, Path(options["-o"]))
    shutil.rmtree(folder)


def _create(options: dict[str, str], rest: list[str]) -> None:
    (DATA / options["-n"]).mkdir()
    with tarfile.open(rest[-1]) as archive:
        archive.extractall(DATA / options["-n"])


def _start(options: dict[str, str], rest: list[str]) -> None:
    source, target = options["-m"].split(":")
    if re.search(r"\s", source):
        sys.exit(f"invalid argument: {options['-m']}")
    at = rest.index(options["-m"]) + 1
    ROOT.unlink(missing_ok=True)
    ROOT.symlink_to(DATA / rest[at])
    mounted = Path(f"{ROOT}{target}")
    mounted.parent.mkdir(exist_ok=True)
    mounted.symlink_to(source)
    environment = dict(
        line.split("=", 1) for line in (ROOT / "etc/environment").read_text().splitlines()
    )
    command = [
        re.sub(r"(?<![\w/])/(?=(etc|opt|var)/)", f"{ROOT}/", word) for word in rest[at + 1 :]
    ]
    done = subprocess.run(
        ["/bin/bash", "-c", f'. {ROOT}/etc/profile; exec "$@"', "-bash", *command],
        env={**environment, "HOME": str(ROOT)},
    )
    mounted.unlink()
    if done.returncode:
        sys.exit(done.returncode)


def _export(options: dict[str, str], rest: list[str]) -> None:
    _pack(DATA / rest[-1], Path(options["-o"]))


def _remove(_: dict[str, str], rest: list[str]) -> None:
    shutil.rmtree(DATA / rest[-1])


def _pack(folder: Path, image: Path) -> None:
    with tarfile.open(image, "x") as archive:
        archive.add(folder, ".")


if __name__ == "__main__":
    main(sys.argv[1:])
