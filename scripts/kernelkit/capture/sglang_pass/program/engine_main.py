"""Runs one pass inside SGLang's own Python: an engine, a few batches, a result file.

    python engine_main.py pass.json

pass.json: model_path, engine (arguments of sglang.Engine), batches (token ids and sampling), result
(file to write), settle_s. Nothing of kernelkit is imported here; the recorder, where it is wanted,
comes in through PYTHONPATH. Arguments that this SGLang does not know are left out and named.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main(path: str) -> int:
    """Run the pass; the result file says what was done, also after an error."""
    with open(path, encoding="utf-8") as file:
        order = json.load(file)
    result: dict[str, Any] = {"status": "failed", "dropped_arguments": [], "batches": []}
    try:
        run(order, result)
        result["status"] = "ok"
    except BaseException as error:
        result["error"] = f"{type(error).__name__}: {error}"
        raise
    finally:
        write(order["result"], result)
    return 0


def run(order: dict[str, Any], result: dict[str, Any]) -> None:
    """Start the engine, generate, and leave the recorder time to write."""
    import sglang
    from server_fields import accepted
    from sglang.srt.server_args import ServerArgs

    result["sglang"] = sglang.__version__
    wanted = {**order["engine"], "model_path": order["model_path"]}
    arguments, dropped = accepted(wanted, ServerArgs)
    result["dropped_arguments"] = dropped
    started = time.monotonic()
    engine = sglang.Engine(**arguments)
    result["start_s"] = round(time.monotonic() - started, 2)
    write(order["result"], {**result, "status": "running"})
    try:
        for batch in order["batches"]:
            result["batches"].append(generate(engine, batch))
            write(order["result"], {**result, "status": "running"})
        time.sleep(order.get("settle_s", 1.0))
    finally:
        engine.shutdown()


def generate(engine: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """One batch; returns how many tokens each request got."""
    started = time.monotonic()
    sampling = {**batch["sampling"], "max_new_tokens": batch["new_tokens"]}
    answers = engine.generate(input_ids=batch["input_ids"], sampling_params=sampling)
    counts = [len(answer.get("output_ids") or []) for answer in answers]
    seconds = round(time.monotonic() - started, 6)
    return {"requests": len(batch["input_ids"]), "new_tokens": counts, "seconds": seconds}


def write(path: str, document: dict[str, Any]) -> None:
    """Whole or not at all."""
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
    os.replace(temporary, path)


if __name__ == "__main__":  # SGLang's spawned workers import this file again
    raise SystemExit(main(sys.argv[1]))
