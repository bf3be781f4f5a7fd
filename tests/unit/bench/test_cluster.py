"""A real Ray cluster of several nodes on this machine, one of which is killed in the middle."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernelkit.bench.isolation.zygote import children
from kernelkit.bench.selection import Filters, plan
from kernelkit.bench.settings import Settings
from kernelkit.bench.spread import cluster, node, parcel
from kernelkit.dataset.solution import Solution
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import RandomInput, SafetensorsInput, Workload
from kernelkit.ops import rmsnorm

ROOT = Path(__file__).resolve().parents[3]
RIGHT = """
import time
import torch.nn.functional as F

def run(hidden_states, weight):
    time.sleep(0.05)  # long enough to be killed in
    x = F.rms_norm(hidden_states.float(), (hidden_states.shape[-1],), weight.float(), 1e-5)
    return x.to(hidden_states.dtype)
"""
DEFINITIONS, WORKLOADS = 2, 3
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed"
)


@pytest.fixture
def filled(dataset: Dataset) -> Dataset:
    """Small definitions, each with workloads and a solution."""
    for number in range(1, DEFINITIONS + 1):
        made = rmsnorm.FAMILY.definition(32 * number, 1e-5)
        inputs = {name: RandomInput() for name in made.inputs}
        dataset.write_definition(made)
        dataset.write_workloads(made, [
            Trace(definition=made.name,
                  workload=Workload(uuid=f"u{n}", axes={"batch_size": n}, inputs=inputs))
            for n in range(1, WORKLOADS + 1)
        ])  # fmt: skip
        dataset.write_solution(Solution.model_validate({
            "name": f"s_{made.name}", "definition": made.name, "author": "tests",
            "spec": {"language": "python", "target_hardware": ["cpu"],
                     "entry_point": "main.py::run", "destination_passing_style": False},
            "sources": [{"path": "main.py", "content": RIGHT}],
        }), made)  # fmt: skip
    return dataset


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A head without a processor and two nodes with one each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            made.add_node(num_cpus=1)
        yield made
    finally:
        made.shutdown()


def _lines(dataset: Dataset) -> list[Trace]:
    return [loaded.value for loaded in dataset.load_traces() if loaded.value is not None]


def _below(pid: int) -> list[int]:
    return [one for child in children(pid) for one in (child, *_below(child))]


def _busy_node(nodes: Any) -> list[int]:
    """The processes of a node on which a deputy runs, its raylet first."""
    for one in nodes.worker_nodes:
        raylet = one.all_processes["raylet"][0].process.pid
        found = [raylet, *_below(raylet)]
        lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found]
        if any(b"spread.deputy" in line for line in lines):
            return found
    raise AssertionError("no node is at work")


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_a_killed_node_loses_nothing(filled: Dataset, nodes: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = [
        sys.executable, str(ROOT / "scripts" / "bench.py"), "--dataset", str(filled.root),
        "--engine", "ray", "--ray-address", nodes.address, "--iterations", "2",
        "--num-trials", "1", "--warmup-runs", "1", "--json",
    ]  # fmt: skip
    log = tmp_path / "log"
    with open(log, "wb") as said:
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        while not _lines(filled) and run.poll() is None:
            time.sleep(0.05)
        for pid in _busy_node(nodes):  # at once, as when the power goes
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        out, _ = run.communicate(timeout=100)
    text = log.read_text(encoding="utf-8")
    assert run.returncode == 0, text
    assert "given back by cpu:ray" in text, "no task was lost: the test shows nothing"
    document = json.loads(out)
    assert document["errors"] == []
    told = [(t["definition"], t["workload"]["uuid"]) for t in document["traces"]]
    names = sorted(path.stem for path in filled.files("definitions", ".json"))
    asked = [(name, f"u{n}") for name in names for n in range(1, WORKLOADS + 1)]
    assert told == asked, "in the plan's order"
    written = Counter((t.definition, t.workload.uuid) for t in _lines(filled))
    assert written == Counter(asked), "each once"
    assert {t["evaluation"]["status"] for t in document["traces"]} == {"PASSED"}


def test_without_ray(filled: Dataset) -> None:
    hidden = (
        "import importlib.util, runpy, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'ray' else find(name, *a)\n"
        f"sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        f"sys.argv = ['bench.py', '--dataset', {str(filled.root)!r}, '--engine', 'ray']\n"
        f"runpy.run_path({str(ROOT / 'scripts' / 'bench.py')!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert (
        "Ray is not installed" in done.stderr
        and "pip install" in done.stderr
        and "[ray]" in done.stderr
    )
    assert done.stdout == ""


def _blob(dataset: Dataset) -> str:
    """The first definition gets a workload with a recorded input; the blob's path."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    made = dataset.find_definition("rmsnorm_h32")
    path = dataset.blob_folder(made) / "weight.safetensors"
    path.parent.mkdir(parents=True)
    save_file({"w": torch.full((32,), 0.5, dtype=torch.bfloat16)}, path)
    source = SafetensorsInput(path=dataset.relative(path), tensor_key="w")
    work = Workload(uuid="recorded", axes={"batch_size": 3},
                    inputs={"hidden_states": RandomInput(), "weight": source})  # fmt: skip
    dataset.write_workloads(made, [Trace(definition=made.name, workload=work)])
    return source.path


def _order(dataset: Dataset, root: Path, blobs: dict[str, str]) -> dict[str, Any]:
    settings = Settings(warmup=1, iterations=2, trials=1, max_seconds=1.0, timeout=60.0)
    asked = plan(dataset, Filters(definitions=["rmsnorm_h32"]))
    return {
        "root": str(root), "code": hashlib.sha256(cluster.code_zip()).hexdigest(),
        "first": {"settings": dataclasses.asdict(settings), "engine": "kernelkit"},
        "plan": parcel.pack(asked), "blobs": blobs,
    }  # fmt: skip


def test_a_node_without_pack_and_dataset_is_sent_both(
    filled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    blob = _blob(filled)
    sha = node.sha256(filled.root / blob)
    assert sha is not None
    order = _order(filled, tmp_path / "not there", {blob: sha})
    sent = {order["code"]: cluster.code_zip()}
    fetched: list[str] = []

    def fetch(wanted: str) -> bytes | None:
        fetched.append(wanted)
        return sent.get(wanted)

    at, absent = map(json.loads, node.work(order, "here", fetch))
    assert at["at"] == "here" and absent == {"absent": [sha]}
    sent[sha] = (filled.root / blob).read_bytes()
    answers = list(map(json.loads, node.work(order, "here", fetch)))
    _, trace, end = answers if len(answers) == 3 else pytest.fail(str(answers))
    assert trace["trace"]["evaluation"]["status"] == "PASSED", trace
    assert trace["trace"]["workload"]["uuid"] == "recorded"
    assert end == {"end": True}
    fetched.clear()
    assert node.dataset(order["root"], order["blobs"], node.cache(), fetch)[0] == []
    node.folder(node.cache() / f"code-{order['code']}", lambda _: pytest.fail("unpacked twice"))
    assert fetched == [], "once for a node"
    assert not list(temporary.glob("**/room-*"))


def test_a_node_that_sees_the_dataset_uses_it_where_it_is_the_same(
    filled: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    blob = _blob(filled)
    path = filled.root / blob
    sha = node.sha256(path)
    assert sha is not None
    assert node.dataset(str(filled.root), {blob: sha}, node.cache(), lambda _: None) == (
        [], filled.root,
    )  # fmt: skip
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\0")  # another version of the dataset at that path
    assert node.dataset(str(filled.root), {blob: sha}, node.cache(), lambda _: None)[0] == [sha]
    missing, root = node.dataset(str(filled.root), {blob: sha}, node.cache(), lambda _: content)
    assert missing == [] and (root / blob).read_bytes() == content


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    def fail(made: Path) -> None:
        (made / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        node.folder(tmp_path / "x", fail)
    assert list(tmp_path.iterdir()) == []
    assert node.folder(tmp_path / "x", lambda made: (made / "whole").touch()) == tmp_path / "x"
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["whole"]


def test_a_killed_task_leaves_no_folder_for_long(tmp_path: Path) -> None:
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
        "from pathlib import Path; from kernelkit.bench.spread import node\n"
        f"with node.room(Path({str(tmp_path)!r})) as made:\n"
        "    print(made, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as task:
        assert task.stdout is not None
        left = Path(task.stdout.readline().strip())
        old = time.time() - 3600
        os.utime(left, (old, old))
        with node.room(tmp_path) as own:
            assert left.is_dir() and own.is_dir(), "its task still runs"
        task.kill()
    os.utime(left, (old, old))
    with node.room(tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"kernelkit-node-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="another user"):
        node.cache()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--engine", "ray", "--device", "cuda:1"), 2, "Ray chooses the device"),
        (("--engine", "ray", "--profile"), 2, "--profile needs"),
        (("--ray-address", "127.0.0.1:1"), 2, "--ray-address is for --engine ray"),
        pytest.param(("--engine", "ray", "--ray-address", "ray://x:1"), 2, "Ray client",
                     marks=needs_ray),
        pytest.param(("--engine", "ray", "--ray-address", "127.0.0.1:1"), 3, "no Ray cluster",
                     marks=needs_ray),
    ],
)  # fmt: skip
def test_bad_options_are_one_clear_error(
    filled: Dataset, words: tuple[str, ...], code: int, message: str
) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), "--dataset", str(filled.root)]
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
