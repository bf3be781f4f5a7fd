"""The process that runs the solution: calls in the order of job.json, one line of results each.

The folder holds job.json, code/, and {case}.safetensors; results.jsonl and out_{call}.safetensors
are written. Each line is flushed, so that after a crash the last one tells how far it came.
"""

from __future__ import annotations

import inspect
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

FRAMES = 6
MOST_COPIED = 2 << 30  # bytes of inputs that are kept to see whether the solution changed them


def main() -> None:
    """Run the job in the folder that the command line names."""
    import torch

    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    with open(folder / "results.jsonl", "a", encoding="utf-8") as log, torch.no_grad():
        Runner(folder, job, log).run()


class Runner:
    """One solution, its calls, and the inputs on its device."""

    def __init__(self, folder: Path, job: dict[str, Any], log: Any) -> None:
        self.folder, self.job, self.log = folder, job, log
        self.device = job["device"]
        self.buffers: dict[str, dict[str, Any]] = {}

    def run(self) -> None:
        """Load, then every call; a call that raises does not stop the next."""
        functions = self._load()
        if functions is None:
            return
        for call in self.job["calls"]:
            if call.get("setup") and functions[1] is None:
                continue
            self._say(call=call["name"], started=True)
            try:
                answer = self._call(functions, call)
            except Exception as error:  # whatever the solution raises
                answer = {"error": _describe(error, self.folder), "kind": type(error).__name__}
            self._say(call=call["name"], **answer)

    def _load(self) -> tuple[Callable[..., Any], Callable[..., Any] | None] | None:
        from kernelkit.bench.isolation.building import build

        try:
            run, setup = build(self.folder / "code", self.job["spec"])
        except Exception as error:  # whatever the sources raise
            text = _describe(error, self.folder)
            self._say(call="load", error=text, kind=type(error).__name__)
            return None
        names = _parameters(run)
        self._say(
            call="load", parameters=names, setup=None if setup is None else _parameters(setup)
        )
        return run, setup

    def _call(self, functions: tuple[Any, Any], call: dict[str, Any]) -> dict[str, Any]:
        run, setup = functions
        inputs = self._inputs(call)
        arguments = [inputs[name] for name in call.get("order") or self.job["inputs"]]
        passed = self._outputs(call)
        before = _copies(inputs)
        if call.get("setup"):
            setup(*(inputs[name] for name in _parameters(setup) or []))
        with _filled_memory(bool(call.get("uninitialised"))):
            returned = run(*arguments, *passed)
            self._settle()
        found, count = passed if self.job["passing"] else returned, 1
        if "draws" in call:
            found, count = self._draws(run, [*arguments, *passed], call)
        changed = sorted(n for n, kept in before.items() if not _same(kept, inputs[n]))
        return self._keep(call["name"], found, returned) | {"changed": changed, "draws": count}

    def _draws(
        self, run: Any, arguments: list[Any], call: dict[str, Any]
    ) -> tuple[torch.Tensor, int]:
        """The output of as many calls as the limit of time allows, stacked."""
        import torch

        taken, end = [], time.monotonic() + call["seconds"]
        while len(taken) < call["draws"] and (not taken or time.monotonic() < end):
            returned = run(*arguments)
            drawn = arguments[-1] if self.job["passing"] else returned
            drawn = next(iter(drawn.values())) if isinstance(drawn, dict) else drawn
            taken.append((drawn[0] if isinstance(drawn, (tuple, list)) else drawn).clone())
        return torch.stack(taken), len(taken)

    def _settle(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()

    def _inputs(self, call: dict[str, Any]) -> dict[str, Any]:
        """The case's inputs: fresh, or copied into the buffers of an earlier call."""
        from safetensors.torch import load_file

        tensors = load_file(self.folder / f"{call['case']}.safetensors")
        values = {n: t.to(self.device) for n, t in tensors.items()}
        values |= self.job["cases"][call["case"]]["scalars"]
        known = self.buffers.get(call.get("into", ""))
        if known is None:
            self.buffers = {call["name"]: values}  # of the last call only: memory is short
            return values
        for name, value in values.items():
            if hasattr(known[name], "copy_"):
                known[name].copy_(value)
        return {n: known[n] if hasattr(known[n], "copy_") else v for n, v in values.items()}

    def _outputs(self, call: dict[str, Any]) -> list[torch.Tensor]:
        """What a destination-passing solution writes into."""
        import torch

        if not self.job["passing"]:
            return []
        made = []
        for shape, dtype in self.job["cases"][call["case"]]["outputs"]:
            tensor = torch.zeros(shape, dtype=getattr(torch, dtype), device=self.device)
            if call.get("fill") == "poison":
                _poison(tensor)
            made.append(tensor)
        return made

    def _keep(self, name: str, found: Any, returned: Any) -> dict[str, Any]:
        """Write the tensors to a file; what they are as JSON."""
        from safetensors.torch import save_file

        names = list(found) if isinstance(found, dict) else None
        values = list(found.values()) if isinstance(found, dict) else found
        values = list(values) if isinstance(values, (tuple, list)) else [values]
        info = [_describe_value(value) for value in values]
        tensors = {str(i): v for i, v in enumerate(values) if hasattr(v, "is_floating_point")}
        plain = {i: t.detach().cpu().contiguous().clone() for i, t in tensors.items()}
        save_file(plain, self.folder / f"out_{name}.safetensors")
        return {"outputs": info, "names": names, "returned": type(returned).__name__}

    def _say(self, **line: Any) -> None:
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()


def _describe_value(value: Any) -> dict[str, Any]:
    if not hasattr(value, "is_floating_point"):
        return {"type": type(value).__name__}
    return {
        "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch."),
        "contiguous": value.is_contiguous(), "device": value.device.type,
    }  # fmt: skip


def _parameters(function: Any) -> list[str] | None:
    """The names of a function's positional parameters; None where it does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _copies(inputs: dict[str, Any]) -> dict[str, Any]:
    tensors = {n: v for n, v in inputs.items() if hasattr(v, "is_floating_point")}
    if sum(t.nbytes for t in tensors.values()) > MOST_COPIED:
        return {}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _same(kept: Any, now: Any) -> bool:
    from kernelkit.bench.judge.reference import same_bytes

    return same_bytes(kept, now)


def _poison(tensor: torch.Tensor) -> None:
    import torch

    if tensor.dtype.is_floating_point and tensor.element_size() > 1:
        tensor.fill_(float("nan"))
    else:
        tensor.view(torch.uint8).fill_(0x7F)


@contextmanager
def _filled_memory(wanted: bool) -> Iterator[None]:
    """Within, torch.empty gives NaN (integers: their largest value) instead of what lies there."""
    import torch

    if not wanted:
        yield
        return
    _set_deterministic(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    try:
        yield
    finally:
        _set_deterministic(False)


def _set_deterministic(wanted: bool) -> None:
    """Only with this does torch fill memory. Its public switch imports the compiler: seconds."""
    import torch

    quick = getattr(torch._C, "_set_deterministic_algorithms", None)
    if quick is not None:
        quick(wanted, warn_only=True)
    else:
        torch.use_deterministic_algorithms(wanted, warn_only=True)


def _describe(error: BaseException, folder: Path) -> str:
    """The error with the frames of the solution's own files."""
    whole = traceback.TracebackException.from_exception(error)
    code = f"{folder / 'code'}/"
    frames = [frame for frame in whole.stack if frame.filename.startswith(code)][-FRAMES:]
    lines = [
        f"{frame.filename.removeprefix(code)}:{frame.lineno}: {(frame.line or '').strip()}"
        for frame in frames
    ]
    return "\n".join([*lines, "".join(whole.format_exception_only()).strip()])[-2000:]
