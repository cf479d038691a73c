"""What workers get of an account: headers for one request, new ones after a 401, and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from issuer_server import store
from protocol_client import RpcError
from running_server import ROOT, children

from modelserver.journal import masked

MARK = "Pl4ntedS3cret"


def bearers(model):
    return [request.headers["authorization"] for request in model.requests()]


def end_of_turn(server, script):
    return server.end_of(server.begin_turn(server.start_thread(), script))


def test_a_401_leads_to_one_refresh_and_one_retry(running, shared_home, issuer, model):
    document = issuer.stored()
    store(shared_home, document)
    assert end_of_turn(running, "!status-once 401 {}\n!say done")["status"] == "completed"
    first, second = bearers(model)
    assert (
        first == masked([("authorization", f"Bearer {document['tokens']['access_token']}")])["authorization"]
    )
    assert second != first
    assert issuer.counts["/oauth/token"] == 1


def test_a_401_that_stays_ends_the_turn(running, shared_home, issuer, model):
    store(shared_home, issuer.stored())
    ended = end_of_turn(running, "!status 401 {}")
    assert ended["status"] == "failed"
    assert "401" in ended["error"]["message"]
    assert issuer.counts["/oauth/token"] == 2  # the second, since the first new token was not taken either
    assert len(model.requests()) == 3


def test_a_revoked_login_says_what_to_do(running, shared_home, issuer):
    document = issuer.stored(expires_in=-1)
    store(shared_home, document)
    issuer.refresh_tokens[document["tokens"]["refresh_token"]] = "revoked"
    ended = end_of_turn(running, "!say hello")
    assert ended["status"] == "failed"
    assert "your refresh token was revoked. Please log out and sign in again." in ended["error"]["message"]


def test_a_logout_lets_the_turn_under_way_finish(running, shared_home, issuer, model):
    """Recorded with Codex 0.169; the next request goes out without a login."""
    store(shared_home, issuer.stored())
    thread = running.start_thread()
    turn = running.begin_turn(thread, "!stream 40 0.01\n!then\n!say bye")
    running.first_delta(thread, since=running.since)
    running.request("account/logout")
    assert running.request("account/read", {})["account"] is None
    assert running.end_of(turn)["status"] == "completed"
    assert running.end_of(running.begin_turn(thread, "!say again"))["status"] == "completed"
    assert ["authorization" in request.headers for request in model.requests()] == [True, False]


def test_tokens_of_the_client_are_renewed_in_a_turn(running, issuer, model):
    supplier = running.handler
    supplier.asked.clear()
    supplier.tokens = issuer.stored()["tokens"]["access_token"] + "new"
    given = {"accessToken": issuer.stored()["tokens"]["access_token"], "chatgptAccountId": "acct-123"}
    running.request("account/login/start", {"type": "chatgptAuthTokens", **given})
    assert end_of_turn(running, "!status-once 401 {}\n!say done")["status"] == "completed"
    assert [method for method, _ in supplier.asked] == ["account/chatgptAuthTokens/refresh"]
    assert len(set(bearers(model))) == 2


def test_fifty_threads_with_an_expired_token_make_one_refresh(running, shared_home, issuer, model):
    threads = [running.start_thread() for _ in range(50)]
    store(shared_home, issuer.stored(expires_in=-1))
    issuer.delay_s = 0.3
    requests = [running.send_turn(thread, "!say hi") for thread in threads]
    for turn in [running.result(request)["turn"]["id"] for request in requests]:
        assert running.end_of(turn)["status"] == "completed"
    assert issuer.counts["/oauth/token"] == 1
    assert len(set(bearers(model))) == 1


# --- secrets -------------------------------------------------------------------------------------------------


def test_a_secret_is_nowhere_but_where_it_belongs(server, issuer, account_home, marked, bulkhead):
    """Planted in every token and in a key, looked for everywhere else, with a log that says all it can."""
    home = account_home
    issuer.mark = MARK
    marked.env["BULKHEAD_LOG"] = "debug"
    document = issuer.stored(expires_in=-1)
    store(home, document)
    places = {}
    with server() as s:
        thread = s.start_thread()
        peep = "!run env; cat /proc/*/environ 2>/dev/null | tr '\\0' ' '\n!then\n!say seen"
        assert s.end_of(s.begin_turn(thread, peep))["status"] == "completed"
        assert s.end_of(s.begin_turn(thread, "!status 401 {}"))["status"] == "failed"
        echo = {"echo": document["tokens"]["access_token"]}
        issuer.failures["/backend-api/wham/usage"].append((500, echo))
        with pytest.raises(RpcError, match="500 Internal Server Error"):
            s.request("account/rateLimits/read")
        issuer.failures["/oauth/token"].append((401, {"error": {"code": MARK, "message": MARK}}))
        s.request("account/read", {"refreshToken": True})
        s.request("account/logout")
        s.request("account/login/start", {"type": "apiKey", "apiKey": f"sk-{MARK}"})
        assert s.end_of(s.begin_turn(thread, "!status 401 {}"))["status"] == "failed"
        for pid in marked.processes():
            for name in ("environ", "cmdline"):
                places[f"/proc/{pid}/{name}"] = _bytes(f"/proc/{pid}/{name}")
        for words in (
            ("ps", "--json"),
            ("metrics",),
            ("events", "--json", thread),
            ("logs", thread),
            ("inspect", thread),
            ("stack", thread),
            ("login", "status"),
        ):
            code, out, err = bulkhead(*words)
            assert (code, bool(out)) == (0, True) or words[0] in ("events", "logs"), (words, err)
            places["bulkhead " + " ".join(words)] = (out + err).encode()
        report = s.request(
            "feedback/upload", {"classification": "bug", "threadId": thread, "includeLogs": True}
        )
        with zipfile.ZipFile(io.BytesIO(_bytes(report["savedPath"]))) as archive:
            assert "server.log" in archive.namelist()
            places |= {f"feedback {name}": archive.read(name) for name in archive.namelist()}
        places |= _files_of(marked.runtime)
        places["lines"] = b"".join(line.raw for line in s.lines if not line.sent)
        places["log"] = s.stderr.encode()
        assert "DEBUG" in s.stderr
    places |= _files_of(home)
    assert any("sessions" in path for path in places), "no rollout was looked at"
    assert MARK.encode() in places.pop(str(home / "auth.json"))
    assert [place for place, text in places.items() if MARK.encode() in text] == []


def _files_of(folder):
    paths = (os.path.join(where, name) for where, _, names in os.walk(folder) for name in names)
    return {path: _bytes(path) for path in paths}


def _bytes(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


def test_a_dump_of_a_process_has_no_memory_in_it(running):
    """A file is not written, and a program that takes dumps from the system gets none of the pages."""
    thread = running.start_thread()
    for pid in (running.pid, running.worker(thread), *children(running.zygote)):
        limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
        [core] = [line.split()[4:6] for line in limits if line.startswith("Max core file size")]
        assert core == ["0", "0"]
        assert int(Path(f"/proc/{pid}/coredump_filter").read_text(), 16) == 0


# --- the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def cli(account_home, marked):
    def run(*words, text=""):
        return subprocess.run(
            [sys.executable, "-P", "-m", "supervisor", *words],
            env=marked.env, cwd=ROOT, input=text, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


def test_people_log_in_and_out(cli, issuer, home):
    assert cli("login", "status").returncode == 1
    done = cli("login", "--with-api-key", text="sk-proj-1234567890abcdef\n")
    assert done.returncode == 0, done.stderr
    status = cli("login", "status")
    assert "sk-proj-***bcdef" in status.stdout
    assert str(home / "auth.json") in status.stdout
    assert cli("logout").stdout == "Logged out.\n"
    assert cli("logout").stdout == "There was no login.\n"
    issuer.consented.set()
    done = cli("login", "--device-auth")
    assert done.returncode == 0, done.stderr
    assert "ABCD-1234" in done.stdout
    assert "u@example.com, plan business" in cli("login", "status").stdout
    assert "no API key" in cli("login", "--api-key-stdin", text="").stderr
