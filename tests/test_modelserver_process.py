"""The scripted model as a program: signals, ports, its parent's end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import httpx
import modelserver_calls
import pytest
from modelserver_calls import ROOT

from modelserver.embedded import scripted_model

client = modelserver_calls.client
model = modelserver_calls.model


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "modelserver", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_hanging_streams_and_the_process(tmp_path, number):
    port_file = tmp_path / "port"
    with start("--port-file", str(port_file)) as process:
        url = json.loads(process.stdout.readline())["url"]
        assert url == f"http://127.0.0.1:{int(port_file.read_text())}/v1"
        with httpx.Client(trust_env=False) as http, contextlib.ExitStack() as streams:
            for script in ("!hang", "!stream 99 3600", "!sleep 3600"):
                opened = http.stream("POST", f"{url}/responses", json={"input": script, "stream": True})
                answer = streams.enter_context(opened)
                assert answer.status_code == 200
            process.send_signal(number)
            assert process.wait(30) == 0
        assert process.stderr.read() == ""
        assert process.stdout.read() == ""
    assert list(tmp_path.iterdir()) == []


def test_the_server_ends_with_its_standard_input():
    with start("--end-with-stdin", stdin=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["url"].endswith("/v1")
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_only_loopback_is_listened_on(host):
    with start("--host", host) as process:
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert host in complaint
    assert "Traceback" not in complaint


def test_a_taken_port_is_an_error_and_no_traceback(model):
    port = model.url.split(":")[2].removesuffix("/v1")
    with start("--port", port) as process:
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "in use" in complaint
    assert "Traceback" not in complaint


def test_the_child_ends_with_its_context():
    with scripted_model() as model:
        pid = model.pid
    assert model.process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
