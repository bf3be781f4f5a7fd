"""Serves a model with SGLang's HTTP server, in SGLang's own Python.

    python server_main.py server.json [FIELD=VALUE ...]

server.json: engine (fields of SGLang's ServerArgs) and model_path. FIELD=VALUE changes a field:
node_rank=1 starts another node of the same server. Fields that this version does
not know are left out and named on stderr.
"""

from __future__ import annotations

import json
import os
import sys


def wanted_fields(path: str, changes: list[str]) -> dict[str, object]:
    """The fields that server.json and the command line ask for."""
    with open(path, encoding="utf-8") as file:
        order = json.load(file)
    wanted = {**order["engine"], "model_path": order["model_path"]}
    for change in changes:
        name, _, text = change.partition("=")
        wanted[name] = int(text) if text.isdigit() else text
    return wanted


def main(path: str, changes: list[str]) -> int:
    """Serve until ended."""
    wanted = wanted_fields(path, changes)
    from server_fields import accepted
    from sglang.srt.entrypoints.http_server import launch_server
    from sglang.srt.server_args import ServerArgs

    known, unknown = accepted(wanted, ServerArgs)
    if unknown:
        print(f"arguments that this SGLang does not know: {', '.join(unknown)}", file=sys.stderr)
    try:
        launch_server(ServerArgs(**known))
    finally:
        from sglang.srt.utils import kill_process_tree

        kill_process_tree(os.getpid(), include_parent=False)
    return 0


if __name__ == "__main__":  # SGLang's spawned workers import this file again
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
