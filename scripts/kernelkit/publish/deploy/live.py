"""Call FlashInfer with a deployment switched on: is the call routed, and is the result the same?

Runs in a process of its own that starts with FLASHINFER_TRACE_APPLY=1, as a serving engine would:

    python -m kernelkit.publish.deploy.live REQUEST.json

The live call is made by the definition's FlashInfer baseline. It is made twice, routed and with
Trace Apply disabled; both are held against the definition's reference. On a CPU FlashInfer's own
kernels do not run, so there only the routed call is made, of functions (wrappers need a GPU).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.dataset.definition import Definition
from kernelkit.errors import DeadlineError, KernelkitError, MissingDependencyError
from kernelkit.publish.deploy.choosing import Choice
from kernelkit.publish.deploy.curated import ENABLE, PATH, SINCE

Inputs = dict[str, Any]
MARK = "live-check: "


def check(
    folder: Path, choices: Sequence[Choice], device: str, timeout_s: float
) -> list[dict[str, Any]]:
    """One verdict for each deployed choice: live_name, status (PASSED, FAILED, SKIPPED), hits,
    message. Raises MissingDependencyError, DeadlineError, KernelkitError where the process died."""
    chosen = [c for c in choices if c.solution is not None and c.route is not None]
    asked = [
        {"definition": c.definition.to_json(), "live": c.route.live} for c in chosen if c.route
    ]
    environment = {**os.environ, ENABLE: "1", PATH: str(folder.resolve())}
    environment["PYTHONPATH"] = places.import_path()
    with tempfile.TemporaryDirectory() as scratch:
        request = Path(scratch) / "request.json"
        request.write_text(json.dumps({"device": device, "asked": asked}), encoding="utf-8")
        command = [sys.executable, "-m", __name__, str(request)]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True,
                                  timeout=timeout_s)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                "the live check took too long",
                received=f"{timeout_s:g} s",
                next_step="a longer --timeout: FlashInfer compiles at first use",
            ) from None
    lines = [x.removeprefix(MARK) for x in done.stdout.splitlines() if x.startswith(MARK)]
    if not lines:
        raise KernelkitError("the live check's process ended early", received=done.stderr[-2000:])
    answer = json.loads(lines[-1])
    if "missing" in answer:
        raise MissingDependencyError(answer["missing"], next_step=answer["next_step"])
    return answer["verdicts"]


def main(argv: Sequence[str]) -> int:
    """The child: answers on stdout behind MARK, so that a library's own lines do no harm."""
    request = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    print(MARK + json.dumps(_answer(request)), flush=True)
    return 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        import flashinfer.trace_apply as trace_apply
    except ImportError as error:
        name = "FlashInfer with Trace Apply cannot be imported"
        return {"missing": f"{name}: {error}",
                "next_step": f"pip install 'flashinfer-python>={SINCE}'"}  # fmt: skip
    if not trace_apply.is_enabled():
        return {"verdicts": [_verdict(one, "FAILED", 0, "Trace Apply loaded no solution")
                             for one in request["asked"]]}  # fmt: skip
    if request["device"] == "cpu":
        _allow_cpu()
    first = [_routed(one, request["device"], trace_apply) for one in request["asked"]]
    trace_apply.disable_apply()
    return {"verdicts": [_compared(*pair, request["device"])
                         for pair in zip(request["asked"], first, strict=True)]}  # fmt: skip


def _allow_cpu() -> None:
    """Trace Apply asks whether a CUDA graph is captured; a CPU build of torch cannot answer."""
    import torch

    if not torch.cuda.is_available():
        torch.cuda.is_current_stream_capturing = lambda: False


def _routed(one: dict[str, Any], device: str, trace_apply: Any) -> Any:
    """The outputs of the routed call and its hits, or why there are none."""
    definition = Definition.model_validate(one["definition"])
    before = _hits(trace_apply)
    try:
        outputs = _call(definition, _inputs(definition, device))
    except Exception as error:  # noqa: BLE001 - whatever a solution raises is its verdict
        return f"{type(error).__name__}: {error}", _hits(trace_apply) - before
    return outputs, _hits(trace_apply) - before


def _hits(trace_apply: Any) -> int:
    return sum(counts.get("hit", 0) for counts in trace_apply.stats().values())


def _compared(one: dict[str, Any], routed: tuple[Any, int], device: str) -> dict[str, Any]:
    outputs, hits = routed
    definition = Definition.model_validate(one["definition"])
    if isinstance(outputs, str):
        on_cpu = device == "cpu" and not hits and "Wrapper" in str(definition.tags)
        note = "FlashInfer's wrappers need a GPU" if on_cpu else outputs
        return _verdict(one, "SKIPPED" if on_cpu else "FAILED", hits, note)
    if not hits:
        return _verdict(one, "FAILED", 0, "the call was not routed")
    inputs = _inputs(definition, device)
    fault = _fault(definition, inputs, outputs, _reference(definition, inputs))
    if fault:
        return _verdict(one, "FAILED", hits, f"against the reference: {fault}")
    if device == "cpu":
        return _verdict(one, "PASSED", hits, "as the reference; FlashInfer's kernels need a GPU")
    fault = _fault(definition, inputs, outputs, _call(definition, inputs))
    note = f"against FlashInfer: {fault}" if fault else "as the reference and as FlashInfer"
    return _verdict(one, "FAILED" if fault else "PASSED", hits, note)


def _call(definition: Definition, inputs: Inputs) -> dict[str, Any]:
    """The live call, by the baseline; loaded anew, so that it finds FlashInfer as it is now."""
    from kernelkit.bench.isolation.building import build
    from kernelkit.bench.isolation.calling import PACKAGE, name_outputs
    from kernelkit.solutions.baselines import make

    for name in [n for n in sys.modules if n.split(".")[0] == PACKAGE]:
        del sys.modules[name]
    (baseline,) = make(definition)
    with tempfile.TemporaryDirectory() as folder:
        for source in baseline.sources:
            (Path(folder) / source.path).write_text(source.content, encoding="utf-8")
        with contextlib.redirect_stdout(sys.stderr):
            run, _ = build(Path(folder), baseline.spec.to_json())
            outputs = run(*inputs.values())
        sys.path.remove(folder)
    return name_outputs(outputs, list(definition.outputs))


def _inputs(definition: Definition, device: str) -> Inputs:
    from kernelkit.ops import family

    op = family(definition.op_type)
    return op.make_inputs(definition, op.small_axes(definition), seed=7, device=device)


def _reference(definition: Definition, inputs: Inputs) -> dict[str, Any]:
    from kernelkit.bench.isolation.calling import name_outputs

    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    return name_outputs(scope["run"](*inputs.values()), list(definition.outputs))


def _fault(definition: Definition, inputs: Inputs, got: Any, want: Any) -> str:
    """How outputs differ at the family's tolerance; of samples, which token may not be drawn."""
    from kernelkit.bench.judge.compare import check_form, compare
    from kernelkit.ops import family

    if definition.op_type == "sampling":
        verdict = check_form(got, want)
        strange = _strange_tokens(definition, inputs, got["samples"])
        if strange:
            return f"tokens that the filters exclude: {strange}"
    else:
        verdict = compare(got, want, family(definition.op_type).tolerance(definition))
    return "" if verdict.status.value == "PASSED" else f"{verdict.status.value}: {verdict.message}"


def _strange_tokens(definition: Definition, inputs: Inputs, samples: Any) -> list[int]:
    """Tokens without probability in the reference's filtered distribution."""
    scope: dict[str, Any] = {}
    exec(compile(definition.reference, "reference", "exec"), scope)
    values, tokens = scope["filtered"](*inputs.values())
    chance = values.gather(1, (tokens == samples[:, None]).int().argmax(dim=1, keepdim=True))
    return samples[chance[:, 0] <= 0].tolist()


def _verdict(one: dict[str, Any], status: str, hits: int, message: str) -> dict[str, Any]:
    return {"live_name": one["live"], "definition": one["definition"]["name"], "status": status,
            "hits": hits, "message": message}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
