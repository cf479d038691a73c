"""What workers get of an account: headers for one request, new ones after a 401, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from issuer_server import issuer_home, running_issuer
from running_server import ROOT

from modelserver.journal import masked

MARK = "Pl4ntedS3cret"


@pytest.fixture
def issuer(home, marked):
    with running_issuer() as running:
        running.mark = MARK
        issuer_home(running, home, marked)
        yield running


@pytest.fixture
def store(home):
    def write(document):
        (home / "auth.json").write_text(json.dumps(document))

    return write


def bearers(model):
    return [request.headers["authorization"] for request in model.requests()]


def test_a_401_leads_to_one_refresh_and_one_retry(server, issuer, model, store):
    document = issuer.stored()
    store(document)
    with server() as s:
        thread = s.start_thread()
        turn = s.begin_turn(thread, "!status-once 401 {}\n!say done")
        assert s.end_of(turn)["status"] == "completed"
    first, second = bearers(model)
    assert (
        first == masked([("authorization", f"Bearer {document['tokens']['access_token']}")])["authorization"]
    )
    assert second != first
    assert issuer.counts["/oauth/token"] == 1


def test_a_401_that_stays_ends_the_turn(server, issuer, model, store):
    store(issuer.stored())
    with server() as s:
        thread = s.start_thread()
        turn = s.begin_turn(thread, "!status 401 {}")
        ended = s.end_of(turn)
        assert ended["status"] == "failed"
        assert "401" in ended["error"]["message"]
    assert issuer.counts["/oauth/token"] == 2  # the second, since the first new token was not taken either
    assert len(model.requests()) == 3


def test_a_revoked_login_says_what_to_do(server, issuer, store):
    document = issuer.stored(expires_in=-1)
    store(document)
    issuer.refresh_tokens[document["tokens"]["refresh_token"]] = "revoked"
    with server() as s:
        thread = s.start_thread()
        ended = s.end_of(s.begin_turn(thread, "!say hello"))
        assert ended["status"] == "failed"
        assert (
            "your refresh token was revoked. Please log out and sign in again." in ended["error"]["message"]
        )


def test_fifty_threads_with_an_expired_token_make_one_refresh(server, issuer, model, store):
    store(issuer.stored(expires_in=-1))
    issuer.delay_s = 0.3
    with server("-c", "bulkhead.parked_workers=8", timeout=90) as s:
        threads = [s.start_thread() for _ in range(50)]
        turns = [s.result(request)["turn"]["id"] for request in [s.send_turn(t, "!say hi") for t in threads]]
        for turn in turns:
            assert s.end_of(turn)["status"] == "completed"
    assert issuer.counts["/oauth/token"] == 1
    assert len(set(bearers(model))) == 1


def test_a_secret_is_nowhere_but_where_it_belongs(server, issuer, home, marked, store):
    """Planted in every token, looked for everywhere else."""
    store(issuer.stored(expires_in=-1))
    with server() as s:
        thread = s.start_thread()
        turn = s.begin_turn(
            thread, "!run env; cat /proc/*/environ 2>/dev/null | tr '\\0' ' '\n!then\n!status 401 {}"
        )
        s.end_of(turn)
        s.request("account/rateLimits/read")
        places = {
            f"/proc/{pid}/{name}": _bytes(f"/proc/{pid}/{name}")
            for pid in marked.processes()
            for name in ("environ", "cmdline")
        }
        ps = subprocess.run(
            [sys.executable, "-P", "-m", "supervisor", "ps", "--json"],
            env=marked.env, cwd=ROOT, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        places["ps"] = ps.stdout + ps.stderr
        s.request("account/logout")
        s.request("account/login/start", {"type": "apiKey", "apiKey": f"sk-{MARK}"})
        received = [line for line in s.lines if not line.sent]
        places["lines"] = b"".join(line.raw for line in received)
        places["log"] = s.stderr.encode()
    for folder, _, names in os.walk(home):
        for name in names:
            if name != "auth.json":
                path = os.path.join(folder, name)
                places[path] = _bytes(path)
    assert any("sessions" in path for path in places), "no rollout was looked at"
    assert MARK in (home / "auth.json").read_text()
    assert [place for place, text in places.items() if MARK.encode() in text] == []


def _bytes(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""


# --- the command line ----------------------------------------------------------------------------------------


@pytest.fixture
def cli(marked):
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
    refused = cli("login", "--api-key-stdin", "-c", "x=1", text="")
    assert refused.returncode != 0
    assert "no API key" in cli("login", "--api-key-stdin", text="").stderr
