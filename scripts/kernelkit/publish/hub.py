"""Pull requests to a dataset on the HuggingFace hub, through its API.

The hub has no pull requests of branches: `create_commit(create_pr=True)` makes one, and later
commits go to its ref, refs/pr/N. Recorded tensors are uploaded first, one by one: what the hub has
is not sent again, so that a second run goes on where the first was cut off.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.errors import ConflictError, KernelkitError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

DEFAULT_ENDPOINT = "https://huggingface.co"
_DATASET = re.compile(r"^/?datasets/([^/\s]+/[^/\s]+?)(?:\.git)?/?$")
_STATUS = re.compile(r"HTTP status \w+ error \((\d{3})")  # hf_xet raises errors of its own
_LOGIN = "hf auth login (or set HF_TOKEN), then run this again"


@dataclass(frozen=True)
class PullRequest:
    """A pull request on the hub."""

    number: int
    url: str


def repository_of(url: str) -> str | None:
    """ORG/NAME where the URL is that of a dataset on the hub (HF_ENDPOINT's, too), or None."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT_ENDPOINT
    for start in (endpoint, DEFAULT_ENDPOINT, "https://hf.co", "ssh://git@hf.co", "git@hf.co:"):
        if url.startswith(start) and (match := _DATASET.match(url[len(start) :])):
            return match.group(1)
    return None


class Hub:
    """The hub as the person who is logged in."""

    def __init__(self, repo_id: str) -> None:
        self.repo_id = repo_id
        self._api: HfApi = _api()
        self._user: str | None = None

    def login(self) -> str:
        """The name of the person. Raises MissingDependencyError where none is logged in."""
        if self._user is None:
            self._user = str(self._ask("whoami")["name"])
        return self._user

    def open_request(self, title: str) -> PullRequest | None:
        """The open pull request of this title, if it is the person's own.

        Raises ConflictError where somebody else has one.
        """
        user = self.login()
        found = self._ask(
            "get_repo_discussions", repo_id=self.repo_id, repo_type="dataset",
            discussion_type="pull_request", discussion_status="open",
        )  # fmt: skip
        same = [item for item in _listed(found, self._error) if item.title == title]
        mine = [item for item in same if item.author == user]
        if same and not mine:
            raise ConflictError(
                "somebody else has an open pull request of this title", received=same[0].url,
                next_step="review that one; if yours says something else, take it up there",
            )  # fmt: skip
        return PullRequest(mine[0].num, mine[0].url) if mine else None

    def publish(
        self, title: str, body: str, files: dict[str, Path], removed: Sequence[str],
        held: PullRequest | None,
    ) -> PullRequest:  # fmt: skip
        """Open a pull request with the files, or bring the one that is open up to them."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [CommitOperationAdd(path, str(file)) for path, file in files.items()]
        target: dict[str, Any] = {"create_pr": True}
        if held is not None:
            target = {"revision": f"refs/pr/{held.number}"}
        self._upload(added, target)
        gone = removed if held is None else self._still_there(removed, held)
        operations = [*added, *(CommitOperationDelete(path) for path in gone)]
        made = self._ask(
            "create_commit", repo_id=self.repo_id, repo_type="dataset", operations=operations,
            commit_message=title, commit_description=body, **target,
        )  # fmt: skip
        if held is not None:
            return held
        if made.pr_url is None:
            raise KernelkitError("the hub has these files already", received=self.repo_id)
        return PullRequest(int(made.pr_num), str(made.pr_url))

    def _upload(self, added: Sequence[CommitOperationAdd], target: dict[str, Any]) -> None:
        """Each recorded tensor by itself: one that fails leaves the others on the hub."""
        from kernelkit import cli

        tensors = [item for item in added if item.path_in_repo.startswith("blob/")]
        for item in cli.progress(tensors, what="recorded tensors", total=len(tensors)):
            self._ask("preupload_lfs_files", repo_id=self.repo_id, repo_type="dataset",
                      additions=[item], free_memory=False, **target)  # fmt: skip

    def _still_there(self, removed: Sequence[str], held: PullRequest) -> list[str]:
        """Deleting what an earlier commit of the same request deleted would be refused."""
        if not removed:
            return []
        found = self._ask("get_paths_info", repo_id=self.repo_id, repo_type="dataset",
                          paths=list(removed), revision=f"refs/pr/{held.number}")  # fmt: skip
        return [item.path for item in found]

    def _ask(self, method: str, **words: Any) -> Any:
        try:
            return getattr(self._api, method)(**words)
        except Exception as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> Exception:
        return hub_error(error, self.repo_id)


def _listed(found: Iterable[Any], explain: Any) -> list[Any]:
    """The pages of a listing are asked for while it is read."""
    try:
        return list(found)
    except Exception as error:
        raise explain(error) from None


def _api() -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise MissingDependencyError(
            "huggingface_hub is not installed", next_step="pip install huggingface-hub"
        ) from None
    return HfApi()


def hub_error(error: Exception, repo_id: str) -> Exception:
    """One sentence for what the hub answered; an error of another kind as it is."""
    from huggingface_hub import errors

    if isinstance(error.__cause__, errors.HfHubHTTPError):
        error = error.__cause__  # an upload's failure comes wrapped
    said = str(error).strip().splitlines()[-1][:300] if str(error).strip() else repr(error)
    if isinstance(error, errors.LocalTokenNotFoundError):
        return MissingDependencyError("not logged in to the hub", next_step=_LOGIN)
    if isinstance(error, errors.HfHubHTTPError):
        response = getattr(error, "response", None)
        return _answered(getattr(response, "status_code", 0), said, repo_id)
    if match := _STATUS.search(str(error)):
        return _answered(int(match.group(1)), said, repo_id)
    is_network = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests")
    if is_network or isinstance(error, (OSError, errors.OfflineModeIsEnabled)):
        return MissingDependencyError(
            "the hub cannot be reached", received=said,
            next_step="check the network, then run this again: what was uploaded stays there",
        )  # fmt: skip
    if isinstance(error, (ValueError, RuntimeError)):
        cause = f": {error.__cause__!r}"[:300] if error.__cause__ else ""
        return KernelkitError("the hub's client refused", received=said + cause)
    return error


def _answered(status: int, said: str, repo_id: str) -> KernelkitError:
    """By the HTTP status."""
    if status == 401:
        return MissingDependencyError("the hub does not accept the login", received=said,
                                      next_step=_LOGIN)  # fmt: skip
    if status == 403:
        return KernelkitError(
            f"the hub refuses to take this for {repo_id}", received=said,
            next_step="the token needs write access (hf auth login with another token)",
        )  # fmt: skip
    if status == 404:
        return UsageError(
            f"no dataset {repo_id} on the hub, or none that this login may see", received=said,
            next_step="name it with --hub-repo ORG/NAME",
        )  # fmt: skip
    if status in (409, 412):
        return ConflictError("the hub's copy has moved on", received=said,
                             next_step="run this again")  # fmt: skip
    next_step = "run this again a little later: what was uploaded stays there"
    return KernelkitError(f"the hub answered {status}", received=said, next_step=next_step)
