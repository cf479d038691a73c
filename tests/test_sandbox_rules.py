"""Rules files: what is read of them, what is wrong with them, and what they do in a turn."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_backends.decision import Rule
from sandbox_backends.rules import RuleBook, RuleError, load_rules, parse_rules, remember

FILE = "/home/u/.codex/rules/mine.rules"


def rules_of(text):
    return [(rule.prefix, rule.decision) for rule in parse_rules(text, FILE)]


def test_alternatives_names_and_inert_calls_are_read():
    text = (
        '"""Mine."""\n# a comment\nbase = ["git"]\n'
        'prefix_rule(pattern=base + [["push", "fetch"]], decision="prompt", match=["git push x"])\n'
        'host_executable(name="git", paths=["/usr/bin/git"])\n'
        'prefix_rule(["ls"])\n'
    )
    assert rules_of(text) == [
        (("git", "push"), "prompt"),
        (("git", "fetch"), "prompt"),
        (("ls",), "allow"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('prefix_rule(pattern=["a"]', 1, "'(' was never closed"),
        ('\nprefix_rule(pattern=["a"], decision="forbid")', 2, "invalid decision: forbid"),
        ("prefix_rule(pattern=[])", 1, "pattern cannot be empty"),
        ('prefix_rule(pattern=["a", []])', 1, "pattern alternatives cannot be empty"),
        ('prefix_rule(pattern="a")', 1, "`pattern` must be a list"),
        ('prefix_rule(pattern=["a"], foo="1")', 1, "prefix_rule has no parameter `foo`"),
        ('prefix_rule(pattern=["a"], match=["b c"])', 1, "expected example to match the rule: b c"),
        ('prefix_rule(pattern=["a"], not_match=["a"])', 1, "expected example to not match the rule: a"),
        ('prefix_rule(pattern=["a"], justification=" ")', 1, "justification must be a string"),
        ("prefix_rule(pattern=x)", 1, "variable `x` not found"),
        ('import os\nos.system("true")', 1, "only prefix_rule"),
        (
            "prefix_rule(pattern=[" + '["a","b"],' * 13 + "])",
            1,
            "the alternatives make more than 4096 prefixes",
        ),
    ],
)
def test_a_mistake_is_told_with_file_and_line(text, line, reason):
    with pytest.raises(RuleError) as caught:
        parse_rules(text, FILE)
    assert str(caught.value).startswith(f"{FILE}:{line}: {reason}")


@given(st.text(max_size=80))
def test_any_text_is_rules_or_a_rule_error(text):
    for source in (text, f"prefix_rule(pattern={text})", f'prefix_rule(pattern=["a"], decision="{text}")'):
        try:
            rules = parse_rules(source, FILE)
        except RuleError as error:
            rules = ()
            file = error.file
        else:
            file = FILE
        assert file == FILE
        assert all(isinstance(rule, Rule) for rule in rules)


def test_a_broken_file_leaves_the_others_in_force_and_changes_are_seen(tmp_path):
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "a.rules").write_text("oops(")
    (folder / "b.rules").write_text('prefix_rule(pattern=["ls"])\n')
    os.mkfifo(folder / "c.rules")
    book = RuleBook(str(tmp_path))
    assert [rule.prefix for rule in book.rules()] == [("ls",)]
    assert [Path(mistake.file).name for mistake in book.untold()] == ["a.rules"]
    assert book.untold() == []
    (folder / "a.rules").write_text('prefix_rule(pattern=["rm"], decision="forbidden")')
    assert [rule.prefix for rule in book.rules()] == [("rm",), ("ls",)]
    assert book.untold() == []


def test_what_is_remembered_is_read_here_and_by_codex(tmp_path, binary):
    words = ["touch", '/tmp/x "é\\', "a\nb"]
    remember(str(tmp_path), words)
    remember(str(tmp_path), words)
    rules, mistakes = load_rules(str(tmp_path))
    assert ([rule.prefix for rule in rules], mistakes) == ([tuple(words)], ())
    done = subprocess.run(
        [binary, "execpolicy", "check", "--rules", tmp_path / "rules" / "default.rules", *words, "more"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["decision"] == "allow"


@pytest.mark.parametrize(
    "text",
    [
        'prefix_rule(pattern=["git", ["push", "fetch"]], decision="prompt", justification="ask first")',
        'prefix_rule(pattern=["git"])\nprefix_rule(pattern=["git", "push"], decision="forbidden")',
        'x = ["git"]\nprefix_rule(pattern=x + ["push"], decision="forbidden")',
    ],
)
def test_codex_reads_the_same_rules(tmp_path, binary, text):
    file = tmp_path / "x.rules"
    file.write_text(text)
    strictness = ("allow", "prompt", "forbidden")
    for command in ("git push origin", "git status", "ls"):
        words = shlex.split(command)
        done = subprocess.run(
            [binary, "execpolicy", "check", "--rules", file, *words], capture_output=True, check=True
        )
        found = [rule.decision for rule in parse_rules(text, str(file)) if rule.matches(words)]
        ours = max(found, key=strictness.index, default=None)
        assert json.loads(done.stdout).get("decision") == ours


# --- in a turn ---------------------------------------------------------------------------------------


def outputs(model):
    return [i["output"] for i in model.requests()[-1].body["input"] if i.get("type", "").endswith("_output")]


def completed(told):
    lines = [line["params"] for line in told if line["method"] == "item/completed"]
    return [line["item"] for line in lines if line["item"]["type"] == "commandExecution"]


def test_a_denied_command_says_which_rule_denied_it(server, model, home):
    (home / "rules").mkdir()
    (home / "rules" / "team.rules").write_text(
        'prefix_rule(pattern=["git", "push"], decision="forbidden", justification="use the button")\n'
    )
    client = server()
    thread = client.start_thread(sandbox="workspace-write")
    told = client.turn(thread, "!run git status; git push origin main\n!then\n!say ok")
    assert "use the button (rule at team.rules:1)" in outputs(model)[0]
    assert completed(told) == []


def test_a_rule_can_ask_and_a_broken_file_is_told(server, home):
    asked = []

    def answer(_method, params):
        asked.append(params["reason"])
        return {"decision": "accept"}

    (home / "rules").mkdir()
    (home / "rules" / "broken.rules").write_text("nonsense(")
    (home / "rules" / "ok.rules").write_text('prefix_rule(pattern=["echo"], decision="prompt")\n')
    client = server(handler=answer)
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="on-request")
    told = client.turn(thread, "!run echo hi\n!then\n!say ok")
    assert asked == ["`/bin/bash -lc 'echo hi'` requires approval by policy"]
    assert completed(told)[0]["exitCode"] == 0
    [warning] = [line["params"] for line in told if line["method"] == "configWarning"]
    assert warning["path"] == str(home / "rules" / "broken.rules")
    assert warning["details"].startswith(f"{home}/rules/broken.rules:1: ")


def test_an_accepted_amendment_holds_after_a_restart(server, home, workspace, tmp_path):
    asked = []
    target = tmp_path / "outside"

    def answer(_method, params):
        asked.append(params)
        amendment = {"execpolicy_amendment": params["proposedExecpolicyAmendment"]}
        return {"decision": {"acceptWithExecpolicyAmendment": amendment}}

    text = f"!run-escalated touch {target}\n!then\n!say ok"
    first = server(handler=answer)
    told = first.turn(first.start_thread(sandbox="read-only", approvalPolicy="on-request"), text)
    assert completed(told)[0]["exitCode"] == 0
    first.close()
    rules = (home / "rules" / "default.rules").read_text()
    assert rules == f'prefix_rule(pattern=["touch", "{target}"], decision="allow")\n'
    target.unlink()
    second = server(handler=answer)
    told = second.turn(second.start_thread(sandbox="read-only", approvalPolicy="on-request"), text)
    assert completed(told)[0]["exitCode"] == 0
    assert target.exists()
    assert len(asked) == 1


def granular(*, sandbox):
    kinds = {"mcp_elicitations": True, "rules": True, "sandbox_approval": sandbox}
    return {"granular": kinds}


@pytest.mark.parametrize(("decision", "exists"), [("accept", True), ("decline", False)])
def test_after_a_denial_it_is_asked_and_then_run_once_without_the_sandbox(
    server, model, tmp_path, decision, exists
):
    asked = []

    def answer(_method, params):
        asked.append(params)
        return {"decision": decision}

    target = tmp_path / "outside"
    client = server(handler=answer)
    thread = client.start_thread(
        sandbox="read-only", approvalPolicy="on-request", config={"approval_policy": granular(sandbox=True)}
    )
    told = client.turn(
        thread,
        f"!run touch {target} && echo done\n!then\n!say ok",
        approvalPolicy=granular(sandbox=True),
    )
    [params] = asked
    assert params["reason"] == "command failed; retry without sandbox?"
    [item] = completed(told)
    assert params["itemId"] == item["id"]
    assert item["status"] == ("completed" if exists else "failed")
    assert target.exists() is exists
    assert ("done" in outputs(model)[0]) is exists
    started = [line["params"]["item"]["id"] for line in told if line["method"] == "item/started"]
    assert started.count(item["id"]) == 1


def test_under_on_request_a_denial_is_the_models_to_read(server, model, tmp_path):
    asked = []
    client = server(handler=lambda _method, params: asked.append(params))
    thread = client.start_thread(sandbox="read-only", approvalPolicy="on-request")
    told = client.turn(thread, f"!run touch {tmp_path}/outside\n!then\n!say ok")
    assert completed(told)[0]["status"] == "failed"
    assert "Read-only file system" in outputs(model)[0]
    assert asked == []
