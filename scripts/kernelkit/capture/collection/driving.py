"""Requests to a server: concurrency, arrival rate, and what came back. Standard library only."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from kernelkit.capture.collection.prompts import Prompt
from kernelkit.errors import KernelkitError

POLL_S = 0.2
MAX_FAILED = 20  # requests in a row: the server is of no use then


@dataclass(frozen=True)
class Arrival:
    """At most `concurrency` requests at once; `rate` a second on average (None: at once)."""

    concurrency: int = 16
    rate: float | None = None
    seed: int = 0
    request_timeout_s: float = 600.0


class RequestsFailedError(KernelkitError):
    """The server did not answer."""


@dataclass
class Driven:
    """What came back."""

    sent: int = 0
    answered: int = 0
    new_tokens: int = 0
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)


def drive(
    url: str,
    prompts: Sequence[Prompt],
    sampling: dict[str, Any],
    arrival: Arrival,
    *,
    watch: Callable[[], None],
    done: Callable[[], None] = lambda: None,
) -> Driven:
    """Send every prompt to `url`/generate. `watch` may raise to stop; `done` is called per answer.

    Raises RequestsFailedError when MAX_FAILED requests fail in a row.
    """
    found = Driven()
    started = time.monotonic()
    draw = random.Random(arrival.seed)
    stop = threading.Event()
    pool = ThreadPoolExecutor(arrival.concurrency, thread_name_prefix="request")
    running: set[Future[int]] = set()
    failed_in_a_row = 0
    due = started
    queue = list(reversed(prompts))
    try:
        while queue or running:
            watch()
            while queue and len(running) < arrival.concurrency and time.monotonic() >= due:
                running.add(pool.submit(_ask, url, queue.pop(), sampling, arrival, stop))
                found.sent += 1
                if arrival.rate is not None:
                    due += draw.expovariate(arrival.rate)
            ended, running = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
            for one in ended:
                failed_in_a_row = _note(found, one, failed_in_a_row)
                done()
            if failed_in_a_row >= MAX_FAILED:
                raise RequestsFailedError(
                    "the server answers no request",
                    received=found.errors[-1],
                    next_step="see its log",
                )
            if not running:
                time.sleep(min(0.01, max(0.0, due - time.monotonic())))
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        found.seconds = round(time.monotonic() - started, 2)
    return found


def _note(found: Driven, one: Future[int], failed_in_a_row: int) -> int:
    error = one.exception()
    if error is not None:
        found.errors.append(f"{type(error).__name__}: {error}"[:300])
        return failed_in_a_row + 1
    found.answered += 1
    found.new_tokens += one.result()
    return 0


def _ask(
    url: str, prompt: Prompt, sampling: dict[str, Any], arrival: Arrival, stop: threading.Event
) -> int:
    """One request; returns the number of tokens it got."""
    if stop.is_set():
        return 0
    body = {
        "input_ids": prompt.ids,
        "sampling_params": {**sampling, "max_new_tokens": prompt.new_tokens},
    }
    answer = post(f"{url}/generate", body, arrival.request_timeout_s)
    ids = answer.get("output_ids")
    return len(ids) if isinstance(ids, list) else prompt.new_tokens


def post(url: str, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """POST JSON, and the JSON answered. Raises OSError, ValueError."""
    request = urllib.request.Request(
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        with _direct().open(request, timeout=timeout_s) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        said = error.read(500).decode("utf-8", "replace")
        raise OSError(f"HTTP {error.code}: {said}") from None


def status(url: str, timeout_s: float) -> int:
    """The HTTP status of a GET; 0 where nobody answers."""
    try:
        with _direct().open(url, timeout=timeout_s) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError):
        return 0


def _direct() -> urllib.request.OpenerDirector:
    """Past any proxy: the server is on this machine or named by the user."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
