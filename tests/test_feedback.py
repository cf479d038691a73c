"""`feedback/upload` and `feedback/save`: what is collected, what is taken out, and where it goes."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import stat
import threading
import zipfile

import pytest
from protocol_client import RpcError

from workers.stored.redaction import REDACTED, Redactor
from workers.stored.report import ATTACHMENT_MAX_BYTES

PLANTED = "planted-credential-4711"


def refused(client, method, params):
    with pytest.raises(RpcError) as caught:
        client.request(method, params)
    return caught.value.code, caught.value.message


def contents(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def collector():
    """Takes reports: the url, what came, and a switch for refusing them."""

    class Collector(http.server.BaseHTTPRequestHandler):
        got: list[tuple[dict[str, str], bytes]] = []
        status = 200

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            self.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(self.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    Collector.got = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Collector.url = f"http://127.0.0.1:{server.server_port}/reports"
        yield Collector
        server.shutdown()
        thread.join()


def test_a_report_stays_in_the_home_and_has_what_it_says(server, home, marked, tmp_path):
    marked.env["SOME_API_KEY"] = PLANTED
    extra = tmp_path / "build.log"
    extra.write_text(f"curl -H 'Authorization: Bearer abcdefgh12345' # {PLANTED}\n")
    client = server()
    thread = client.start_thread()
    client.turn(thread, f"!say the key is {PLANTED}")
    answer = client.request(
        "feedback/upload",
        {
            "classification": "bug",
            "reason": f"it said {PLANTED}",
            "threadId": thread,
            "includeLogs": True,
            "extraLogFiles": [str(extra)],
            "tags": {"ticket": "17"},
        },
    )
    saved = home / "feedback" / answer["savedPath"].rpartition("/")[2]
    assert str(saved) == answer["savedPath"]
    assert (answer["threadId"], len(answer["promptHash"])) == (thread, 64)
    assert (stat.S_IMODE(saved.stat().st_mode), stat.S_IMODE(saved.parent.stat().st_mode)) == (0o600, 0o700)
    files = contents(saved.read_bytes())
    [rollout] = [name for name in files if name.startswith("rollout-")]
    assert set(files) == {"report.json", "manifest.json", "server.log", "build.log", rollout}
    assert b"the key is [redacted]" in files[rollout]
    assert all(PLANTED.encode() not in data for data in files.values())
    assert b"Bearer [redacted]" in files["build.log"]
    report = json.loads(files["report.json"])
    assert report["tags"]["reason"] == "it said [redacted]"
    assert report["tags"]["ticket"] == "17"
    manifest = json.loads(files["manifest.json"])
    assert [entry["name"] for entry in manifest] == [rollout, "server.log", "build.log"]
    assert not any(entry["cut"] or entry["left_out"] for entry in manifest)


def test_without_logs_there_is_nothing_but_the_words(server, home, tmp_path):
    client = server()
    save = tmp_path / "report.zip"
    params = {"classification": "good_result", "savePath": str(save), "extraLogFiles": ["/etc/hostname"]}
    answer = client.request("feedback/save", params)
    assert answer["savedPath"] == str(save)
    assert answer["threadId"].startswith("no-active-thread-")
    assert answer["promptHash"] is None
    assert set(contents(save.read_bytes())) == {"report.json", "manifest.json"}
    assert not (home / "feedback").exists()


def test_a_save_is_refused_where_it_would_overwrite_or_cannot_be(server, tmp_path):
    client = server()
    there = tmp_path / "there.zip"
    there.write_bytes(b"mine")
    params = {"classification": "bug", "savePath": str(there)}
    assert refused(client, "feedback/save", params) == (
        -32603,
        "failed to save feedback: feedback save path already exists",
    )
    assert there.read_bytes() == b"mine"
    assert refused(client, "feedback/save", {**params, "savePath": "relative.zip"}) == (
        -32600,
        "feedback savePath must be an absolute host path",
    )
    lost = {**params, "savePath": str(tmp_path / "new.zip"), "includeLogs": True, "extraLogFiles": ["/none"]}
    assert refused(client, "feedback/save", lost) == (
        -32603,
        "failed to save feedback: failed to read selected attachment /none: No such file or directory (os error 2)",
    )
    assert [path.name for path in tmp_path.glob("*.zip")] == ["there.zip"]
    assert refused(client, "feedback/upload", {"classification": "bug", "threadId": "x"})[0] == -32600


def test_of_a_long_file_the_end_is_taken(server, tmp_path):
    long, save = tmp_path / "long.log", tmp_path / "report.zip"
    line = b"x" * 99 + b"\n"
    long.write_bytes(line * (ATTACHMENT_MAX_BYTES // 100 + 1000) + b"the end\n")
    params = {
        "classification": "bug",
        "savePath": str(save),
        "includeLogs": True,
        "extraLogFiles": [str(long)],
    }
    server().request("feedback/save", params)
    files = contents(save.read_bytes())
    assert len(files["long.log"]) <= ATTACHMENT_MAX_BYTES
    assert files["long.log"].startswith(line)
    assert files["long.log"].endswith(b"the end\n")
    assert {entry["name"]: entry["cut"] for entry in json.loads(files["manifest.json"])} == {
        "server.log": False,
        "long.log": True,
    }


def test_a_report_is_sent_where_the_user_configured_it_and_kept(server, collector):
    client = server("-c", f"bulkhead.feedback_url={collector.url}")
    answer = client.request("feedback/upload", {"classification": "bug"})
    [(headers, body)] = collector.got
    assert headers["content-type"] == "application/zip"
    assert "authorization" not in headers
    with open(answer["savedPath"], "rb") as file:
        assert file.read() == body
    assert hashlib.sha256(contents(body)["manifest.json"]).hexdigest() == hashlib.sha256(b"[]").hexdigest()


def test_a_report_that_nobody_takes_is_kept_and_the_error_says_where(server, home, collector):
    collector.status = 503
    client = server("-c", f"bulkhead.feedback_url={collector.url}")
    code, text = refused(client, "feedback/upload", {"classification": "bug"})
    [kept] = (home / "feedback").iterdir()
    assert code == -32603
    assert text == f"failed to upload feedback: {collector.url} answered 503; it is kept in {kept}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"key sk-abcdefghijklmnop1234 end", b"key [redacted] end"),
        (b"Bearer abc.def-123456", b"Bearer [redacted]"),
        (b'{"password": "correct horse"}', b'{"password": "[redacted]"}'),
        (b'{\\"api_key\\":\\"0123456789\\"}', b'{\\"api_key\\":\\"[redacted]\\"}'),
        (b"https://me:pass@host/x", b"https://[redacted]@host/x"),
        (b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.sig", b"[redacted]"),
        (b"a -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- b", b"a [redacted] b"),
        (b"of-the-environment of-the-file", REDACTED + b" " + REDACTED),
        (b'"total_tokens": 12345678, tokens used: many', b'"total_tokens": 12345678, tokens used: many'),
    ],
)
def test_secrets_are_taken_out_and_other_words_are_not(before, after):
    redactor = Redactor(
        {"MY_TOKEN": "of-the-environment", "HOME": "/home/me"},
        {"model_providers": {"x": {"experimental_bearer_token": "of-the-file", "env_key": "NAME_OF_IT"}}},
    )
    assert redactor.clean(before) == after
