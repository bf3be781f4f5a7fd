"""A small model, a dataset with a hosted repository, and small sources of FlashInfer and SGLang."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.inventory import manifest as manifests
from kernelkit.inventory.manifest import Manifest

ROOT = Path(__file__).resolve().parents[3]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256,
    "intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "vocab_size": 1000, "max_position_embeddings": 4096, "torch_dtype": "bfloat16",
}  # fmt: skip
# rmsnorm with a template, sampling without, attention absent; SGLang calls the norm only.
FLASHINFER = {
    "__init__.py": "__version__ = '0.6.12'\n",
    "api_logging.py": "def flashinfer_api(*words, **named):\n    return lambda call: call\n",
    "norm.py": "from .api_logging import flashinfer_api\n\n\n"
    "@flashinfer_api(trace=rmsnorm_trace)\ndef rmsnorm(input, weight, eps=1e-6):\n    ...\n\n\n"
    "@flashinfer_api(trace=fused_trace)\ndef fused_add_rmsnorm(input, residual, w):\n    ...\n",
    "sampling.py": "from .api_logging import flashinfer_api\n\n\n"
    "@flashinfer_api\ndef top_k_sampling_from_probs(probs, top_k, seed: int | None = None):\n"
    "    ...\n",
}
SGLANG = {
    "srt/models/other.py": "class OtherForCausalLM:\n    pass\n\n\nEntryClass = OtherForCausalLM\n",
    "srt/layers/layernorm.py": "from flashinfer.norm import rmsnorm, fused_add_rmsnorm\n\n\n"
    "def forward(x, w):\n    return rmsnorm(fused_add_rmsnorm(x, x, w), w)\n",
    "srt/server_args.py": "",
}


def git(*words: object, at: Path) -> str:
    """The output of a git command."""
    done = subprocess.run(["git", *map(str, words)], cwd=at, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@dataclass
class Place:
    """The folders of one onboarding."""

    root: Path
    printed: str = ""
    said: str = ""
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> Path:
        return self.root / "dataset"

    @property
    def manifest(self) -> Path:
        return self.root / "run.json"

    @property
    def output(self) -> Path:
        return self.root / "tmp" / "onboard" / "toy"

    def held(self) -> Manifest:
        return manifests.load(self.manifest)

    def words(self, *more: str) -> list[str]:
        """The command line."""
        return [
            "--config", str(self.root / "config.json"), "--model-name", "toy",
            "--page-sizes", "1", "--dataset", str(self.dataset),
            "--manifest", str(self.manifest), "--target-dir", str(self.root / "tmp"),
            "--sglang-path", str(self.root / "sources"),
            "--flashinfer-path", str(self.root / "sources"),
            "--cookbook", str(self.root / "cookbook"), "--no-run-tests",
            "--op-types", "rmsnorm,sampling", *more,
        ]  # fmt: skip
