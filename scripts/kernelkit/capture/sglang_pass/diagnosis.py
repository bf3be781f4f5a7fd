"""Why a pass or a server failed, from its log: one sentence, and what to try."""

from __future__ import annotations

import re
from dataclasses import dataclass

OUT_OF_MEMORY = "out of memory"
NO_ROOM = "no room for the KV cache"
REFUSED = "FlashInfer refused"
PORT = "port in use"
UNSUPPORTED = "model not supported"
NO_DEVICE = "no device"
MISSING = "missing package"
DISK = "disk full"
OTHER = "failed"


@dataclass(frozen=True)
class Diagnosis:
    """`kind` is one of this module's constants."""

    kind: str
    line: str
    hint: str


_PATTERNS: tuple[tuple[str, str, str], ...] = (
    (OUT_OF_MEMORY, r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory",
     "fewer layers (--layers), or wait for the GPU to be free"),
    (NO_ROOM, r"Not enough memory.*mem-fraction|mem[-_]fraction[-_]static.*too small",
     "a larger share of memory, or fewer layers (--layers)"),
    (DISK, r"No space left on device|Errno 28", "free disk space and run again with --resume"),
    (PORT, r"[Aa]ddress already in use|Errno 98|[Pp]ort \d+ is (already )?in use",
     "another port (--port), or end what listens there"),
    (REFUSED, r"(?i)flashinfer.*(not supported|is not compatible|cannot be used|unsupported)"
     r"|(?i)(only|must).*attention.backend|attention.backend.*(only|must|should be)",
     "run it with another --attention-backend; FlashInfer attention is not captured then"),
    (UNSUPPORTED, r"Model architectures? .*not supported|[Uu]nsupported architecture|"
     r"does not recognize this architecture", "another SGLang version (--sglang-path, --env)"),
    (NO_DEVICE, r"No CUDA GPUs are available|CUDA driver version is insufficient|"
     r"Torch not compiled with CUDA|No accelerator",
     "run it where a GPU is visible"),
    (MISSING, r"ModuleNotFoundError: .*|ImportError: .*", "install it in SGLang's environment"),
)  # fmt: skip
_SETTINGS = re.compile(r"^.*server_args=ServerArgs\(.*$", re.M)  # names every backend and feature
_ERROR_LINE = re.compile(r"^\s*(?:\[[^\]]*\]\s*)?([\w.]*(?:Error|Exception|Exit)\b: .*)$", re.M)


def diagnose(log: str, code: int | None = None) -> Diagnosis:
    """The first known cause in a log; else its last error line; else the exit code."""
    log = _SETTINGS.sub("", log)
    for kind, pattern, hint in _PATTERNS:
        flags = re.M
        if pattern.startswith("(?i)"):
            pattern, flags = pattern.replace("(?i)", ""), re.M | re.I
        if found := re.search(rf"^.*(?:{pattern}).*$", log, flags):
            return Diagnosis(kind, found.group(0).strip()[:300], hint)
    lines = _ERROR_LINE.findall(log)
    if lines:
        return Diagnosis(OTHER, lines[-1].strip()[:300], "see the log")
    tail = [line.strip() for line in log.splitlines() if line.strip()]
    last = tail[-1][:300] if tail else "it printed nothing"
    return Diagnosis(OTHER, f"exit code {code}: {last}", "see the log")
