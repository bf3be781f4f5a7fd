"""Container recipes of a lock: a Dockerfile, and the same in enroot's commands.

Both start from the lock's base image and run setup_env.py in it, so that a container and a machine
get the same pins by the same code. A login shell finds the environment too: Debian's /etc/profile
sets PATH anew, and enroot starts every command through a login shell.
"""

from __future__ import annotations

from collections.abc import Callable

from kernelkit.machine.environments.locks import Lock

PACK, ENVIRONMENT = "/opt/kernelkit", "/opt/environment"
# What compiles kernels and fetches checkouts. CUDA's compiler comes with the base image.
_PROGRAMS = ("ca-certificates", "g++", "git", "git-lfs", "ninja-build")
# What of the pack a container needs, without documents and tests. setup_env.py needs the first.
FOLDERS = ("scripts", ".claude", "templates")
FILES = ("CLAUDE.md", "LICENSE", "README.md", "pyproject.toml", "setup.py")


def dockerfile(lock: Lock) -> str:
    """A Dockerfile, to be built in the pack's root."""
    name = f"Dockerfile.{lock.purpose}"
    return _lines(
        _head(lock, "dockerfile"),
        f"# In the pack's root: docker build -f {name} -t kernelkit:{lock.purpose} .",
        f"# Then: {_docker_run(lock)}",
        '# As yourself, not as root: add --user "$(id -u):$(id -g)" -e HOME=/tmp',
        f"# The image's own copy of the pack is {PACK}; a mounted one is used like any checkout,",
        "# and with the image's environment: bash scripts/demo.sh --no-venv",
        f"FROM {lock.base_image}",
        f"RUN {_apt(lock)}",
        f"COPY {FOLDERS[0]} {PACK}/{FOLDERS[0]}",
        f"RUN {_setup(lock)} && {_PROFILE}",
        f"ENV VIRTUAL_ENV={ENVIRONMENT} PATH={ENVIRONMENT}/bin:$PATH",
        *(f"COPY {folder} {PACK}/{folder}" for folder in FOLDERS[1:]),
        f"COPY {' '.join(FILES)} {PACK}/",
        "WORKDIR /work",
        'CMD ["bash"]',
    )


def enroot(lock: Lock) -> str:
    """A bash script that makes kernelkit-PURPOSE.sqsh with enroot, which needs no root.

    enroot neither overwrites a file nor a container. What is built has names of its own, goes when
    the script ends in whatever way, and an older image stays until the new one is whole.
    """
    name = f"kernelkit-{lock.purpose}"
    base, new, box = f"{name}.base.sqsh", f"{name}.new.sqsh", f"{name}-build"
    return _lines(
        "#!/usr/bin/env bash",
        _head(lock, "enroot"),
        "# In the pack's root. The pack itself is mounted, also later:",
        f'#   enroot create -n {name} {name}.sqsh && enroot start -m "$PWD:{PACK}" {name} bash',
        f'#   srun --container-image="$PWD/{name}.sqsh" --container-mounts="$PWD:{PACK}" bash',
        "set -euo pipefail",
        'die() { echo "error: $1" >&2; exit "$2"; }',
        "command -v enroot >/dev/null || die 'enroot is not on PATH' 3",
        '[ -f scripts/setup_env.py ] || die "run this in the pack\'s root, not in $PWD" 2',
        '[[ $PWD != *[[:space:]:]* ]] || die "enroot mounts no path with spaces or colons: $PWD" 2',
        f"clean() {{ rm -f {base} {new}; enroot remove -f {box} >/dev/null 2>&1 || true; }}",
        "trap clean EXIT",
        "clean",
        f"enroot import -o {base} docker://{lock.base_image}",
        f"enroot create -n {box} {base}",
        f'enroot start --root --rw -m "$PWD:{PACK}" {box} bash -ec \\',
        f"  '{_apt(lock)} && {_setup(lock)} && {_PROFILE} &&",
        f"  echo VIRTUAL_ENV={ENVIRONMENT} >> /etc/environment &&",
        f"  echo PATH={ENVIRONMENT}/bin:$PATH >> /etc/environment'",
        f"enroot export -o {new} {box}",
        f"mv {new} {name}.sqsh",
        f"echo made {name}.sqsh",
    )


RECIPES: dict[str, Callable[[Lock], str]] = {"dockerfile": dockerfile, "enroot": enroot}


def _head(lock: Lock, form: str) -> str:
    return (
        f"# Made by: python scripts/setup_env.py {lock.purpose} --recipe {form}\n"
        f"# Lock: {lock.path.name}, sha256 {lock.digest}"
    )


# No single quote: enroot's command stands between such.
_PROFILE = (
    f'echo "export VIRTUAL_ENV={ENVIRONMENT} PATH={ENVIRONMENT}/bin:\\$PATH"'
    " > /etc/profile.d/kernelkit.sh"
)


def _python(lock: Lock) -> str:
    """The interpreter's name in the base image."""
    return f"python{lock.python}"


def _apt(lock: Lock) -> str:
    """Debian packages; the images named python:X.Y bring their Python, others get Debian's."""
    python = _python(lock)
    own = () if lock.base_image.startswith("python:") else (f"{python}-dev", f"{python}-venv")
    names = " ".join((*_PROGRAMS, *own))
    return (
        "export DEBIAN_FRONTEND=noninteractive"
        f" && apt-get update && apt-get install -y --no-install-recommends {names}"
        " && rm -rf /var/lib/apt/lists/*"
    )


def _setup(lock: Lock) -> str:
    script = f"{PACK}/scripts/setup_env.py"
    return f"{_python(lock)} {script} {lock.purpose} --path {ENVIRONMENT} --installer pip"


def _docker_run(lock: Lock) -> str:
    gpus = " --gpus all" if lock.cuda else ""
    return f'docker run --rm -it{gpus} -v "$PWD:/work" kernelkit:{lock.purpose}'


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
