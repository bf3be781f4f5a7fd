"""FlashInfer's APIs, found by reading: packages, re-exports, moves, templates."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kernelkit.errors import UsageError
from kernelkit.inventory import flashinfer_tree
from kernelkit.inventory.flashinfer_tree import FlashInferTree

FILES = {
    "__init__.py": "from .norm import rmsnorm as rmsnorm\nfrom .decode import Wrapper\n",
    "api_logging.py": "def flashinfer_api(f=None, trace=None): return f\n",
    "_build_meta.py": '__version__ = "9.8.7"\n',
    "norm/__init__.py": """
try:
    from .core import rmsnorm, plain
except ImportError:
    pass
if True:
    from ..api_logging import flashinfer_api
    @flashinfer_api(trace=gemma_trace)
    def gemma_rmsnorm(x): ...
""",
    "norm/core.py": """
@flashinfer_api(trace=rmsnorm_trace)
def rmsnorm(x): ...
@flashinfer_api
def plain(x): ...
def _helper(x): ...
""",
    "decode.py": """
class Wrapper:
    @flashinfer_api
    def plan(self): ...
    @overload
    def run(self): ...
    @flashinfer_api(trace=decode_trace)
    def run(self): ...
    forward = run
class GraphWrapper(Wrapper):
    def plan(self): ...
""",
    "star.py": "from .norm.core import *\nfrom torch import nn\n",
    "loop_a.py": "from .loop_b import thing\n",
    "loop_b.py": "from .loop_a import thing\n",
    "new_home/gdn.py": "@flashinfer_api(trace=gdn_trace)\ndef gdn_decode(x): ...\n",
    "data/copy.py": "@flashinfer_api(trace=t)\ndef only_in_data(x): ...\n",
    "broken.py": "def broken(:\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> FlashInferTree:
    for name, text in FILES.items():
        path = tmp_path / "flashinfer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = flashinfer_tree.locate(tmp_path)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("dotted", "file", "line", "template"),
    [
        ("flashinfer.norm.rmsnorm", "flashinfer/norm/core.py", 3, "rmsnorm_trace"),
        ("flashinfer.rmsnorm", "flashinfer/norm/core.py", 3, "rmsnorm_trace"),
        ("flashinfer.norm.plain", "flashinfer/norm/core.py", 5, None),
        ("flashinfer.norm.gemma_rmsnorm", "flashinfer/norm/__init__.py", 9, "gemma_trace"),
        ("flashinfer.star.rmsnorm", "flashinfer/norm/core.py", 3, "rmsnorm_trace"),
        ("flashinfer.decode.Wrapper", "flashinfer/decode.py", 2, "decode_trace"),
        ("flashinfer.decode.GraphWrapper", "flashinfer/decode.py", 10, "decode_trace"),
    ],
)
def test_an_api_is_followed_to_its_file(
    tree: FlashInferTree, dotted: str, file: str, line: int, template: str | None
) -> None:
    found = tree.find(dotted)
    assert found is not None
    assert (found.file, found.line, found.template, found.moved) == (file, line, template, False)


def test_a_moved_api_is_found_and_said_to_be_moved(tree: FlashInferTree) -> None:
    found = tree.find("flashinfer.gdn.gdn_decode")
    assert found is not None
    assert (found.file, found.moved) == ("flashinfer/new_home/gdn.py", True)


@pytest.mark.parametrize(
    "dotted",
    ["flashinfer.nothing", "flashinfer.loop_a.thing", "flashinfer.data.only_in_data", "flashinfer",
     "flashinfer.broken.broken"],
)  # fmt: skip
def test_what_is_not_there_is_none(tree: FlashInferTree, dotted: str) -> None:
    assert tree.find(dotted) is None


def test_locate_takes_the_package_itself_too(tree: FlashInferTree) -> None:
    assert flashinfer_tree.locate(tree.package) == tree
    assert tree.version == "9.8.7"


def test_locate_refuses_a_folder_without_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no FlashInfer sources"):
        flashinfer_tree.locate(tmp_path)


def test_the_decorated_apis_of_real_releases_are_found(extra: Path) -> None:
    """Against a list made by another program, for the release that is installed here."""
    import json

    if importlib.util.find_spec("flashinfer") is None:
        pytest.skip("flashinfer is not on the path")
    tree = flashinfer_tree.locate()
    listed = json.loads((extra / "data/fi_api/flashinfer_api_decorated.json").read_text("utf-8"))
    assert tree is not None
    if tree.version not in listed:
        pytest.skip(f"no list for FlashInfer {tree.version}")
    wrong = []
    for api in listed[tree.version]:
        if api["cls"] is None and not api["overload"]:
            module = api["file"].removesuffix("/__init__.py").removesuffix(".py").replace("/", ".")
            found = tree.find(f"{module}.{api['name']}")
            if found is None or found.file != api["file"] or found.template != api["trace"]:
                wrong.append((api["file"], api["name"], found))
    assert wrong == []
