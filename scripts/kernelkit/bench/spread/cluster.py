"""The same work over a Ray cluster: a part is a task with a GPU; this process alone writes traces.

A task that is lost with its node, or fails, is given to another node: see `Shares`. Recorded
tensors are sent only to nodes that do not see the dataset at the same path with the same contents.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import random
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kernelkit import places
from kernelkit.bench.evaluation import Results, written
from kernelkit.bench.selection import Plan
from kernelkit.bench.settings import Settings
from kernelkit.bench.spread import node
from kernelkit.bench.spread.crew import Crew, spread
from kernelkit.bench.spread.local import told
from kernelkit.bench.spread.parcel import pack
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import SafetensorsInput
from kernelkit.errors import KernelkitError, MissingDependencyError, UsageError

RAY = "pip install 'kernelkit[ray]', or pip install 'ray>=2.40,<3'"
REACH_SECONDS = 20.0
_joined = contextlib.ExitStack()
LEFT_OUT = {"__pycache__", "commands", "skills", "documents"}  # of the package: no code of ours


def connect(address: str | None, asked: str | None) -> list[str]:
    """Join a cluster; a name for each task that it can run at once: cuda:ray0, ... or cpu:ray0.

    `asked`: cpu, cuda or all; None: its GPUs if it has any. Raises UsageError, and
    MissingDependencyError without Ray, a cluster at the address, or a GPU in it.
    """
    if asked not in (None, "cpu", "cuda", "all"):
        raise UsageError("Ray chooses the device itself", received=asked, allowed="cpu, cuda, all")
    if importlib.util.find_spec("ray") is None:
        raise MissingDependencyError("Ray is not installed", next_step=RAY)
    resources = _join(address)
    kind = "cpu" if asked == "cpu" or asked is None and not resources.get("GPU") else "cuda"
    count = int(resources.get("GPU" if kind == "cuda" else "CPU", 0))
    if not count:
        raise MissingDependencyError(
            "the cluster has no such device", received=kind, allowed=", ".join(sorted(resources))
        )
    return [f"{kind}:ray{number}" for number in range(count)]


def _join(address: str | None) -> dict[str, float]:
    """The cluster's resources. Until `leave`, what Ray prints goes to standard error."""
    import ray

    if (address or "").startswith("ray://"):
        raise UsageError("results cannot be streamed to a Ray client", received=address,
                         next_step="run on a node of the cluster, with HOST:6379")  # fmt: skip
    _joined.enter_context(contextlib.redirect_stdout(sys.stderr))
    _joined.callback(ray.shutdown)
    try:
        _reach(address or os.environ.get("RAY_ADDRESS", ""))
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        return ray.cluster_resources()
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        leave()
        raise MissingDependencyError(
            "no Ray cluster can be joined", received=f"{address or 'the local one'}: {error}",
            next_step="ray start --head, another --ray-address, RAY_AUTH_MODE=token if it has one",
        ) from None  # fmt: skip


def _reach(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), REACH_SECONDS).close()


def leave() -> None:
    """Leave the cluster."""
    _joined.close()


def run(
    dataset: Dataset, plan: Plan, settings: Settings, devices: list[str], target: Dataset
) -> Results:
    """Run every pair of the plan on the cluster that was joined; see `fleet.run`."""
    try:
        shared = Cluster(dataset, settings, devices[0].partition(":")[0])
        crew = Crew(devices, lambda _: Seat(shared), alike=True)
        yield from written(spread(plan, crew), plan, target)
    finally:
        leave()


class Cluster:
    """What all tasks of a run share: code, blobs that were sent, and where it went wrong."""

    def __init__(self, dataset: Dataset, settings: Settings, kind: str) -> None:
        import ray

        device = "cuda:0" if kind == "cuda" else "cpu"  # the one that Ray shows to a task
        self.root = dataset.root.resolve()
        self.first = {
            "settings": dataclasses.asdict(dataclasses.replace(settings, device=device)),
            "engine": "kernelkit",
        }
        self.resource = "GPU" if kind == "cuda" else "CPU"
        code = code_zip()
        self.code = hashlib.sha256(code).hexdigest()
        self.sent = {self.code: ray.put(code)}
        self.hashes: dict[str, str | None] = {}
        self.failed: dict[str, set[str]] = {}  # nodes by definition
        self.lock = threading.Lock()
        ray.cloudpickle.register_pickle_by_value(node)
        needs = {"num_gpus": 1} if kind == "cuda" else {"num_cpus": 1}
        self.task = ray.remote(max_retries=0, num_returns="streaming", **needs)(node.task)

    def order(self, plan: Plan) -> dict[str, Any]:
        """What a node is asked to do."""
        return {"root": str(self.root), "code": self.code, "first": self.first,
                "plan": pack(plan), "blobs": self._blobs(plan)}  # fmt: skip

    def _blobs(self, plan: Plan) -> dict[str, str]:
        """The recorded tensors that the plan reads. What is absent or outside is told there."""
        sources = [s for task in plan.tasks for s in task.workload.inputs.values()]
        found: dict[str, str] = {}
        for name in {s.path for s in sources if isinstance(s, SafetensorsInput)}:
            path = (self.root / name).resolve()
            if name not in self.hashes:
                self.hashes[name] = node.sha256(path) if path.is_relative_to(self.root) else None
            if (sha := self.hashes[name]) is not None:
                found[name] = sha
        return found

    def send(self, blobs: dict[str, str]) -> None:
        """Put blobs into the object store, each content once."""
        import ray

        with self.lock:
            for name, sha in blobs.items():
                if sha not in self.sent:
                    self.sent[sha] = ray.put((self.root / name).read_bytes())

    def start(self, order: dict[str, Any], names: list[str]) -> Any:
        """Start a task on any node, but where one of its definitions has failed before."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        avoided = set().union(*(self.failed.get(name, set()) for name in names))
        others = [
            one["NodeID"] for one in ray.nodes() if avoided
            and one["Alive"] and one["Resources"].get(self.resource)
            and one["NodeID"] not in avoided
        ]  # fmt: skip
        task = self.task
        if others:
            place = NodeAffinitySchedulingStrategy(random.choice(others), soft=True)
            task = task.options(scheduling_strategy=place)
        wanted = {self.code, *order["blobs"].values()}
        return task.remote(order, {sha: [self.sent[sha]] for sha in wanted if sha in self.sent})


class Seat:
    """A place for one task at a time: a worker of a crew."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.running: Any = None

    def run(self, plan: Plan) -> Iterator[Trace | str | None]:
        """Run a plan on a node. Raises KernelkitError where the node is lost."""
        order = self.cluster.order(plan)
        names = list(dict.fromkeys(task.definition.name for task in plan.tasks))
        again = True
        while again:
            again = False
            for answer in self._answers(order, names):
                if "absent" in answer:
                    self.cluster.send(order["blobs"])
                    again = True
                elif "at" in answer:
                    yield None
                else:
                    yield told(answer)

    def stop(self) -> None:
        """End the task that runs, if any."""
        import ray

        if self.running is not None:
            with contextlib.suppress(Exception):  # whatever a cluster that is gone raises
                ray.cancel(self.running, force=True)

    def _answers(self, order: dict[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
        import ray

        place, host, ended = "", "a node", False
        self.running = self.cluster.start(order, names)
        try:
            for reference in self.running:
                answer = json.loads(ray.get(reference))
                if "at" in answer:
                    place, host = answer["at"], answer["host"]
                if "text" in answer:
                    self._failed(place, [answer["text"].partition(":")[0]])
                if "end" in answer:
                    ended = True  # all is told; its processes end now, before the task does
                    continue
                if "raised" in answer:
                    self._failed(place, names)
                    raise KernelkitError(f"{answer['raised']} (on {host})")
                yield answer
        except ray.exceptions.RayError as error:
            if ended:
                return
            self._failed(place, names)
            said = str(error).strip().splitlines()
            why = said[-1][:300] if said else ""
            raise KernelkitError(f"{type(error).__name__}: {why} (on {host})") from None
        finally:
            self.running = None

    def _failed(self, place: str, names: list[str]) -> None:
        for name in names:
            self.cluster.failed.setdefault(name, set()).add(place)


def code_zip() -> bytes:
    """The package as a zip file; the same code gives the same bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(places.PACKAGE.rglob("*")):
            inside = path.relative_to(places.PACKAGE)
            if path.is_file() and not LEFT_OUT.intersection(inside.parts):
                name = Path("kernelkit") / inside
                entry = zipfile.ZipInfo(name.as_posix())  # of no date
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()
