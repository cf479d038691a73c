"""The day in docs/operators.md, lived through: every command in it is run, and says what the page says.

What differs from day to day is not compared: numbers, ids, paths, and lines that the page leaves out with `...`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from running_server import ROOT

PAGE = ROOT / "docs" / "operators.md"
HUNGRY = "!run python3 -c 'import time; x = bytearray(200 << 20); time.sleep(1000)'"
_SAME = (
    (re.compile(r"0x[0-9a-f]+"), "ADDRESS"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"(/[\w.-]+)+/"), "/"),
    (re.compile(r"\d+(\.\d+)?"), "N"),
    (re.compile(r"(Nm)?Ns\b"), "Ns"),
    (re.compile(r"Nh Nm|-{2,}"), "N"),
    (re.compile(r"\s+"), " "),
)


def same(line):
    for pattern, word in _SAME:
        line = pattern.sub(word, line)
    return line.strip()


def transcript():
    """The (command, output) pairs of the page."""
    pairs = []
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            pairs.append((command, output.rstrip("\n").split("\n") if output.strip() else []))
    return pairs


def says(expected, got):
    """Whether lines fit, `...` standing for any number of them."""
    if not expected:
        return not got
    if expected[0] == "...":
        return any(says(expected[1:], got[skip:]) for skip in range(len(got) + 1))
    return bool(got) and same(expected[0]) == same(got[0]) and says(expected[1:], got[1:])


def test_the_day_of_an_operator_goes_as_the_page_says(server, marked, workspace):
    client = server()
    threads = {}
    for name in ("api", "web"):
        (workspace / name).mkdir()
        threads[name] = client.start_thread(cwd=str(workspace / name))
        client.turn(threads[name], "!say Hello.")
        client.request("thread/name/set", {"threadId": threads[name], "name": name})
    turn = client.begin_turn(threads["api"], HUNGRY)
    client.await_row(
        threads["api"],
        lambda _: (client.operate("inspect", thread="api")["used"] or {}).get("memory", 0) > 200 << 20,
    )
    pairs = transcript()
    assert len(pairs) > 10
    for command, expected in pairs:
        program, *arguments = command.split()
        assert program == "bulkhead"
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", *arguments],
            cwd=ROOT,
            env=marked.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        got = (done.stdout + done.stderr).splitlines()
        if command == "bulkhead kill api":
            assert "killed by operator" in client.end_of(turn)["error"]["message"]
            client.await_row(threads["api"], lambda row: row["epoch"] == 2 and row["state"] == "idle")
        assert says(expected, got), f"{command}\n" + "\n".join(got)
    assert Path(marked.runtime).exists()
