"""Pull requests and issues on GitHub, through the `gh` program."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from kernelkit.errors import KernelkitError, MissingDependencyError
from kernelkit.machine import facts, programs

_URL = re.compile(
    r"^(?:https://(?:[^/@]*@)?github\.com/|git@github\.com:|ssh://git@github\.com/)"
    r"([\w.-]+)/([\w.-]+?)(?:\.git)?/?$"
)
_SECONDS = 120.0
_QUIET = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1"}
_INSTALL = "apt install gh (or brew install gh), then gh auth login"


def repository_of(url: str) -> str | None:
    """OWNER/NAME of a GitHub URL, or None for another host's."""
    match = _URL.match(url)
    return f"{match.group(1)}/{match.group(2)}" if match else None


@dataclass(frozen=True)
class GitHub:
    """`repository` gets the pull requests, `pushed_to` the branches: a fork, or the same."""

    repository: str
    pushed_to: str

    def require_login(self) -> None:
        """Raises MissingDependencyError without gh, or where nobody is logged in."""
        fact = programs.gh_login()
        if not fact.usable:
            raise MissingDependencyError(
                "no pull request can be opened on GitHub", received=fact.detail,
                next_step=_INSTALL if "installed" in fact.detail else "gh auth login",
            )  # fmt: skip

    def open_request(self, branch: str) -> str | None:
        """The URL of the branch's open pull request, or None."""
        said = self._gh("pr", "list", "--repo", self.repository, "--head", branch,
                        "--state", "open", "--json", "url,headRepositoryOwner")  # fmt: skip
        owner = self.pushed_to.split("/")[0]
        for row in json.loads(said or "[]"):
            if (row.get("headRepositoryOwner") or {}).get("login", owner) == owner:
                return str(row["url"])
        return None

    def create(self, branch: str, base: str, title: str, body: Path) -> str:
        """Open a pull request; its URL."""
        owner = self.pushed_to.split("/")[0]
        head = branch if self.pushed_to == self.repository else f"{owner}:{branch}"
        said = self._gh(*create_words(self.repository, head, base, title, body)[1:])
        return said.strip().splitlines()[-1]

    def issue_titled(self, title: str) -> str | None:
        """The URL of the issue with just this title, open or closed, or None."""
        said = self._gh("issue", "list", "--repo", self.repository, "--state", "all",
                        "--search", f'"{title}" in:title', "--json", "url,title")  # fmt: skip
        return next((str(r["url"]) for r in json.loads(said or "[]") if r["title"] == title), None)

    def create_issue(self, title: str, body: Path) -> str:
        """Open an issue; its URL."""
        said = self._gh(*issue_words(self.repository, title, body)[1:])
        return said.strip().splitlines()[-1]

    def retell(self, url: str, title: str, body: Path) -> None:
        """Bring the text of an open pull request up to date."""
        self._gh("pr", "edit", url, "--title", title, "--body-file", str(body))

    def _gh(self, *words: str) -> str:
        program = programs.find(("gh",))
        if program is None:
            raise MissingDependencyError("gh is not installed", next_step=_INSTALL)
        answer = facts.run([program, *words], _SECONDS, _QUIET)
        if answer.code == 0:
            return answer.out
        why = answer.last if answer.code is not None else f"no answer in {_SECONDS:g} s"
        what = " ".join(words[:2])
        raise KernelkitError(
            f"gh {what} failed", received=why,
            next_step="what was prepared stays ready: run this again, or open it by hand",
        )  # fmt: skip


def create_words(repository: str, head: str, base: str, title: str, body: Path) -> list[str]:
    """The command that opens a pull request."""
    return [
        "gh", "pr", "create", "--repo", repository, "--head", head, "--base", base,
        "--title", title, "--body-file", str(body),
    ]  # fmt: skip


def issue_words(repository: str, title: str, body: Path) -> list[str]:
    """The command that opens an issue."""
    return ["gh", "issue", "create", "--repo", repository, "--title", title,
            "--body-file", str(body)]  # fmt: skip
