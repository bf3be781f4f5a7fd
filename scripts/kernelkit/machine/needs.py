"""The one place that says what each script needs, and the command that brings it.

A test holds the table against the scripts: every script has a row, and every package that a script
can come to import is in it. `a|b` means that either is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kernelkit.places import command

_PIP = "python -m pip install"
_CLONE = f"{command('clone_repos.py')} --repos"

# How each capability is had. Pins are those of pyproject.toml.
REPAIRS = {
    "python": "install Python 3.12 and make an environment: python3.12 -m venv .venv",
    "pydantic": f"{_PIP} 'pydantic>=2.9,<3'",
    "numpy": f"{_PIP} 'numpy>=1.26,<3'",
    "safetensors": f"{_PIP} 'safetensors>=0.5,<1'",
    "huggingface_hub": f"{_PIP} 'huggingface-hub>=0.30,<3'",
    "tqdm": f"{_PIP} 'tqdm>=4.66,<5'",
    "jinja2": f"{_PIP} 'jinja2>=3.1,<4'",
    "yaml": f"{_PIP} 'pyyaml>=6,<7'",
    "tree_sitter": f"{_PIP} 'tree-sitter>=0.23,<1' 'tree-sitter-typescript>=0.23.2,<1'",
    "pyarrow": f"{_PIP} 'pyarrow>=17,<27'",
    "ray": f"{_PIP} 'ray>=2.40,<3'",
    "pytest": f"{_PIP} 'pytest>=8,<10'",
    "torch": f"{_PIP} 'torch>=2.8'",
    "torch_gpu": f"{_PIP} --force-reinstall torch (a build for your driver's CUDA, not +cpu)",
    "triton": f"{_PIP} 'triton>=3.6,<4'",
    "flashinfer": f"{_PIP} flashinfer-python==0.6.12",
    "sglang": f"{_PIP} sglang==0.5.14",
    "fla": f"{_PIP} flash-linear-attention==0.5.0",
    "cute_dsl": f"{_PIP} 'nvidia-cutlass-dsl>=4.5,<5'",
    "cupti": f"{_PIP} 'cupti-python>=13,<14'",
    "tvm_ffi": f"{_PIP} apache-tvm-ffi",
    "flashinfer_bench": f"{_PIP} flashinfer-bench==0.1.2",
    "git": "apt install git (or brew install git)",
    "git_lfs": "apt install git-lfs (or brew install git-lfs)",
    "gh": "apt install gh (or brew install gh)",
    "nvcc": "install the CUDA toolkit of torch's CUDA version, and put its bin on PATH",
    "cxx": "apt install g++",
    "ninja": f"{_PIP} ninja",
    "ncu": "install NVIDIA Nsight Compute (it comes with the CUDA toolkit)",
    "compute_sanitizer": "install the CUDA toolkit (it holds compute-sanitizer)",
    "gh_login": "gh auth login",
    "hub_login": "hf auth login",
    "gpu": "run on a machine with an NVIDIA GPU and its driver",
    "github": "check the network, or take repositories from --mirror NAME=PATH",
    "hub": "check the network, or pass files (--config FILE, --mirror flashinfer-trace=PATH)",
    "sglang_sources": f"{_CLONE} sglang",
    "flashinfer_sources": f"{_CLONE} flashinfer",
    "sgl_cookbook_sources": f"{_CLONE} sgl-cookbook",
    "flashinfer_trace_sources": f"{_CLONE} flashinfer-trace",
}


@dataclass(frozen=True)
class Needs:
    """What a script cannot do without, and which of its parts need more."""

    always: tuple[str, ...]
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)


_BASE = ("python", "pydantic", "tqdm")
_HUB = {
    "models from the hub": ("huggingface_hub", "hub"),
    "gated models": ("huggingface_hub", "hub_login"),
}
_COOKBOOK = {"serving configurations": ("yaml", "sgl_cookbook_sources")}
_SGLANG = {"what SGLang calls": ("sglang_sources|sglang",)}
_FLASHINFER = {"what FlashInfer has": ("flashinfer_sources|flashinfer",)}
_TYPESCRIPT = {"models.ts": ("tree_sitter",)}
_GPU = ("gpu", "torch_gpu")
# Solutions run in a process of their own; each language brings its needs.
_LANGUAGES = {
    "GPU times": _GPU,
    "Triton solutions": ("triton", *_GPU),
    "CUDA solutions": ("tvm_ffi", "nvcc", "cxx", "ninja", *_GPU),
    "CuTe DSL solutions": ("cute_dsl", *_GPU),
    "FlashInfer baselines": ("flashinfer", *_GPU),
    "FLA baselines": ("fla", *_GPU),
}

SCRIPTS: dict[str, Needs] = {
    "add_model": Needs(_BASE, {**_HUB, **_COOKBOOK, **_SGLANG, **_FLASHINFER, **_TYPESCRIPT}),
    "add_reference_tests": Needs(
        (*_BASE, "jinja2"),
        {
            "--run": ("torch", "pytest"),
            "FlashInfer as ground truth": ("flashinfer", "nvcc", *_GPU),
            "SGLang as ground truth": ("sglang", *_GPU),
            "FLA as ground truth": ("fla", *_GPU),
        },
    ),
    "bench": Needs(
        (*_BASE, "torch", "safetensors"),
        {
            **_LANGUAGES,
            "--engine flashinfer-bench": ("flashinfer_bench", *_GPU),
            "--engine ray": ("ray",),
            "--profile": ("ncu", *_GPU),
        },
    ),
    "build_solution": Needs(_BASE),
    "check_solution": Needs(_BASE, {"--smoke": ("torch",)}),
    "clone_repos": Needs(
        ("python", "git"),
        {
            "from GitHub": ("github",),
            "from HuggingFace": ("hub",),
            "--blobs": ("git_lfs",),
            "progress bars": ("tqdm",),
        },
    ),
    "collect_workloads": Needs(
        (*_BASE, "numpy"),
        {**_HUB, **_COOKBOOK, "dumps of torch files": ("torch",), "recording": ("sglang", *_GPU)},
    ),
    "compare": Needs(_BASE),
    "deploy_solutions": Needs(_BASE, {"--check": ("torch", "flashinfer", *_GPU)}),
    "derive_definitions": Needs(_BASE, {**_HUB, **_COOKBOOK}),
    "diagnose_solution": Needs((*_BASE, "torch", "safetensors"), {"on a GPU": _GPU}),
    "discover_models": Needs(_BASE, {**_HUB, **_COOKBOOK, **_SGLANG, **_FLASHINFER}),
    "doctor": Needs(("python",)),
    "dump_templates": Needs((*_BASE, "torch", "flashinfer"), _HUB),
    "export_dataset": Needs(_BASE, {"Parquet": ("pyarrow",)}),
    "extract_model": Needs(("python", "tqdm"), _HUB),
    "find_sglang_baseline": Needs((*_BASE, "sglang_sources|sglang"), _HUB),
    "generate_model_definition": Needs(_BASE, {**_HUB, **_COOKBOOK, **_TYPESCRIPT}),
    "gpu_lock": Needs(("python", "gpu")),
    "make_baselines": Needs(_BASE),
    "measure_device": Needs(("python", "torch"), {"a GPU's figures": _GPU}),
    "new_solution": Needs(_BASE),
    "normalize_definitions": Needs(_BASE, {**_HUB, "--smoke": ("torch",)}),
    "onboard_model": Needs(
        (*_BASE, "numpy", "jinja2"),
        {
            **_HUB,
            **_COOKBOOK,
            **_SGLANG,
            **_FLASHINFER,
            "phase 0": ("git", "github", "hub"),
            "templates": ("torch", "flashinfer"),
            "reference tests": ("torch", "pytest"),
            "SGLang passes and workloads": ("sglang", "flashinfer", *_GPU),
            "evaluation": ("torch", *_GPU),
            "branches": ("git", "git_lfs"),
            "--submit": ("gh", "gh_login", "github", "huggingface_hub", "hub", "hub_login"),
        },
    ),
    "report": Needs((*_BASE, "jinja2")),
    "run_sglang_pass": Needs(
        (*_BASE, "numpy", "gpu"),
        {
            **_HUB,
            **_COOKBOOK,
            "SGLang of this environment (--env names another)": ("sglang", "flashinfer", *_GPU),
        },
    ),
    "sanitize_dumps": Needs((*_BASE, "numpy"), {"dumps of torch files": ("torch",)}),
    "sanitize_solution": Needs((*_BASE, "torch", "safetensors", "compute_sanitizer", *_GPU)),
    "serve_report": Needs((*_BASE, "jinja2")),
    "setup_env": Needs(("python",)),
    "submit_prs": Needs(
        (*_BASE, "git", "jinja2", "numpy"),
        {
            "recorded tensors through git": ("git_lfs",),
            "--submit to the hub": ("huggingface_hub", "hub", "hub_login"),
            "--submit to GitHub": ("gh", "gh_login", "github"),
            "a model new to the coverage document": ("yaml",),
        },
    ),
    "tune_solution": Needs((*_BASE, "torch"), _LANGUAGES),
    "update_coverage": Needs(_BASE, {**_HUB, **_COOKBOOK}),
    "validate_dataset": Needs((*_BASE, "numpy"), {"--smoke": ("torch",)}),
}
