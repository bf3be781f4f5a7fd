"""Where the pack's own files lie: in a checkout or plugin, or inside the installed package.

Nothing is ever written there: an installed plugin is replaced when it is updated.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
LIBRARY = PACKAGE.parent  # what stands on sys.path for `import kernelkit`
IN_CHECKOUT = (LIBRARY / "bench.py").is_file()
_ROOT = LIBRARY.parent

SCRIPTS = LIBRARY if IN_CHECKOUT else PACKAGE / "commands"
SKILLS = _ROOT / ".claude" / "skills" if IN_CHECKOUT else PACKAGE / "skills"
DOCUMENTS = _ROOT / "templates" if IN_CHECKOUT else PACKAGE / "documents"
# Own code that a solution's process must not see. Installed, it lies among the libraries.
HIDDEN = LIBRARY if IN_CHECKOUT else PACKAGE


def import_path() -> str:
    """PYTHONPATH for a process that imports kernelkit: its folder, then this process's own."""
    return os.pathsep.join(filter(None, [str(LIBRARY), os.environ.get("PYTHONPATH")]))


def command(script: str) -> str:
    """The words that start a script: `python scripts/x.py`, or the installed `kernelkit x`."""
    if not IN_CHECKOUT:
        return f"kernelkit {script.removesuffix('.py').replace('_', '-')}"
    return f"python {shlex.quote(_shown(SCRIPTS / script))}"


def _shown(path: Path) -> str:
    """From the working directory where it lies below that, else the whole path."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
