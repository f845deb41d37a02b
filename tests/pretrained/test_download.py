"""Downloads from a server on this machine: once, resumed, verified, and by one of many."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import http.server
import logging
import re
import subprocess
import sys
import threading
import time
from concurrent import futures

import jax
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax import files
from isincnet_jax.pretrained import download, folder

CONTENT = np.random.default_rng(7).bytes(200_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WRONG = b"something else"


@dataclasses.dataclass
class Answer:
    """How one request is answered."""

    content: bytes = CONTENT
    status: int | None = None
    ranges: bool = True
    break_after: int | None = None
    stall: float = 0.0
    announce: bool = True
    headers: tuple[tuple[str, str], ...] = ()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        answer = self.server.script.pop(0) if self.server.script else self.server.usual
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and answer.ranges else 0
        body, status = answer.content[start:], 206 if start else 200
        if start >= len(answer.content):
            body, status = b"", 416
        self.send_response(answer.status or status)
        if start and body:
            whole = len(answer.content)
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        body = body[: answer.break_after]
        self.server.sent.append(len(body))  # before whoever asked has it, and the test goes on
        self.wfile.write(body)
        time.sleep(answer.stall)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    made.asked, made.sent, made.script, made.usual = [], [], [], Answer()
    made.url = f"http://127.0.0.1:{made.server_address[1]}/model.zip"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    return functools.partial(
        download.fetch, server.url, sha256=DIGEST, cache_dir=tmp_path, timeout_s=60, backoff_s=0.01
    )


def names(tmp_path):
    return sorted(path.name for path in (tmp_path / "downloads").iterdir())


def leave_part(tmp_path, data):
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / f"{DIGEST}.part").write_bytes(data)


def test_fetched_once(server, fetch, tmp_path):
    path = fetch()
    assert path.read_bytes() == CONTENT
    assert path == tmp_path / "downloads" / f"{DIGEST}.zip"
    assert fetch() == path
    assert server.asked == [None]  # the second call asked nothing
    assert names(tmp_path) == [f"{DIGEST}.zip"]


@pytest.mark.parametrize("break_after", [1, 70_000, 199_999])
def test_break_is_resumed_within_a_call(server, fetch, break_after):
    server.script = [Answer(break_after=break_after)]
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={break_after}-"]
    assert sum(server.sent) == len(CONTENT)  # no byte twice


def test_break_is_resumed_by_a_later_call(server, fetch, tmp_path):
    server.script = [Answer(break_after=70_000)]
    with pytest.raises(download.DownloadError, match="broke after 70000 of 200000 bytes"):
        fetch(attempts=1)
    assert names(tmp_path) == [f"{DIGEST}.part"]
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-"]
    assert sum(server.sent) == len(CONTENT)
    assert names(tmp_path) == [f"{DIGEST}.zip"]


def test_several_breaks_are_resumed(server, fetch):
    server.script = [Answer(break_after=50_000) for _ in range(3)]
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=50000-", "bytes=100000-", "bytes=150000-"]
    assert sum(server.sent) == len(CONTENT)


def test_server_that_ignores_ranges_starts_anew(server, fetch):
    server.script = [Answer(break_after=70_000)]
    server.usual = Answer(ranges=False)
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-"]
    assert sum(server.sent) == 70_000 + len(CONTENT)


def test_answer_with_another_range_is_not_appended(server, fetch):
    other = Answer(ranges=False, status=206, headers=(("Content-Range", "bytes 5-9/200000"),))
    server.script = [Answer(break_after=70_000), other]
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, "bytes=70000-", None]


def test_part_of_another_file_is_replaced(server, fetch, tmp_path, caplog):
    leave_part(tmp_path, b"x" * 4000)
    assert fetch().read_bytes() == CONTENT
    assert server.asked == ["bytes=4000-", None]
    assert "the resumed file is not right" in caplog.text


def test_part_longer_than_the_file_is_replaced(server, fetch, tmp_path):
    leave_part(tmp_path, CONTENT + b"more")
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 4}-", None]  # the first is answered by 416


def test_whole_part_needs_no_server(server, fetch, tmp_path):
    leave_part(tmp_path, CONTENT)
    assert fetch().read_bytes() == CONTENT
    assert server.asked == []


def test_416_without_a_range_is_an_error(server, fetch):
    server.usual = Answer(status=416)
    with pytest.raises(download.DownloadError, match="416"):
        fetch()


@pytest.mark.parametrize("announce", [True, False])
def test_wrong_bytes_are_refused(server, fetch, tmp_path, announce):
    server.usual = Answer(content=WRONG, announce=announce)
    with pytest.raises(download.DownloadError) as caught:
        fetch()
    assert DIGEST in str(caught.value)
    assert hashlib.sha256(WRONG).hexdigest() in str(caught.value)
    assert server.asked == [None]
    assert names(tmp_path) == []


def test_wrong_bytes_after_a_resumption_are_refused(server, fetch, tmp_path):
    leave_part(tmp_path, CONTENT[:4])
    server.usual = Answer(content=WRONG)
    with pytest.raises(download.DownloadError, match="expected"):
        fetch()
    assert server.asked == ["bytes=4-", None]
    assert names(tmp_path) == []


def test_missing_file_is_not_asked_for_again(server, fetch, tmp_path):
    server.usual = Answer(status=404)
    with pytest.raises(download.DownloadError, match=r"model\.zip: the server answers 404"):
        fetch()
    assert server.asked == [None]
    assert names(tmp_path) == []


def test_busy_server_is_asked_again(server, fetch):
    server.script = [Answer(status=503), Answer(status=429)]
    assert fetch().read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_failing_network_is_an_error_after_some_attempts(tmp_path):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_address[1]
    url = f"http://localhost:{port}/model.zip"
    with pytest.raises(download.DownloadError, match=r"cannot be reached .* in 3 attempts"):
        download.fetch(url, sha256=DIGEST, cache_dir=tmp_path, attempts=3, backoff_s=0.01)
    assert names(tmp_path) == []


def test_silent_server_times_out(server, fetch):
    server.usual = Answer(break_after=1000, stall=30.0)
    with pytest.raises(download.DownloadError, match="timed out"):
        fetch(timeout_s=0.1, attempts=1)


def test_full_disk_leaves_nothing(fetch, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", full)
    with pytest.raises(download.DownloadError, match="cannot be written: No space left on device"):
        fetch()
    assert names(tmp_path) == []


def test_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(download.DownloadError, match="cannot be written"):
        download.fetch(server.url, sha256=DIGEST, cache_dir=tmp_path / "file")
    assert server.asked == []


def test_too_large_a_file_is_refused(fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_LARGEST", 100_000)
    with pytest.raises(download.DownloadError, match="larger than any model"):
        fetch()
    assert names(tmp_path) == []


def test_damaged_cache_is_fetched_anew(server, fetch, caplog):
    path = fetch()
    path.write_bytes(CONTENT[:-1] + b"?")
    with caplog.at_level(logging.WARNING):
        assert fetch().read_bytes() == CONTENT
    assert "damaged in the cache" in caplog.text
    assert server.asked == [None, None]


def test_redirect_within_this_machine_is_followed(server, fetch):
    server.script = [Answer(status=302, headers=(("Location", "/elsewhere.zip"),))]
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["http://example.org/x.zip", "ftp://example.org/x.zip"])
def test_redirect_away_from_https_is_refused(server, fetch, target):
    server.usual = Answer(status=302, headers=(("Location", target),))
    with pytest.raises(download.DownloadError, match="redirected to"):
        fetch()
    assert len(server.asked) == 1


def test_https_may_not_redirect_to_this_machine():
    with pytest.raises(ValueError, match="only https"):
        download.check_url("http://127.0.0.1/x.zip", allow_local=False)


def test_threads_share_one_download(server, fetch):
    server.usual = Answer(stall=0.1)
    with futures.ThreadPoolExecutor(6) as pool:
        paths = [future.result() for future in [pool.submit(fetch) for _ in range(6)]]
    assert server.asked == [None]
    assert {path.read_bytes() for path in paths} == {CONTENT}


FETCH = (
    "import sys\n"
    "from isincnet_jax.pretrained import download\n"
    "url, sha256, cache_dir = sys.argv[1:]\n"
    "print(download.fetch(url, sha256=sha256, cache_dir=cache_dir))"
)


def start_process(server, tmp_path):
    command = [sys.executable, "-c", FETCH, server.url, DIGEST, str(tmp_path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_share_one_download(server, tmp_path):
    server.usual = Answer(stall=1.0, break_after=150_000)
    server.script = [Answer(stall=1.0)]
    started = [start_process(server, tmp_path) for _ in range(3)]
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        assert out.strip().endswith(f"{DIGEST}.zip")
    assert server.asked == [None]
    assert names(tmp_path) == [f"{DIGEST}.zip"]


def test_killed_process_locks_nobody_out_and_is_resumed(server, fetch, tmp_path):
    server.script = [Answer(break_after=150_000, stall=240.0)]
    part = tmp_path / "downloads" / f"{DIGEST}.part"
    process = start_process(server, tmp_path)
    deadline = time.monotonic() + 240
    while not (part.exists() and part.stat().st_size >= 65_536) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert "lock" in " ".join(names(tmp_path))  # left behind, held by nobody
    kept = part.stat().st_size
    assert fetch().read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={kept}-"]
    assert names(tmp_path) == [f"{DIGEST}.zip"]


def test_lock_is_held_by_one_at_a_time(tmp_path):
    inside, most, done = [0], [0], [0]

    def enter():
        for _ in range(10):
            with files.locked(tmp_path / "lock"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1
                done[0] += 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, done) == ([1], [40])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "sha256", "message"),
    [
        ("https://x.org/m.zip", None, r"needs its sha256; give sha256=\.\.\. or #sha256="),
        ("https://x.org/m.zip", "abc", "must be 64 hexadecimal digits"),
        ("https://x.org/m.zip#sha256=" + "g" * 64, None, "must be 64 hexadecimal digits"),
        ("https://x.org/m.zip#md5=1", DIGEST, "#md5=1 is not understood"),
        ("https://x.org/m.zip#sha256=" + "0" * 64, DIGEST, "contradicts the address"),
        ("http://x.org/m.zip", DIGEST, "only https is fetched"),
        ("http://localhost.x.org/m.zip", DIGEST, "only https is fetched"),
        ("http://localhost@x.org/m.zip", DIGEST, "only https is fetched"),
        ("https:///m.zip", DIGEST, "only https is fetched"),
        ("https://x.org/a b.zip", DIGEST, "no spaces"),
    ],
)
def test_bad_addresses_are_refused(url, sha256, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        isn.from_pretrained(url, sha256=sha256, cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_digest_may_stand_in_either_place():
    url = "https://x.org/m.zip"
    expected = download.Address(url, DIGEST)
    assert download.parse_address(f"{url}#sha256={DIGEST}") == expected
    assert download.parse_address(url, sha256=DIGEST.upper()) == expected
    assert download.parse_address(str(expected), sha256=DIGEST) == expected


@pytest.fixture
def published(server, tmp_path):
    """A codec behind an address."""
    spec = isn.FilterbankSpec(8000, 8, 17)
    codec = isn.build_codec(isn.SincNet(spec, learnable_decoder=True))
    codec = codec.replace(variables=jax.tree.map(lambda x: x * 1.25, codec.variables))
    path = folder.export_pretrained(codec, tmp_path / "made.zip")
    server.usual = Answer(content=path.read_bytes())
    return codec, download.sha256_of(path)


def assert_same(codec, loaded):
    assert loaded.model == codec.model
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, codec.variables)


def test_codec_comes_from_an_address(server, published, tmp_path):
    codec, digest = published
    loaded = isn.from_pretrained(server.url, sha256=digest, cache_dir=tmp_path)
    assert_same(codec, loaded)
    assert loaded.name == f"{server.url}#sha256={digest}"
    assert_same(codec, isn.from_pretrained(loaded.name, cache_dir=tmp_path))
    assert server.asked == [None]


def test_file_that_is_no_model_is_named(server, tmp_path):
    with pytest.raises(ValueError, match=rf"{DIGEST}\.zip: cannot be read"):
        isn.from_pretrained(server.url, sha256=DIGEST, cache_dir=tmp_path)
