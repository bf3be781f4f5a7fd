"""Starts the recorder in this Python process, then runs the sitecustomize that this one hides.

Nothing here may break the process: an error is one line on stderr, and the process goes on.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))


def _start() -> None:
    """Make `kernelkit` importable without putting its scripts on sys.path, and install the hook."""
    if not os.environ.get("KERNELKIT_RECORDER"):
        return
    if "kernelkit" not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            "kernelkit",
            os.path.join(_PACKAGE, "__init__.py"),
            submodule_search_locations=[_PACKAGE],
        )
        package = importlib.util.module_from_spec(spec)
        sys.modules["kernelkit"] = package
        spec.loader.exec_module(package)
    from kernelkit.capture.recorder import loading

    loading.install()


def _chain() -> None:
    """Run the next sitecustomize on sys.path under its own name."""
    rest = [path for path in sys.path if os.path.abspath(path or os.getcwd()) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


for _step in (_start, _chain):
    try:
        _step()
    except Exception as _error:  # the process matters more than the recording
        print(f"kernelkit recorder: {_step.__name__}: {_error!r}", file=sys.stderr)
