"""The language of the scripted model, and where a conversation stands in a script."""

from __future__ import annotations

import contextlib
import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from modelserver_calls import PATCH, ROOT, user

import modelserver
from modelserver import conversation
from modelserver.actions import (
    Cut,
    Fail,
    Hang,
    Incomplete,
    Patch,
    Plan,
    PlanEntry,
    Run,
    Say,
    Script,
    Sleep,
    Status,
    Stdin,
    Step,
    Stream,
    Think,
    Tool,
    Usage,
    View,
)
from modelserver.errors import ScriptError
from modelserver.frames import pieces, words
from modelserver.script import DIRECTIVES, parse


@given(st.text())
@example("!say <<END\nnever closed")
@example("!status 429 {")
@example('!stdin 1 "\\')
def test_every_text_is_read_or_refused_with_its_line(text):
    refused_at = 1
    try:
        parse(text)
    except ScriptError as error:
        refused_at = error.line
    assert 1 <= refused_at <= text.count("\n") + 1


@given(st.lists(st.sampled_from(DIRECTIVES)), st.data())
def test_every_mix_of_directives_is_read_or_refused(names, data):
    rest = st.one_of(
        st.just(""), st.just("1 2"), st.just("<<END"), st.just("last <<END"), st.text(max_size=12)
    )
    with contextlib.suppress(ScriptError):
        parse("\n".join(f"!{name} {data.draw(rest)}" for name in names))


line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1).filter(
    lambda text: text == text.strip() and not text.startswith("<<")
)

word = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)

PLAN_MARKS = {"completed": "x", "in_progress": ">", "pending": " "}

step_text = line.filter(lambda text: ";" not in text)

SAYINGS = st.one_of(
    line.map(lambda text: (f"!say {text}", Say(text))),
    line.map(lambda text: (f"!comment {text}", Say(text, "commentary"))),
    line.map(lambda text: (f"!final {text}", Say(text, "final_answer"))),
    line.map(lambda text: (f"!think {text}", Think(text))),
    line.map(lambda text: (f"!think-raw {text}", Think(text, raw=True))),
    st.integers(1, 10**6).map(lambda n: (f"!stream {n} 0.5", Stream(n, 0.5))),
    st.integers(0, 3600).map(lambda n: (f"!sleep {n}", Sleep(float(n)))),
    st.lists(line.filter(lambda text: text != "END"), min_size=1).map(
        lambda lines: ("\n".join(["!say <<END", *lines, "END"]), Say("\n".join(lines)))
    ),
)

CALLS = st.one_of(
    line.map(lambda text: (f"!run {text}", Run(text))),
    line.map(lambda text: (f"!run-escalated {text}", Run(text, escalated=True))),
    line.map(lambda text: (f"!view {text}", View(text))),
    line.filter(lambda text: not text.startswith('"')).map(
        lambda text: (f"!stdin last {text}", Stdin(None, text + "\n"))
    ),
    st.text(min_size=1).map(lambda text: (f"!stdin 7 {json.dumps(text)}", Stdin(7, text))),
    st.tuples(word, line).map(lambda pair: (f"!tool {pair[0]} {pair[1]}", Tool(*pair))),
    st.lists(st.tuples(step_text, st.sampled_from(sorted(PLAN_MARKS))), min_size=1).map(
        lambda entries: (
            "!plan " + "; ".join(f"[{PLAN_MARKS[status]}] {text}" for text, status in entries),
            Plan(tuple(PlanEntry(*entry) for entry in entries)),
        )
    ),
    st.just(("!patch\n" + PATCH.rstrip("\n"), Patch(PATCH))),
)

STEPS = st.tuples(st.lists(SAYINGS, max_size=3), CALLS, st.integers(1, 5))


@given(st.lists(STEPS, min_size=1, max_size=4), st.booleans())
def test_a_script_means_what_was_written(drafts, crlf):
    texts, steps = [], []
    for sayings, one_call, times in drafts:
        parts = [*sayings, one_call]
        texts.append("\n".join(["some prose", f"!repeat {times}", *(text for text, _ in parts)]))
        steps.append(Step(tuple(action for _, action in parts), times=times))
    text = "\n!then\n".join(texts)
    script = parse(text.replace("\n", "\r\n") if crlf else text)
    assert script == Script(tuple(steps))
    rounds = [step for step in steps for _ in range(step.times)]
    assert [script.step_at(number) for number in range(len(rounds) + 1)] == [*rounds, None]


@given(st.text())
def test_deltas_join_to_the_text(text):
    assert "".join(words(text)) == text
    assert "".join(pieces(text)) == text


def test_endings_and_attributes():
    script = parse(
        "```\n!headers x-a=1 X-B=two\n!usage 5 6 7\n!cut-once\n!fail rate_limit_exceeded slow down\n```\n"
    )
    assert script.steps == (
        Step(
            (Cut(once=True), Fail("rate_limit_exceeded", "slow down")),
            headers=(("x-a", "1"), ("x-b", "two")),
            usage=Usage(5, 6, 7, 0),
        ),
    )
    assert parse("!hang").steps == (Step((Hang(),)),)
    assert parse("!incomplete max_output_tokens").steps == (Step((Incomplete("max_output_tokens"),)),)
    assert parse('!status 429 retry-after=1 {"a": 1}').steps == (
        Step(status=Status(429, (("retry-after", "1"),), '{"a": 1}')),
    )


@pytest.mark.parametrize(
    ("text", "wrong_line", "reason"),
    [
        ("hello\n!sya hi", 2, "unknown directive !sya. Did you mean !say?"),
        ("!say", 1, "something must follow"),
        ("!say a\n!then\n!say b", 1, "calls no tool"),
        ("!run a\n!then", 2, "the step at this !then is empty"),
        ("!repeat 3\n!say a", 1, "cannot be repeated"),
        ("!hang\n!say a", 2, "nothing can follow !hang"),
        ("!patch\n*** Begin Patch", 1, "no line `*** End Patch`"),
        ("!sleep forever", 1, "wants seconds"),
        ("!sleep 99999", 1, "wants seconds"),
        ("!status 200", 1, "from 400 to 599"),
        ("!status 500 {oops}", 1, "no JSON"),
        ("!headers content-length=5", 1, "response header"),
        ("!plan do it", 1, "wants `[x] done"),
        ("!usage 1", 1, "wants IN OUT"),
    ],
)
def test_a_wrong_script_is_refused_with_a_reason(text, wrong_line, reason):
    with pytest.raises(ScriptError) as caught:
        parse(text)
    assert caught.value.line == wrong_line
    assert reason in caught.value.reason


def test_every_directive_is_documented():
    page = (ROOT / "docs" / "scripted-model.md").read_text(encoding="utf-8")
    for directive in DIRECTIVES:
        mention = re.compile(rf"!{directive}(?![a-z-])")
        assert mention.search(page), directive
        assert mention.search(modelserver.__doc__), directive


def test_the_clients_own_messages_are_passed_over():
    body = {
        "input": [
            user("!run a"),
            user("<environment_context>\n<cwd>/x</cwd>\n!say trap\n</environment_context>"),
            user("# AGENTS.md instructions\n!say trap"),
        ]
    }
    found = conversation.of_responses(body)
    assert (found.text, found.turn) == ("!run a", 1)


def test_an_image_keeps_its_text():
    content = [
        {"type": "input_text", "text": "<image name=[Image #1]>"},
        {"type": "input_image", "image_url": "data:"},
        {"type": "input_text", "text": "</image>"},
        {"type": "input_text", "text": "!say seen"},
    ]
    assert conversation.of_responses({"input": [{"role": "user", "content": content}]}).text == "!say seen"


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=6), st.booleans())
def test_rounds_are_counted_however_outputs_are_ordered(rounds, foreign):
    given_items = [user("!run a")]
    for number, (calls, interleaved) in enumerate(rounds):
        ids = [
            f"foreign{number}{k}" if foreign else conversation.call_id("u", number, k) for k in range(calls)
        ]
        asked = [{"type": "function_call", "call_id": identity} for identity in ids]
        came = [{"type": "function_call_output", "call_id": identity, "output": ""} for identity in ids]
        if interleaved and not foreign:
            given_items += [item for pair in zip(asked, came, strict=True) for item in pair]
        else:
            given_items += asked + came
    found = conversation.of_responses({"input": given_items})
    assert found.step == len(rounds)
    assert found.outputs == sum(calls for calls, _ in rounds)
    later = conversation.of_responses({"input": [*given_items, user("next")]})
    assert (later.text, later.step, later.turn) == ("next", 0, 2)
