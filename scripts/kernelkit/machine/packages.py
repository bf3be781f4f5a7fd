"""Python packages, each imported in a process of its own with a limit of time."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from kernelkit.machine.facts import ABSENT, BROKEN, OK, Fact, run

GROUP = "packages"
_MARK = "kernelkit-probe "
# The folder the script is called from is not on the path of a script; a folder `sglang` there
# must not be taken for the package.
_IMPORT = """
import sys
if sys.path and sys.path[0] == "": del sys.path[0]
import importlib, json
module = importlib.import_module({module!r})
told = {{"version": str(getattr(sys.modules[{module!r}.split(".")[0]], "__version__", ""))}}
{more}
print("\\n" + {mark!r} + json.dumps(told))
"""
_ASK_TORCH = """
told["cuda"] = module.version.cuda
told["available"] = bool(module.version.cuda) and module.cuda.is_available()
told["devices"] = [
    [module.cuda.get_device_name(n), ".".join(map(str, module.cuda.get_device_capability(n)))]
    for n in range(module.cuda.device_count() if told["available"] else 0)
]
"""


@dataclass(frozen=True)
class Package:
    """A package: the capability's name, the module that is imported, the name on the index."""

    name: str
    module: str
    distribution: str


PACKAGES = (
    Package("pydantic", "pydantic", "pydantic"),
    Package("numpy", "numpy", "numpy"),
    Package("safetensors", "safetensors", "safetensors"),
    Package("huggingface_hub", "huggingface_hub", "huggingface-hub"),
    Package("tqdm", "tqdm", "tqdm"),
    Package("jinja2", "jinja2", "jinja2"),
    Package("yaml", "yaml", "pyyaml"),
    Package("tree_sitter", "tree_sitter_typescript", "tree-sitter-typescript"),
    Package("pytest", "pytest", "pytest"),
    Package("torch", "torch", "torch"),
    Package("triton", "triton", "triton"),
    Package("flashinfer", "flashinfer", "flashinfer-python"),
    Package("sglang", "sglang", "sglang"),
    Package("fla", "fla", "flash-linear-attention"),
    Package("cute_dsl", "cutlass.cute", "nvidia-cutlass-dsl"),
    Package("cupti", "cupti", "cupti-python"),
    Package("pyarrow", "pyarrow", "pyarrow"),
    Package("ray", "ray", "ray"),
    Package("tvm_ffi", "tvm_ffi", "apache-tvm-ffi"),
    Package("flashinfer_bench", "flashinfer_bench", "flashinfer-bench"),
)


def probes(seconds: float) -> list[tuple[str, Callable[[], list[Fact]]]]:
    """One probe for each package; torch's tells whether it sees a GPU, too."""
    return [(p.name, lambda p=p: probe(p, seconds)) for p in PACKAGES]


def probe(package: Package, seconds: float) -> list[Fact]:
    """Import the package elsewhere and say how that went."""
    if not _is_installed(package.module.split(".")[0]):
        facts = [Fact(GROUP, package.name, ABSENT)]
    else:
        more = _ASK_TORCH if package.name == "torch" else ""
        code = _IMPORT.format(module=package.module, more=more, mark=_MARK)
        answer = run([sys.executable, "-c", code], seconds)
        told = _told(answer.out) if answer.code == 0 else None
        if told is None:
            return _broken(package, answer.code, answer.last, seconds)
        facts = [Fact(GROUP, package.name, OK, _version(package) or told["version"])]
        if package.name == "torch":
            return [facts[0], _torch_gpu(told)]
    if package.name == "torch":
        facts.append(Fact(GROUP, "torch_gpu", ABSENT, detail="torch is not installed"))
    return facts


def _is_installed(name: str) -> bool:
    """Whether there is such a package. A bare folder (no __init__.py, no loader) is none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return spec is not None and (spec.origin is not None or _holds_code(spec))


def _holds_code(spec: object) -> bool:
    """Whether a package without __init__.py belongs to an installed distribution."""
    try:
        from importlib.metadata import packages_distributions
    except ImportError:  # Python below 3.10, of which the report tells
        return False
    return getattr(spec, "name", "") in packages_distributions()


def _broken(package: Package, code: int | None, last: str, seconds: float) -> list[Fact]:
    why = f"its import took longer than {seconds:g} s (--timeout)" if code is None else last
    if code is not None and code < 0:
        why = f"its import was ended by signal {-code}"
    facts = [Fact(GROUP, package.name, BROKEN, _version(package), why)]
    if package.name == "torch":
        facts.append(Fact(GROUP, "torch_gpu", ABSENT, detail="torch cannot be imported"))
    return facts


def _told(out: str) -> dict | None:
    """The probe's own line: packages print when they are imported."""
    lines = [line for line in out.splitlines() if line.startswith(_MARK)]
    return json.loads(lines[-1][len(_MARK) :]) if lines else None


def _version(package: Package) -> str:
    try:
        return version(package.distribution)
    except PackageNotFoundError:
        return ""


def _torch_gpu(told: dict) -> Fact:
    """Whether torch can use a GPU, and why not."""
    if told["available"]:
        shown = ", ".join(f"{name} (sm_{cap.replace('.', '')})" for name, cap in told["devices"])
        return Fact(GROUP, "torch_gpu", OK, f"CUDA {told['cuda']}", shown)
    why = "no GPU that this build can use" if told["cuda"] else "this torch is a CPU build"
    return Fact(GROUP, "torch_gpu", ABSENT, f"CUDA {told['cuda']}" if told["cuda"] else "", why)
