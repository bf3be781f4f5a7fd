"""A dataset with passes, failures, gaps and a bad file, as a report must show them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernelkit.dataset.store import Dataset
from kernelkit.dataset.trace import Trace
from kernelkit.dataset.workload import RandomInput, Workload

sys.path.insert(0, str(Path(__file__).parent))
import full_page  # noqa: E402  (a module beside this file, as the next two)
import headless  # noqa: E402
from report_samples import EVIL, GEMM, IDLE, NORM, solution, trace  # noqa: E402


@pytest.fixture
def reported(dataset: Dataset) -> Dataset:
    """Two passes and a failure of NORM, GEMM not run, IDLE with nothing, one unreadable line."""
    for definition in (NORM, GEMM, IDLE):
        dataset.write_definition(definition)
    work = trace("x", 1.0).model_copy(update={"solution": None, "evaluation": None})
    dataset.write_workloads(NORM, [work])
    gemm_inputs = {"A": RandomInput(), "B": RandomInput()}
    gemm_work = Workload(uuid="g", axes={"M": 3}, inputs=gemm_inputs)
    dataset.write_workloads(GEMM, [Trace(definition=GEMM.name, workload=gemm_work)])
    dataset.write_solution(solution("fast", NORM.name), NORM)
    dataset.write_solution(solution("one", GEMM.name), GEMM)
    dataset.append_traces(
        NORM,
        [
            trace("fast", 0.5),
            trace("fast", 1.0, rows=9),
            trace(EVIL, None, log="line\nboom & <b>bang</b>"),
        ],
    )
    with open(dataset.trace_path(NORM), "a", encoding="utf-8") as file:
        file.write('{"definition": \n')
    return dataset


@pytest.fixture
def make_trace() -> Callable[..., Trace]:
    """The function `trace`, for tests that make their own."""
    return trace


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[headless.Browser]:
    """A headless Chromium; without one the test is skipped."""
    if headless.program() is None:
        pytest.skip("no Chromium on this machine")
    opened = headless.Browser(tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it."""
    return full_page.write_page(tmp_path_factory.mktemp("page"))


@pytest.fixture
def shown(browser: headless.Browser, page: Path) -> headless.Browser:
    """The page on a wide light screen."""
    browser.screen(1280)
    browser.open(page)
    browser.value("try { localStorage.clear() } catch {}")
    browser.open(page)
    return browser
