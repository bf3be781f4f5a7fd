"""A stub of the hub's HTTP API on the loopback, as far as a pull request to a dataset needs it.

It judges what the client sends: tokens, sizes, hashes, that a commit names only objects that were
uploaded. Routes are those of huggingface_hub's client.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Request:
    """A pull request: its ref's files, and each commit's header."""

    number: int
    title: str
    description: str
    author: str
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)
    status: str = "open"


@dataclass
class HubStub:
    """The state of the hub, and how it shall misbehave."""

    repo_id: str
    endpoint: str = ""
    token: str = "hf_stub"
    user: str = "tester"
    main: dict[str, bytes] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    log: list[tuple[str, str]] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    fail_uploads_after: int | None = None  # so many uploads, then 403 for each
    commit_status: int = 200
    faults: list[str] = field(default_factory=list)  # what a real hub would have refused

    def files_of(self, revision: str) -> dict[str, bytes]:
        """The files at a revision."""
        if revision.startswith("refs/pr/"):
            return self.requests[int(revision.rsplit("/", 1)[1]) - 1].files
        return self.main


@contextlib.contextmanager
def serving(repo_id: str) -> Iterator[HubStub]:
    """The stub behind a real socket."""
    stub = HubStub(repo_id)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    stub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(stub: HubStub) -> type[BaseHTTPRequestHandler]:
    api = f"/api/datasets/{stub.repo_id}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self._path()
            if not self._allowed():
                return
            if path == "/api/whoami-v2":
                return self._answer(200, {"name": stub.user, "type": "user", "orgs": []})
            if path == f"{api}/discussions":
                return self._discussions()
            if path == api or path.startswith(f"{api}/revision/"):
                return self._answer(200, {"id": stub.repo_id, "sha": "0" * 40})
            return self._answer(404, {"error": f"no route {path}"})

        def do_PUT(self) -> None:
            oid = self._path().rsplit("/", 1)[1]
            data = self._body()
            if stub.fail_uploads_after is not None and len(stub.uploads) >= stub.fail_uploads_after:
                return self._answer(403, {"error": "the storage says no"})
            if hashlib.sha256(data).hexdigest() != oid:
                stub.faults.append(f"{oid} was sent with another content")
            stub.uploads.append(oid)
            stub.objects[oid] = data
            return self._answer(200, {})

        def do_POST(self) -> None:
            path, body = self._path(), self._body()
            if not self._allowed():
                return
            if match := re.fullmatch(f"{api}/preupload/(.+)", path):
                return self._preupload(unquote(match.group(1)), json.loads(body))
            if path == f"/datasets/{stub.repo_id}.git/info/lfs/objects/batch":
                return self._batch(json.loads(body))
            if match := re.fullmatch(f"{api}/commit/(.+)", path):
                return self._commit(unquote(match.group(1)), body)
            if match := re.fullmatch(f"{api}/paths-info/(.+)", path):
                return self._paths_info(unquote(match.group(1)), body)
            return self._answer(404, {"error": f"no route {path}"})

        def _path(self) -> str:
            parts = urlsplit(self.path)
            stub.log.append((self.command, self.path))
            self.query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            return parts.path

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _allowed(self) -> bool:
            if self.headers.get("Authorization") == f"Bearer {stub.token}":
                return True
            self._answer(401, {"error": "Invalid username or password."})
            return False

        def _answer(self, status: int, document: object) -> None:
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _discussions(self) -> None:
            if self.query.get("type") != "pull_request" or self.query.get("status") != "open":
                stub.faults.append(f"discussions were asked for with {self.query}")
            rows = [
                {
                    "num": r.number, "title": r.title, "author": {"name": r.author},
                    "createdAt": "2025-01-01T00:00:00.000Z", "status": r.status,
                    "repo": {"name": stub.repo_id, "type": "dataset"}, "isPullRequest": True,
                }
                for r in stub.requests if r.status == "open"
            ]  # fmt: skip
            self._answer(200, {"count": len(rows), "start": 0, "discussions": rows})

        def _preupload(self, revision: str, document: dict[str, Any]) -> None:
            held = stub.files_of(revision)
            rows = []
            for file in document["files"]:
                path = file["path"]
                mode = "lfs" if path.endswith(".safetensors") else "regular"
                row = {"path": path, "uploadMode": mode, "shouldIgnore": False}
                if path in held:
                    data = held[path]
                    row["oid"] = hashlib.sha256(data).hexdigest() if mode == "lfs" else _oid(data)
                rows.append(row)
            self._answer(200, {"files": rows})

        def _batch(self, document: dict[str, Any]) -> None:
            if document["operation"] != "upload" or document["hash_algo"] != "sha256":
                stub.faults.append(f"batch: {document['operation']} {document['hash_algo']}")
            rows = []
            for item in document["objects"]:
                row = {"oid": item["oid"], "size": item["size"], "authenticated": True}
                if item["oid"] not in stub.objects:
                    href = f"{stub.endpoint}/upload/{item['oid']}"
                    row["actions"] = {"upload": {"href": href, "header": {}}}
                rows.append(row)
            self._answer(200, {"transfer": "basic", "objects": rows})

        def _commit(self, revision: str, body: bytes) -> None:
            if stub.commit_status != 200:
                return self._answer(stub.commit_status, {"error": "no commit now"})
            lines = [json.loads(line) for line in body.splitlines() if line.strip()]
            header = next(line["value"] for line in lines if line["key"] == "header")
            files = dict(stub.files_of(revision))
            for line in lines:
                self._apply(line, files)
            create = self.query.get("create_pr") == "1"
            if create:
                stub.requests.append(Request(
                    len(stub.requests) + 1, header["summary"], header["description"], stub.user
                ))  # fmt: skip
            elif not revision.startswith("refs/pr/"):
                stub.faults.append(f"a commit straight to {revision}")
                return self._answer(200, {})
            number = len(stub.requests) if create else int(revision.rsplit("/", 1)[1])
            request = stub.requests[number - 1]
            request.files = files
            request.commits.append(header)
            url = f"{stub.endpoint}/datasets/{stub.repo_id}"
            answer = {"commitUrl": f"{url}/commit/{'1' * 40}", "commitOid": "1" * 40}
            if create:
                answer["pullRequestUrl"] = f"{url}/discussions/{number}"
            return self._answer(200, answer)

        def _apply(self, line: dict[str, Any], files: dict[str, bytes]) -> None:
            value = line["value"]
            if line["key"] == "file":
                if value["encoding"] != "base64":
                    stub.faults.append(f"{value['path']} is {value['encoding']}")
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in stub.objects:
                    stub.faults.append(f"{value['path']} names an object that nobody uploaded")
                elif len(stub.objects[value["oid"]]) != value["size"]:
                    stub.faults.append(f"{value['path']} has another size")
                files[value["path"]] = stub.objects.get(value["oid"], b"")
            elif line["key"] == "deletedFile":
                if value["path"] not in files:
                    stub.faults.append(f"{value['path']} is deleted and was not there")
                files.pop(value["path"], None)
            elif line["key"] != "header":
                stub.faults.append(f"unknown operation {line['key']}")

        def _paths_info(self, revision: str, body: bytes) -> None:
            try:
                asked = json.loads(body)["paths"]
            except ValueError:
                asked = parse_qs(body.decode())["paths"]
            held = stub.files_of(revision)
            rows = [
                {"type": "file", "path": path, "size": len(held[path]), "oid": _oid(held[path])}
                for path in asked if path in held
            ]  # fmt: skip
            self._answer(200, rows)

        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    return Handler
