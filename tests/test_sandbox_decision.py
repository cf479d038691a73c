"""Which commands run, are asked about, or are refused."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.policy import DangerFullAccess, Granular, GranularApproval, ReadOnly, WorkspaceWrite
from sandbox_backends import Ask, Forbid, Rule, Run, approval_key, decide, escalation, proposed_amendment
from sandbox_backends.judgement import dangerous, segments
from sandbox_backends.shellwords import plain_commands

TRACES = Path(__file__).resolve().parents[2] / "shared" / "protocol" / "traces-0.169"
GRANULAR = GranularApproval(granular=Granular(mcp_elicitations=True, rules=True, sandbox_approval=True))
SILENT = GranularApproval(granular=Granular(mcp_elicitations=False, rules=False, sandbox_approval=False))
SAFE, BAD, OTHER = ["ls", "-l"], ["rm", "-rf", "x"], ["make"]


def bash(script):
    return ["/bin/bash", "-lc", script]


@pytest.mark.parametrize(
    ("policy", "argv", "escalated", "expected"),
    [
        ("untrusted", SAFE, False, Ask),
        ("untrusted", BAD, False, Ask),
        ("untrusted", OTHER, False, Ask),
        ("untrusted", OTHER, True, Ask),
        ("untrusted", SAFE, True, Ask),
        ("on-request", SAFE, False, Run),
        ("on-request", BAD, False, Ask),
        ("on-request", OTHER, False, Run),
        ("on-request", OTHER, True, Ask),
        ("never", SAFE, False, Run),
        ("never", BAD, False, Forbid),
        ("never", OTHER, False, Run),
        ("never", OTHER, True, Forbid),
        (GRANULAR, OTHER, False, Run),
        (GRANULAR, OTHER, True, Ask),
        (GRANULAR, BAD, False, Ask),
        (SILENT, OTHER, False, Run),
        (SILENT, OTHER, True, Forbid),
        (SILENT, BAD, False, Forbid),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_the_table(policy, argv, escalated, expected, wrapped):
    argv = bash(shlex.join(argv)) if wrapped else argv
    decision = decide(policy, WorkspaceWrite(), argv, escalated=escalated)
    assert isinstance(decision, expected)
    if not isinstance(decision, Forbid):
        assert decision.sandboxed is not escalated


def test_without_a_sandbox_there_is_nothing_to_leave():
    assert decide("on-request", DangerFullAccess(), OTHER, escalated=True) == Run(sandboxed=False)
    assert decide("never", DangerFullAccess(), OTHER) == Run(sandboxed=False)
    assert isinstance(decide("never", DangerFullAccess(), BAD), Forbid)


def test_never_tells_the_model_why_it_may_not_escalate():
    reason = decide("never", ReadOnly(), OTHER, escalated=True).reason
    assert reason.startswith("approval policy is Never; reject command")


def test_rules_come_first_and_judge_each_segment():
    allow, prompt = Rule(("touch",)), Rule(("make", "deploy"), "prompt", "it is live")
    forbid = Rule(("make", "deploy", "prod"), "forbidden")
    rules = (allow, prompt, forbid)
    both = bash("touch a && make")
    assert decide("untrusted", ReadOnly(), ["touch", "a"], rules=rules) == Run(sandboxed=False)
    assert decide("untrusted", ReadOnly(), both, rules=rules) == Ask(None, amendment=("make",))
    assert decide("untrusted", ReadOnly(), both, rules=(allow, Rule(("make",)))) == Run(sandboxed=False)
    asked = decide("on-request", ReadOnly(), bash("touch a; make deploy test"), rules=rules)
    assert "it is live" in asked.reason
    assert asked.amendment is None
    assert isinstance(decide("never", ReadOnly(), ["make", "deploy"], rules=rules), Forbid)
    assert isinstance(decide(SILENT, ReadOnly(), ["make", "deploy"], rules=rules), Forbid)
    refused = decide("on-request", ReadOnly(), bash("touch a; make deploy prod"), rules=rules)
    assert "make deploy prod" in refused.reason


def test_a_rule_about_the_shell_does_not_cover_what_it_runs():
    assert isinstance(decide("untrusted", ReadOnly(), bash("make"), rules=(Rule(("/bin/bash",)),)), Ask)


def test_amendments_walk_through_the_segments():
    argv = bash("touch /tmp/x && echo y")
    assert proposed_amendment(argv) == ("touch", "/tmp/x")
    assert proposed_amendment(argv, rules=(Rule(("touch", "/tmp/x")),)) == ("echo", "y")
    assert proposed_amendment(argv, rules=(Rule(("touch",)), Rule(("echo",)))) is None
    assert proposed_amendment(bash("echo oops >&2; exit 3")) == tuple(bash("echo oops >&2; exit 3"))


def test_amendments_are_the_peers():
    if not TRACES.is_dir():
        pytest.skip("no recordings here")
    seen = 0
    for path in TRACES.glob("07-approval-cmd-*.jsonl"):
        rules = []
        for line in path.read_text().splitlines():
            message = json.loads(line).get("msg", {})
            if message.get("method") != "item/commandExecution/requestApproval":
                continue
            params = message["params"]
            policy = "untrusted" if "untrusted" in path.name else "on-request"
            escalated = policy == "on-request"
            decision = decide(
                policy,
                ReadOnly(),
                shlex.split(params["command"]),
                escalated=escalated,
                rules=rules,
                reason=params.get("reason"),
            )
            amendment = tuple(params["proposedExecpolicyAmendment"])
            assert decision == Ask(params.get("reason"), sandboxed=not escalated, amendment=amendment)
            rules.append(Rule(amendment))
            seen += 1
    assert seen >= 5


def test_a_script_with_arguments_is_not_split():
    assert segments(["bash", "-lc", "ls", "x"]) == (("bash", "-lc", "ls", "x"),)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /", "rm -f x", "/bin/rm -fr x", "rm -r -f x", "rm --force x", "rm x -f", "sudo rm -rf x", "ls && rm -rf x",
        "printf x | rm -rf y", "if test -d a; then rm --force a; fi", 'rm -rf "$TARGET" >/dev/null',
        'for t in a b; do rm -r -f "$t"; done', 'echo "$(rm -rf x)"', "echo `rm -f x`", "(cd a; rm -rf b)", "X=1 rm -f y",
    ],
)  # fmt: skip
def test_dangerous(command):
    assert dangerous(bash(command))


@pytest.mark.parametrize(
    "command",
    [
        "rm -r x",
        "rm -- -f",
        "echo 'rm -rf x'",
        'echo "a; rm -rf x"',
        "cmd=rm; $cmd -rf x",
        "ls",
        "grep 'rm -f' x",
    ],
)
def test_not_dangerous(command):
    assert not dangerous(bash(command))


words = st.text(alphabet="ab '\"|&;$<>()*\\\n=#~{}[]!-/.", max_size=8)


@given(st.lists(st.lists(words, min_size=1, max_size=3), min_size=1, max_size=3))
def test_quoted_words_come_back_or_nothing_does(commands):
    script = " && ".join(shlex.join(command) for command in commands)
    found = plain_commands(script)
    assert found is None or found == [tuple(command) for command in commands]


@given(st.text(alphabet="ab '\"|&;\n", max_size=14))
def test_what_is_split_is_what_a_shell_would_run(script):
    found = plain_commands(script)
    if found is None:
        return
    # Every name is a function that reports its words; true or false decides nothing, so each operator is made `;`.
    names = {command[0] for command in found}
    if not all(name and set(name) <= {"a", "b"} for name in names):
        return
    report = "\n".join(f'{name}() {{ printf "%s\\0" {name} "$@" END >&9; }}' for name in names)
    plain = " ; ".join(shlex.join(command) for command in found)

    def words_of(text):
        return sorted(
            subprocess.run(
                ["bash", "-c", f"exec 9>&1\n{report}\n{text}"],
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
            ).stdout.split(b"END\0")
        )

    # `||` skips what follows a success; with it the shell runs a part of what was found.
    if "||" in script:
        assert set(words_of(script)) <= set(words_of(plain))
    else:
        assert words_of(script) == words_of(plain)


def test_session_keys_are_canonical():
    one = approval_key(["ls"], "/w", {"b": 1, "a": [2]})
    assert one == approval_key(("ls",), "/w", {"a": [2], "b": 1})
    assert one != approval_key(["ls"], "/x", {"a": [2], "b": 1})
    assert json.loads(one)["argv"] == ["ls"]


def test_what_follows_a_denial():
    assert escalation("untrusted", approved=True).on_denial == "retry"
    assert escalation("untrusted", approved=False).on_denial == "ask"
    for policy in ("on-request", "never"):
        assert escalation(policy, approved=True).on_denial == "report"
    assert escalation(GRANULAR, approved=False).on_denial == "ask"
    assert escalation(SILENT, approved=False).on_denial == "report"


@pytest.mark.parametrize("shell", ["/tmp/bash", "./bash", "sub/sh", "/ws/zsh", "/bin/../tmp/bash"])
def test_a_shell_the_model_may_have_written_is_no_shell(shell):
    argv = [shell, "-lc", "ls"]
    assert isinstance(decide("untrusted", ReadOnly(), argv), Ask)
    assert decide("on-request", ReadOnly(), argv, rules=(Rule(("ls",)),)) == Run()
    assert isinstance(decide("on-request", ReadOnly(), [shell, "-lc", "rm -rf x"]), Ask)
