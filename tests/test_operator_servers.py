"""Which servers operators find: by the runtime directory, by name, and when one of them does not answer."""

from __future__ import annotations

import os
import signal
import threading
from functools import partial
from types import SimpleNamespace

import pytest
from running_server import await_state

from supervisor import exit_codes
from supervisor.commands import kill, ps, target
from supervisor.control import ask
from supervisor.runtime import ServerRecord


def test_nothing_is_cleared_away_but_what_servers_left(server, bulkhead, marked):
    folders = [marked.runtime / name for name in ("documents", ".ssh", "2026-11-28", "1234-notours")]
    for folder in folders:
        folder.mkdir()
        (folder / "kept").touch()
        os.utime(folder, (0, 0))
    left = marked.runtime / "1234-00ff00"
    left.mkdir()
    assert bulkhead("reap")[1] == "server 1234-00ff00: no process ended, directory removed\n"
    server()  # every server does the same at its start
    assert all((folder / "kept").exists() for folder in folders)


def test_a_runtime_directory_that_is_no_folder_of_ours_is_told(bulkhead, marked, tmp_path):
    cases = {tmp_path / "file": "is no folder"}
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    cases[tmp_path / "link"] = "is no folder"
    if os.getuid() == 0:
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 12345, 12345)
        cases[tmp_path / "theirs"] = "belongs to somebody else"
    for path, why in cases.items():
        marked.env["BULKHEAD_RUNTIME_DIR"] = str(path)
        for command in (["ps"], ["top", "--count", "1"], ["kill", "01a2"], ["metrics"], ["reap"]):
            code, out, error = bulkhead(*command)
            assert (code, out) == (exit_codes.FAILED, ""), command
            assert f"{path} {why}" in error


def test_doctor_says_what_no_server_could_use(bulkhead, marked, tmp_path):
    (tmp_path / "file").touch()
    cases = (
        ("BULKHEAD_RUNTIME_DIR", str(tmp_path / "file"), "is no folder", "set BULKHEAD_RUNTIME_DIR to a folder"),
        ("BULKHEAD_RUNTIME_DIR", f"{tmp_path}/{'x' * 100}", "too long", "set BULKHEAD_RUNTIME_DIR to a shorter one"),
        ("BULKHEAD_HOME", str(tmp_path / "none"), "does not exist", "make the folder"),
    )  # fmt: skip
    before = dict(marked.env)
    for variable, value, why, remedy in cases:
        marked.env[variable] = value
        code, out, _ = bulkhead("doctor")
        assert code == exit_codes.FAILED
        [failure] = [line for line in out.splitlines() if line.startswith("FAIL")]
        assert why in failure
        assert f"fix: {remedy}" in out
        marked.env.update(before)
    assert list(tmp_path.glob("x*")) == []


def test_a_server_that_is_not_there_is_told_from_none_at_all(server, bulkhead):
    client = server()
    thread = client.start_thread()
    for command in (["ps"], ["top", "--count", "1"], ["kill", thread], ["metrics"]):
        code, out, error = bulkhead(*command, "--server", "none")
        assert (code, out, error) == (
            exit_codes.NOT_FOUND,
            "",
            "bulkhead: no running server is called none\n",
        )


def test_a_whole_name_goes_before_the_beginning_of_another(monkeypatch):
    records = [
        ServerRecord(name=f"{pid}-00ff00", pid=pid, started_at=0.0, home="", argv=[], version="")
        for pid in (12, 123, 1234)
    ]
    monkeypatch.setattr(target, "running_servers", lambda: records)
    assert [record.pid for record in target.servers("12")] == [12]
    assert [record.pid for record in target.servers("123-00ff00")] == [123]
    assert [record.pid for record in target.servers("1234-")] == [1234]
    assert [record.pid for record in target.servers("1")] == [12, 123, 1234]
    with pytest.raises(SystemExit):
        target.servers("")


def test_a_server_that_does_not_answer_is_not_taken_for_none(server, marked, monkeypatch, capsys):
    monkeypatch.setenv("BULKHEAD_RUNTIME_DIR", str(marked.runtime))
    monkeypatch.setattr(target, "ask", partial(ask, timeout=0.5))
    stopped, other = server(), server()
    thread = other.start_thread()
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        await_state(stopped.pid, "T")
        everybody = SimpleNamespace(server=None, json=False, thread=thread)
        assert ps.run(everybody) == exit_codes.FAILED
        out, error = capsys.readouterr()
        assert thread in out
        assert f"server {stopped.record.name}: does not answer" in error
        stopped_one = SimpleNamespace(server=str(stopped.pid), json=False)
        assert ps.run(stopped_one) == exit_codes.FAILED
        assert "no server is running" not in capsys.readouterr().out
        # It may have a thread that the name fits, too.
        monkeypatch.setattr(
            target, "ask", lambda record, method, params, _=None: ask(record, method, params, 0.5)
        )
        assert kill.run(everybody) == exit_codes.FAILED
        assert "--server" in capsys.readouterr().err
        assert other.row(thread)["epoch"] == 1
    finally:
        os.kill(stopped.pid, signal.SIGCONT)


def test_a_server_that_dies_while_it_is_asked_is_none(server, marked, monkeypatch, capsys):
    monkeypatch.setenv("BULKHEAD_RUNTIME_DIR", str(marked.runtime))
    client = server()
    os.kill(client.pid, signal.SIGSTOP)  # it would answer otherwise
    await_state(client.pid, "T")

    def asked(*question):
        killing = threading.Thread(target=lambda: os.kill(client.pid, signal.SIGKILL))
        killing.start()
        try:
            return ask(*question)
        finally:
            killing.join()

    monkeypatch.setattr(target, "ask", asked)
    assert ps.run(SimpleNamespace(server=None, json=False)) == exit_codes.OK
    assert capsys.readouterr() == ("no server is running\n", "")
