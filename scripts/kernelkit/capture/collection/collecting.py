"""The record phase: every pass with its traffic, under the disk's budget."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kernelkit.capture.collection import driving, prompts
from kernelkit.capture.collection.budget import DiskBudget
from kernelkit.capture.collection.choosing import ENGINE, SERVER, Serving
from kernelkit.capture.collection.driving import Arrival, Driven, RequestsFailedError
from kernelkit.capture.collection.prompts import Lengths, Prompt
from kernelkit.capture.collection.server import PROGRAM as SERVER_PROGRAM
from kernelkit.capture.collection.server import (
    Launch,
    Server,
    ServerDiedError,
    given_launch,
    own_launch,
)
from kernelkit.capture.host import Host
from kernelkit.capture.sglang_pass import memory, running
from kernelkit.capture.sglang_pass.planning import PassPlan
from kernelkit.capture.sglang_pass.running import Capture, PassResult
from kernelkit.capture.sglang_pass.traffic import SAMPLING, Batch
from kernelkit.errors import DeadlineError, UsageError

MIN_POOL_TOKENS = 2048
MAX_POOL_TOKENS = 1 << 20
SETTLE_S = 1.5


@dataclass(frozen=True)
class Traffic:
    """What is asked of the servers."""

    dataset: str = prompts.RANDOM
    num_prompts: int = 100
    lengths: Lengths = Lengths()
    batch_sizes: Sequence[int] = (1, 8, 32)
    num_batches: int = 2
    decode_tokens: int = 16  # of each engine batch: one decode step each
    arrival: Arrival = Arrival()
    seed: int = 0
    restart_per_batch_size: bool = False


@dataclass(frozen=True)
class Manner:
    """How it is run."""

    timeout_s: float = 3600.0
    server_timeout_s: float = 1800.0
    port: int | None = None
    launch_command: str | None = None
    resume: bool = False


@dataclass
class Collected:
    """What became of each pass: results of engines, and of servers."""

    engines: list[PassResult] = field(default_factory=list)
    servers: dict[str, Driven] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def collect(
    servings: Sequence[Serving],
    capture: Capture,
    host: Host,
    about: Mapping[str, Any],
    traffic: Traffic,
    manner: Manner,
    budget: DiskBudget,
    say: Callable[[str], None],
) -> Collected:
    """Run all traffic. A pass that fails is noted and the next one runs; a disk limit raises."""
    found = Collected()
    for serving in servings:
        if ENGINE in serving.traffic and manner.launch_command is None:
            for plan in engine_plans(serving.plan, traffic):
                _engine(plan, capture, host, about, manner, budget, found, say)
        if SERVER in serving.traffic or manner.launch_command is not None:
            _server(serving.plan, capture, host, about, traffic, manner, budget, found, say)
    return found


def planned(
    launch_command: str | None,
    servings: Sequence[Serving],
    traffic: Traffic,
    work: Path,
    host: Host,
) -> list[tuple[PassPlan, list[str]]]:
    """Every engine and server that `collect` would start, with its command."""
    found: list[tuple[PassPlan, list[str]]] = []
    for serving in servings:
        engines = list(engine_plans(serving.plan, traffic)) if launch_command is None else []
        for plan in engines if ENGINE in serving.traffic else []:
            order = work / "passes" / plan.name / "pass.json"
            found.append((plan, [*host.python, str(running.PROGRAM), str(order)]))
        if SERVER in serving.traffic or launch_command is not None:
            asked = prompts.load(traffic.dataset, traffic.num_prompts, traffic.lengths,
                                 serving.plan.vocab_size, traffic.seed)  # fmt: skip
            plan = server_plan(serving.plan, asked, traffic)
            order = work / "passes" / plan.name / "server.json"
            command = [*host.python, str(SERVER_PROGRAM), str(order)]
            if launch_command is not None:
                command = list(given_launch(launch_command).command)
            found.append((plan, command))
    return found


def engine_plans(plan: PassPlan, traffic: Traffic) -> Iterator[PassPlan]:
    """One engine with all exact decode batches; with `restart_per_batch_size` one for each size."""
    groups = [[n] for n in traffic.batch_sizes]
    if not traffic.restart_per_batch_size:
        groups = [list(traffic.batch_sizes)]
    for sizes in groups:
        batches = [
            Batch(_lengths(size, traffic, seed), traffic.decode_tokens + 1, dict(SAMPLING))
            for size in sizes
            for seed in range(traffic.num_batches)
        ]
        suffix = f"engine-b{'_'.join(map(str, sizes))}"
        need = max(sum(b.prompt_lens) + len(b.prompt_lens) * (b.new_tokens + 8) for b in batches)
        engine = memory.serving(plan, tokens=_pool(need), requests=max(sizes))
        yield replace(plan, name=f"{plan.name}-{suffix}", engine=engine, batches=batches)


def _lengths(size: int, traffic: Traffic, seed: int) -> list[int]:
    """Prompt lengths of one exact batch, from the dataset."""
    asked = prompts.load(traffic.dataset, size, traffic.lengths, 1000, traffic.seed + seed)
    found = [len(prompt.ids) for prompt in asked]
    return [found[i % len(found)] for i in range(size)]


def _pool(tokens: int) -> int:
    """Slots of the KV pool: enough, and at most a million."""
    return min(max(MIN_POOL_TOKENS, tokens + tokens // 8), MAX_POOL_TOKENS)


def _engine(
    plan: PassPlan, capture: Capture, host: Host, about: Mapping[str, Any], manner: Manner,
    budget: DiskBudget, found: Collected, say: Callable[[str], None],
) -> None:  # fmt: skip
    if manner.resume and (done := running.finished(plan, capture)) is not None:
        say(f"{plan.name}: done before")
        found.engines.append(done)
        return
    say(f"{plan.name}: {len(plan.batches)} batches")
    result = running.run_pass(
        plan, capture, host, about, timeout_s=manner.timeout_s, say=say, watch=budget.check,
        weights=about.get("model_path"),
    )  # fmt: skip
    found.engines.append(result)
    if not result.ok:
        found.failures[plan.name] = f"{result.status}: {result.detail} (try: {result.hint})"
    say(f"{plan.name}: {result.status} in {result.seconds:g} s; {budget.summary()}")


def server_plan(plan: PassPlan, asked: Sequence[Prompt], traffic: Traffic) -> PassPlan:
    """The pass as a server for these prompts: prefixes are cached and shared."""
    longest = max(len(prompt.ids) + prompt.new_tokens for prompt in asked)
    need = longest * min(traffic.arrival.concurrency, len(asked))
    engine = memory.serving(plan, tokens=_pool(need), requests=traffic.arrival.concurrency,
                            changes={"disable_radix_cache": False})  # fmt: skip
    return replace(plan, name=f"{plan.name}-server", engine=engine)


def _server(
    base: PassPlan, capture: Capture, host: Host, about: Mapping[str, Any], traffic: Traffic,
    manner: Manner, budget: DiskBudget, found: Collected, say: Callable[[str], None],
) -> None:  # fmt: skip
    asked = prompts.load(
        traffic.dataset, traffic.num_prompts, traffic.lengths, base.vocab_size, traffic.seed
    )
    plan = server_plan(base, asked, traffic)
    folder = capture.work / "passes" / plan.name
    mark = folder / "done.json"
    if manner.resume and mark.is_file():
        say(f"{plan.name}: done before")
        found.servers[plan.name] = Driven(**running.read_json(mark))
        return
    order = running.write_order(replace(plan, batches=[]), folder, about.get("model_path"))
    env = {**host.env, **running.environment(plan, capture, about, {**os.environ, **host.env})}
    if manner.launch_command is not None:
        launch = given_launch(manner.launch_command)
    else:
        path = running.read_json(order)["model_path"]
        launch = own_launch(host, plan.engine, path, folder, manner.port)
    say(f"{plan.name}: {len(asked)} requests to {launch.url}")
    try:
        driven = _drive(launch, folder, env, asked, traffic, manner, budget, say)
    except (ServerDiedError, DeadlineError, UsageError, RequestsFailedError) as error:
        found.failures[plan.name] = str(error)
        say(f"{plan.name}: {error}")
        return
    found.servers[plan.name] = driven
    running.write_json(mark, asdict(driven))
    say(f"{plan.name}: {driven.answered} of {driven.sent} answered in {driven.seconds:g} s; "
        f"{budget.summary()}")  # fmt: skip


def _drive(
    launch: Launch, folder: Path, env: Mapping[str, str], asked: Sequence[Prompt], traffic: Traffic,
    manner: Manner, budget: DiskBudget, say: Callable[[str], None],
) -> Driven:  # fmt: skip
    from tqdm import tqdm

    with Server(launch, log=folder / "server.log", env=env, cwd=folder) as server:
        seconds = server.wait_ready(manner.server_timeout_s, budget.check)
        say(f"ready after {seconds:.0f} s")

        def watch() -> None:
            server.require_alive()
            budget.check()

        with tqdm(total=len(asked), desc="requests", disable=None, leave=False) as bar:
            driven = driving.drive(
                launch.url, asked, SAMPLING, traffic.arrival, watch=watch, done=bar.update
            )
        if driven.errors:
            server.require_answer()
            raise RequestsFailedError(
                f"{len(driven.errors)} of {driven.sent} requests failed",
                received=driven.errors[-1],
                next_step=f"what was recorded is kept; log: {server.group.log}",
            )
        time.sleep(SETTLE_S)  # the recorder writes its last half second
        return driven
