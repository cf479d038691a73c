from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.command_actions import CommandAction, UnknownAction
from workers.tools.command_actions import actions_of, display
from workers.tools.shell_words import join, split_script

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169"


def seen(script: str, cwd: str = "/w") -> list[tuple[str | None, ...]]:
    found = json.loads(msgspec.json.encode(actions_of(["/bin/bash", "-lc", script], cwd)))
    return [tuple(action.values()) for action in found]


def read(command: str, name: str, path: str | None = None) -> tuple[str, ...]:
    return ("read", command, name, path or f"/w/{name}")


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo hi; ls", [("listFiles", "ls", None)]),
        ("ls -w 80 src", [("listFiles", "ls -w 80 src", "src")]),
        ("ls -la src/foo", [("listFiles", "ls -la src/foo", "foo")]),
        ("cat a.txt", [read("cat a.txt", "a.txt")]),
        ("cat -- -x", [read("cat -- -x", "-x")]),
        ('cat "a b.txt"', [read("cat 'a b.txt'", "a b.txt")]),
        ("sed -n 1,20p sub/a.txt", [read("sed -n '1,20p' sub/a.txt", "a.txt", "/w/sub/a.txt")]),
        ("head -n 5 a.txt", [read("head -n 5 a.txt", "a.txt")]),
        ("tail -n +5 a.txt", [read("tail -n +5 a.txt", "a.txt")]),
        ("nl -ba a.txt | sed -n '1,20p'", [read("nl -ba a.txt | sed -n '1,20p'", "a.txt")]),
        ("awk '{print $1}' a.txt | head", [read("awk '{print $1}' a.txt", "a.txt")]),
        ("find . -name '*.py' | head", [("search", "find . -name '*.py'", "*.py", ".")]),
        ("find src -type f", [("listFiles", "find src -type f", "src")]),
        ("fd foo src", [("search", "fd foo src", "foo", "src")]),
        ("tree -L 2 src", [("listFiles", "tree -L 2 src", "src")]),
        ("rg --files -g '*.py' src", [("listFiles", "rg --files -g '*.py' src", "src")]),
        ("rg -A 3 foo src/a", [("search", "rg -A 3 foo src/a", "foo", "a")]),
        ("rg -e foo src", [("search", "rg -e foo src", "foo", "src")]),
        ("grep -rn foo . | wc -l", [("search", "grep -rn foo .", "foo", ".")]),
        ("git grep foo -- src", [("search", "git grep foo -- src", "foo", "src")]),
        ("git ls-files | grep x", [("listFiles", "git ls-files", None), ("search", "grep x", "x", None)]),
        ("cd src && cat a.txt", [read("cat a.txt", "a.txt", "/w/src/a.txt")]),
        ("cd a && cd b && cat c.txt", [read("cat c.txt", "c.txt", "/w/a/b/c.txt")]),
        ("cd src && cat /etc/hosts", [read("cat /etc/hosts", "hosts", "/etc/hosts")]),
        ("cd src", []),
        ("cat a.txt && cat a.txt", [read("cat a.txt", "a.txt")]),
        ("ls || true", [("listFiles", "ls", None)]),
        ("ls\ncat a.txt\n", [("listFiles", "ls", None), read("cat a.txt", "a.txt")]),
        ("rg -l foo | xargs cat", [("search", "rg -l foo", "foo", None)]),
    ],
)
def test_what_the_peer_sees_in_a_script(script, expected):
    assert seen(script) == expected


@pytest.mark.parametrize(
    "script",
    [
        "echo oops >&2; exit 3",
        "for i in 1 2; do cat $i; done",
        "cat a.txt b.txt",
        "cat a.txt > b.txt",
        "cat < a.txt",
        "cat $HOME/x",
        "cat *.txt",
        "ls && pytest",
        "ls &",
        "(ls)",
        "FOO=1 ls",
        "echo $(ls)",
        "echo `ls`",
        "echo a | cat",
        "ps aux | grep foo",
        "ls | tee out",
        "cat a.txt | sed -i s/a/b/ b.txt",
        "find . -delete",
        "find . -name x -exec rm y",
        "rg foo | xargs sed -i s/a/b/",
        "fd x -x rm",
        "ls 2>&1",
        "ls # comment",
        "ls ~/x",
        "sed s/a/b/ a.txt",
        "cat 'open",
        "ls &&",
        "| ls",
        "",
        " ",
        "cat",
        "true",
    ],
)
def test_a_script_that_is_not_understood_is_one_unknown_action(script):
    assert actions_of(["/bin/bash", "-lc", script], "/w") == [UnknownAction(command=script)]


def test_a_command_without_a_shell_is_read_by_its_words():
    assert actions_of(["ls", "-l"]) == actions_of(["sh", "-c", "ls -l"])
    assert actions_of(["my prog", "x"]) == [UnknownAction(command="'my prog' x")]
    assert actions_of([]) == [UnknownAction(command="")]


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings of the peer are not beside the project")
def test_the_recorded_commands_are_shown_and_seen_as_recorded():
    pairs = set()
    for file in RECORDINGS.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            message = json.loads(line).get("msg")
            params = message.get("params") if isinstance(message, dict) else None
            item = params.get("item", {}) if isinstance(params, dict) else {}
            if item.get("type") == "commandExecution":
                pairs.add((item["command"], json.dumps(item["commandActions"]), item["cwd"]))
    assert pairs
    for command, expected, cwd in pairs:
        argv = shlex.split(command)
        assert display(argv) == command
        assert json.loads(msgspec.json.encode(actions_of(argv, cwd))) == json.loads(expected)


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("echo hi; ls", "'echo hi; ls'"),
        ("cat", "cat"),
        ("", "''"),
        ("echo 'it'", "\"echo 'it'\""),
        ("ls \\(x\\)", '"ls \\\\(x\\\\)"'),
        ("echo 'it\"s' \\x", '"echo \'it\\"s\' \\\\x"'),
        ("echo \"a$b\"'c'^d=é", "'echo \"a$b\"'\"'c'\"'^d=é'"),
    ],
)
def test_commands_are_quoted_as_the_peer_quotes(script, shown):
    assert display(["/bin/bash", "-lc", script]) == f"/bin/bash -lc {shown}"


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.text("'\"\\$`!^ \na=")


@given(st.lists(WORD, min_size=1, max_size=4))
def test_a_joined_command_splits_into_its_words_again(words):
    assert shlex.split(join(words)) == words
    split = split_script(join(words))
    # a word may look like an assignment or a reserved word where it stands first and bare
    assert split is None or [command.words for command in split] == [tuple(words)]


@given(st.lists(st.text("ab 'é\\\"=-.", max_size=6), min_size=1, max_size=3))
def test_a_script_is_split_as_the_shell_splits_it(words):
    script = " ".join(words)
    commands = split_script(f"printf %s\\\\0 x {script}")
    if commands is None:
        return
    done = subprocess.run(["/bin/sh", "-c", f"printf %s\\\\0 x {script}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == list(commands[0].words[2:])


@given(st.text() | st.text("lscat &|;'\"\\\n$(){}<>-./"))
def test_any_script_has_actions_of_the_known_kinds(script):
    for action in actions_of(["bash", "-c", script]):
        assert msgspec.convert(msgspec.to_builtins(action), CommandAction) == action


def test_a_long_script_is_read_in_linear_time():
    assert len(actions_of(["bash", "-c", "ls a && cat b ; " * 5_000])) == 10_000
    assert actions_of(["bash", "-c", "cat " + "'a'" * 100_000 + '"'])[0].command.startswith("cat 'a'")
