"""Container recipes of a lock: a Dockerfile, and the same in enroot's commands.

Both start from the lock's base image and run setup_env.py in it, so that a container and a machine
get the same pins by the same code.
"""

from __future__ import annotations

from collections.abc import Callable

from kernelkit.machine.environments.locks import Lock

PACK, ENVIRONMENT = "/opt/kernelkit", "/opt/environment"
# What compiles kernels and fetches checkouts. CUDA's compiler comes with the base image.
_PROGRAMS = ("ca-certificates", "g++", "git", "git-lfs", "ninja-build")
# What of the pack a container needs; documents and tests stay outside.
PARTS = ("scripts", ".claude", "templates", "CLAUDE.md", "pyproject.toml", "setup.py", "README.md")


def dockerfile(lock: Lock) -> str:
    """A Dockerfile, to be built in the pack's root."""
    name = f"Dockerfile.{lock.purpose}"
    folders = [part for part in PARTS[1:] if "." not in part[1:]]
    files = [part for part in PARTS[1:] if "." in part[1:]]
    return _lines(
        _head(lock, "dockerfile"),
        f"# In the pack's root: docker build -f {name} -t kernelkit:{lock.purpose} .",
        f"# Then: {_docker_run(lock)}",
        f"FROM {lock.base_image}",
        "ENV DEBIAN_FRONTEND=noninteractive",
        f"RUN {_apt(lock)}",
        f"COPY scripts {PACK}/scripts",
        f"RUN {_setup(lock)}",
        f"ENV VIRTUAL_ENV={ENVIRONMENT} PATH={ENVIRONMENT}/bin:$PATH",
        *(f"COPY {folder} {PACK}/{folder}" for folder in folders),
        f"COPY {' '.join(files)} {PACK}/",
        "WORKDIR /work",
        'CMD ["bash"]',
    )


def enroot(lock: Lock) -> str:
    """A bash script that makes kernelkit-PURPOSE.sqsh with enroot, which needs no root."""
    name = f"kernelkit-{lock.purpose}"
    return _lines(
        "#!/usr/bin/env bash",
        _head(lock, "enroot"),
        "# In the pack's root. The pack itself is mounted, also later:",
        f'#   enroot create -n {name} {name}.sqsh && enroot start -m "$PWD:{PACK}" {name} bash',
        f'#   srun --container-image="$PWD/{name}.sqsh" --container-mounts="$PWD:{PACK}" bash',
        "set -euo pipefail",
        f"enroot import -o {name}-base.sqsh docker://{lock.base_image}",
        f"enroot create -n {name} {name}-base.sqsh",
        f'enroot start --root --rw -m "$PWD:{PACK}" {name} bash -ec \\',
        f"  '{_apt(lock)} && {_setup(lock)} && echo PATH={ENVIRONMENT}/bin:$PATH"
        " >> /etc/environment'",
        f"enroot export -o {name}.sqsh {name}",
        f"enroot remove -f {name}",
        f"rm {name}-base.sqsh",
    )


RECIPES: dict[str, Callable[[Lock], str]] = {"dockerfile": dockerfile, "enroot": enroot}


def _head(lock: Lock, form: str) -> str:
    return (
        f"# Made by: python scripts/setup_env.py {lock.purpose} --recipe {form}\n"
        f"# Lock: {lock.path.name}, sha256 {lock.digest}"
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
        f"apt-get update && apt-get install -y --no-install-recommends {names}"
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
