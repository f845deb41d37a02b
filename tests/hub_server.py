"""A small Hugging Face Hub on 127.0.0.1: what huggingface_hub asks for a model, and nothing else.

Spoken are HEAD and GET of files with the Hub's headers, the creation of repositories and branches,
and commits of files, plain and by git LFS.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

_LARGE = (".safetensors",)


class Hub(http.server.ThreadingHTTPServer):
    """Repositories in memory.

    Attributes:
        commits: files by commit, by repository.
        branches: commits by branch, by repository.
        gated: repositories whose files are not given to anybody.
        readers_only: whether nobody may write.
        plain: whether large files are committed as they are, too.
        log: of the requests, method and path.
        sent: bytes of files that were sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.blobs: dict[str, bytes] = {}
        self.gated: set[str] = set()
        self.readers_only, self.plain = False, False
        self.log: list[str] = []
        self.messages: list[str] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def make(self, name: str) -> None:
        """A repository without files."""
        empty = hashlib.sha1(name.encode()).hexdigest()
        self.commits[name], self.branches[name] = {empty: {}}, {"main": empty}

    def commit(self, name: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """A commit of files over those that are there; its hash."""
        if name not in self.commits:
            self.make(name)
        old = self.branches[name][branch]
        made = {**self.commits[name][old], **files}
        content = old.encode() + b"".join(k.encode() + v for k, v in sorted(made.items()))
        oid = hashlib.sha1(content).hexdigest()
        self.commits[name][oid], self.branches[name][branch] = made, oid
        return oid

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        """The files of a branch."""
        return self.commits[name][self.branches[name][branch]]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub  # type: ignore[assignment]

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **headers}
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, content: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), Content_Type="application/json")

    def _error(self, status: int, code: str) -> None:
        body = json.dumps({"error": code}).encode()
        self._answer(status, body, X_Error_Code=code, X_Error_Message=code)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        hub.log.append(f"{self.command} {self.path}")
        if self.path.startswith("/cdn/"):
            data = hub.blobs[self.path.removeprefix("/cdn/")]
            hub.sent += len(data) if self.command == "GET" else 0
            self._answer(200, data, ETag=f'"{hashlib.sha256(data).hexdigest()}"')
            return
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+?)(\?.*)?", self.path)
        if found is not None:  # older clients ask whether there is Xet
            oid = hub.branches[found[1]][found[2].replace("%2F", "/")]
            self._json({"id": found[1], "sha": oid, "xetEnabled": False})
            return
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if found is None:
            self._error(404, "NoSuchPath")
            return
        name, revision, file = found[1], found[2].replace("%2F", "/"), found[3]
        if name in hub.gated:
            self._error(403, "GatedRepo")
            return
        if name not in hub.commits:
            self._error(404, "RepoNotFound")
            return
        oid = hub.branches[name].get(revision, revision)
        if oid not in hub.commits[name]:
            self._error(404, "RevisionNotFound")
            return
        data = hub.commits[name][oid].get(file)
        if data is None:
            self._error(404, "EntryNotFound")
            return
        if file.endswith(_LARGE):  # lies elsewhere, as the Hub's large files do
            digest = hashlib.sha256(data).hexdigest()
            hub.blobs[digest] = data
            linked = {"X_Linked_ETag": f'"{digest}"', "X_Linked_Size": str(len(data))}
            place = f"{hub.url}/cdn/{digest}".replace("127.0.0.1", "localhost")  # another host
            self._answer(302, b"", X_Repo_Commit=oid, Location=place, **linked)
            return
        hub.sent += len(data) if self.command == "GET" else 0
        self._answer(200, data, X_Repo_Commit=oid, ETag=f'"{hashlib.sha1(data).hexdigest()}"')

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.log.append(f"PUT {self.path}")
        digest = hashlib.sha256(data).hexdigest()
        assert self.path == f"/cdn/{digest}"
        self.server.blobs[digest] = data
        self._answer(200)

    def do_POST(self) -> None:
        hub = self.server
        data = self.rfile.read(int(self.headers["Content-Length"]))
        hub.log.append(f"POST {self.path}")
        path = self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
            return
        if hub.readers_only or self.headers.get("Authorization") != "Bearer hf_test":
            self._error(401, "Unauthorized")
            return
        if path == "/api/repos/create":
            asked = json.loads(data)
            name = f"{asked['organization']}/{asked['name']}"
            if name in hub.commits:
                self._json({"error": "there is one", "url": f"{hub.url}/{name}"}, 409)
                return
            hub.make(name)
            self._json({"url": f"{hub.url}/{name}", "id": "1", "name": name})
            return
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(branch|preupload|commit)/(.+)", path)
        if found is not None:
            self._write(found[1], found[2], found[3].replace("%2F", "/"), data)
            return
        if path.endswith(".git/info/lfs/objects/batch"):
            asked = json.loads(data)["objects"]
            upload = [
                {**one, "actions": {"upload": {"href": f"{hub.url}/cdn/{one['oid']}"}}}
                for one in asked
            ]
            self._json({"transfer": "basic", "objects": upload})
            return
        self._error(404, "NoSuchPath")

    def _write(self, name: str, what: str, branch: str, data: bytes) -> None:
        hub = self.server
        if what == "branch":
            hub.branches[name].setdefault(branch, hub.branches[name]["main"])
            self._json({})
            return
        if branch not in hub.branches[name]:
            self._error(404, "RevisionNotFound")
            return
        if what == "preupload":
            modes = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs"
                    if one["path"].endswith(_LARGE) and not hub.plain
                    else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(data)["files"]
            ]
            self._json({"files": modes})
            return
        files = {}
        for line in data.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                hub.messages.append(value["summary"])
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert entry["key"] == "lfsFile"
                files[value["path"]] = hub.blobs[value["oid"]]
        oid = hub.commit(name, files, branch=branch)
        place = f"{hub.url}/{name}/commit/{oid}"
        self._json({"success": True, "commitOid": oid, "commitUrl": place})


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A Hub that answers while the block runs."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
