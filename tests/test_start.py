"""What happens before a server serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import certifi
import pytest
from protocol_client import RpcError
from running_server import ROOT, children

IMPORTED = """
import json, sys
sys.path.insert(0, {root!r})
import {module}
print(json.dumps(sorted(sys.modules)))
"""


def modules_of(module: str) -> set[str]:
    code = IMPORTED.format(root=str(ROOT), module=module)
    found = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(found.stdout))


def test_what_the_server_and_its_zygote_need_is_imported_before_they_part():
    shared = "supervisor.commands.app_server as a, importlib; [importlib.import_module(n) for n in a.SHARED]"
    twice = (modules_of("supervisor.serving") & modules_of("workers.zygote")) - modules_of(shared)
    ours = {name for name in twice if name.split(".")[0] not in sys.stdlib_module_names}
    assert not ours


def test_the_first_zygote_holds_nothing_of_the_client(server):
    client = server()
    client.start_thread()
    # The server has moved its client's pipes away from 0 and 1.
    ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in client.pipes}
    for pid in (client.zygote, *children(client.zygote)):
        folder = f"/proc/{pid}/fd"
        held = {name: os.readlink(f"{folder}/{name}") for name in os.listdir(folder)}
        assert held["0"] == os.devnull
        assert not ours & set(held.values())


@pytest.mark.parametrize(
    ("words", "code"),
    [(["-c", "bulkhead.parked_workers='many'"], 78), (["--listen", "nowhere://"], 2)],
)
def test_a_server_that_cannot_start_leaves_no_zygote(marked, words, code):
    argv = [sys.executable, "-P", "-m", "supervisor", "app-server", *words]
    ended = subprocess.run(
        argv, env=marked.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert ended.returncode == code, ended.stderr
    assert not marked.processes()


def test_certificates_are_read_by_the_zygote_for_all_workers_after_the_first(server, marked, home, tmp_path):
    bundle = tmp_path / "bundle.pem"
    shutil.copy(certifi.where(), bundle)
    marked.env["SSL_CERT_FILE"] = str(bundle)
    config = home / "config.toml"
    config.write_text(config.read_text().replace("http://", "https://"))
    client = server("-c", "bulkhead.parked_workers=0")
    client.start_thread()
    second = client.start_thread()  # its worker is forked after the zygote is done with the first request
    bundle.unlink()
    turn = client.turn(second, "!say hello")[-1]["params"]["turn"]
    assert turn["status"] == "failed"  # the model speaks no TLS
    assert "SSL_CERT_FILE" not in str(turn["error"]), turn


def test_a_worker_without_an_event_log_ends_and_its_client_is_told(server):
    client = server("-c", "bulkhead.restart_limit=0")
    events = Path(client.record.directory, "events")
    events.rename(events.with_name("aside"))
    events.touch()  # no folder: nothing can be made in it
    with pytest.raises(RpcError, match="no event log"):
        client.start_thread()
    events.unlink()
    events.with_name("aside").rename(events)
    assert client.start_thread()
