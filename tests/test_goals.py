"""A thread with a goal begins turns by itself, and there is always something that ends them.

The scripted model plays the script that stands in the objective, once for each turn of the goal.
"""

from __future__ import annotations

import json

import pytest
from protocol_client import RpcError
from running_server import write_config

from rollouts.reader import read_history
from workers.goal import IDLE_TURNS

DONE = '!tool update_goal {"status": "complete"}\n!then\n!say reached'
LOOK = "!run true\n!then\n!say working"
HANG = "!say begun\n!hang"
TOKENS = 110
"""What the scripted model asks for a response with `!usage 100 10`."""


def after_a_turn(client):
    """The client with a thread that has had a turn: a goal is set where a conversation is."""
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    return client, thread


def set_goal(client, thread, **wishes):
    return client.request("thread/goal/set", {"threadId": thread, **wishes})["goal"]


def goal_of(client, thread):
    return client.request("thread/goal/get", {"threadId": thread})["goal"]


def await_goal(client, status, *, since=0):
    """The notification with which the goal gets to a status."""
    return client.wait_for(
        lambda message: (
            message.get("method") == "thread/goal/updated" and message["params"]["goal"]["status"] == status
        ),
        since=since,
        what=f"a goal that is {status}",
    )


def next_turn(client, since):
    return client.wait_for("turn/started", since=since).params["turn"]["id"]


def turn_after(client, turn, since):
    return client.wait_for(
        lambda message: message.get("method") == "turn/started" and message["params"]["turn"]["id"] != turn,
        since=since,
    ).params["turn"]["id"]


def told(client, since):
    """The methods of what was said, with the status of goals, without what comes when it likes."""
    lines = []
    for line in client.received(since=since):
        if line.method in {"turn/started", "turn/completed", "thread/goal/cleared", "warning", "error"}:
            lines.append(line.method)
        elif line.method == "thread/goal/updated":
            lines.append(line.params["goal"]["status"])
    return lines


def refusal(client, method, **params):
    with pytest.raises(RpcError) as refused:
        client.request(method, params)
    return refused.value.message


def test_a_goal_is_pursued_turn_after_turn_until_the_model_says_that_it_is_reached(server, model, home):
    client, thread = after_a_turn(server())
    since = client.mark()
    goal = set_goal(client, thread, objective=LOOK + "\n!usage 100 10")
    assert (goal["status"], goal["tokensUsed"], goal["tokenBudget"]) == ("active", 0, None)
    first = next_turn(client, since)
    ended = client.end_of(first, since=since)
    assert ended["status"] == "completed"
    second = turn_after(client, first, since)
    edited = client.mark()
    set_goal(client, thread, objective=DONE)
    await_goal(client, "complete", since=edited)
    client.wait_for("thread/readState/changed", since=edited)
    goal = goal_of(client, thread)
    assert goal["tokensUsed"] > 0
    assert goal["status"] == "complete"
    counted = [line.params for line in client.received("thread/goal/updated", since=since)]
    assert {first, None} <= {params["turnId"] for params in counted}
    order = told(client, since)
    # What a turn cost is told before its end, and the next turn begins at once.
    assert order[:3] == ["active", "turn/started", "active"]
    assert "turn/completed" in order
    started = [line.params["turn"]["id"] for line in client.received("turn/started", since=since)]
    assert started[:2] == [first, second]
    # Nobody has said anything: the turns have no message of a user, and their beginnings say why they are.
    items = [line.params["item"]["type"] for line in client.received("item/completed", since=since)]
    assert "userMessage" not in items
    [rollout] = (home / "sessions").rglob("*.jsonl")
    lines = [json.loads(line)["payload"] for line in rollout.read_text().splitlines()]
    triggers = [
        line["turn_attribution"]["turn_trigger"] for line in lines if line.get("type") == "task_started"
    ]
    assert triggers[:2] == [None, "goal"]
    names = [tool.get("name") for tool in model.requests()[0].body["tools"]]
    assert {"get_goal", "create_goal", "update_goal"} <= set(names)


def test_unread_is_told_when_the_thread_comes_to_rest(server):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=LOOK)
    client.end_of(next_turn(client, since), since=since)
    assert not client.received("thread/readState/changed", since=since)
    set_goal(client, thread, status="paused")
    client.wait_for("thread/readState/changed", since=since)


def test_an_interrupt_stops_it_until_the_user_has_spoken(server):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=HANG)
    turn = next_turn(client, since)
    client.first_delta(thread, since=since)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn, since=since)["status"] == "interrupted"
    assert goal_of(client, thread)["status"] == "active"
    assert len(client.received("turn/started", since=since)) == 1
    since = client.mark()
    spoken = client.begin_turn(thread, "!say yes?")
    assert client.end_of(spoken, since=since)["status"] == "completed"
    after = turn_after(client, spoken, since)
    client.request("turn/interrupt", {"threadId": thread, "turnId": after})
    since = client.mark()
    client.request("thread/resume", {"threadId": thread, "excludeTurns": True})
    client.request("turn/interrupt", {"threadId": thread, "turnId": next_turn(client, since)})


def test_what_the_user_says_goes_first(server):
    """A turn/start that waits for the end of a turn has the place of the goal's."""
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=HANG)
    turn = next_turn(client, since)
    client.first_delta(thread, since=since)
    client.start_request("turn/interrupt", {"threadId": thread, "turnId": turn})
    spoken = client.begin_turn(thread, "!say first me")
    started = [line.params["turn"]["id"] for line in client.received("turn/started", since=since)]
    client.end_of(spoken, since=since)
    assert turn in started
    begun = [line.params["turn"]["id"] for line in client.received("turn/started", since=since)][:2]
    assert begun == [turn, spoken]


def test_a_budget_that_is_spent_ends_it_and_the_turn_may_come_to_an_end(server, model):
    client, thread = after_a_turn(server())
    since = client.mark()
    script = "!usage 100 10\n!run true\n!then\n!usage 100 10\n!run true\n!then\n!say that is all"
    set_goal(client, thread, objective=script, tokenBudget=TOKENS)
    turn = next_turn(client, since)
    await_goal(client, "budgetLimited", since=since)
    assert client.end_of(turn, since=since)["status"] == "completed"
    client.wait_for("thread/readState/changed", since=since)
    goal = goal_of(client, thread)
    assert goal["status"] == "budgetLimited"
    assert goal["tokensUsed"] >= 2 * TOKENS
    assert "budget" in json.dumps(model.requests()[-1].body["input"])
    assert len(client.received("turn/started", since=since)) == 1
    # Neither a pause nor the wish to go on changes that; a larger budget does.
    assert set_goal(client, thread, status="paused")["status"] == "budgetLimited"
    assert set_goal(client, thread, status="active")["status"] == "budgetLimited"
    assert set_goal(client, thread, status="active", tokenBudget=10**6, objective=DONE)["status"] == "active"
    await_goal(client, "complete", since=since)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("!status 400", "blocked"),
        ('!status 429 {"error": {"type": "usage_limit_reached", "message": "enough"}}', "usageLimited"),
    ],
)
def test_a_turn_that_fails_ends_it(server, script, status):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=script)
    turn = next_turn(client, since)
    assert client.end_of(turn, since=since)["status"] == "failed"
    assert told(client, since) == ["active", "turn/started", status, "error", "turn/completed"]
    assert client.row(thread)["why"].startswith(f"goal {status}: ")


def test_a_worker_that_dies_in_its_turn_ends_it_and_says_why(server):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=HANG)
    turn = next_turn(client, since)
    client.first_delta(thread, since=since)
    client.kill_worker(thread)
    assert client.end_of(turn, since=since)["status"] == "failed"
    goal = await_goal(client, "blocked", since=since)
    assert goal.params["turnId"] == turn
    warning = client.wait_for("warning", since=since).params
    assert warning["threadId"] == thread
    assert "SIGKILL" in warning["message"]
    assert "SIGKILL" in client.await_row(thread, lambda row: row["why"].startswith("goal blocked"))["why"]
    assert len(client.received("turn/started", since=since)) == 1
    since = client.mark()
    set_goal(client, thread, status="active", objective=DONE)
    await_goal(client, "complete", since=since)


def test_turns_that_do_nothing_are_not_repeated_for_ever(server):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective="!say still thinking")
    await_goal(client, "blocked", since=since)
    assert str(IDLE_TURNS) in client.wait_for("warning", since=since).params["message"]
    client.wait_for("thread/readState/changed", since=since)
    assert len(client.received("turn/started", since=since)) == IDLE_TURNS


def test_turns_without_a_word_of_the_user_have_a_limit(server, model, home):
    write_config(home, model.url, {"bulkhead.goal_turns": "3"})
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=LOOK)
    await_goal(client, "blocked", since=since)
    assert "goal_turns" in client.wait_for("warning", since=since).params["message"]
    client.wait_for("thread/readState/changed", since=since)
    assert len(client.received("turn/started", since=since)) == 3


def test_a_goal_outlives_the_server_and_a_fork_has_none(server):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=HANG, tokenBudget=10**6)
    client.first_delta(thread, since=since)
    client.close()
    client = server()
    client.request("thread/resume", {"threadId": thread, "excludeTurns": True})
    goal = client.wait_for("thread/goal/updated").params
    assert (goal["goal"]["objective"], goal["goal"]["status"]) == (HANG, "active")
    turn = next_turn(client, 0)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    fork = client.request("thread/fork", {"threadId": thread, "excludeTurns": True})["thread"]["id"]
    assert goal_of(client, fork) is None
    assert goal_of(client, thread)["tokenBudget"] == 10**6
    assert client.request("thread/goal/clear", {"threadId": thread}) == {"cleared": True}
    assert client.request("thread/goal/clear", {"threadId": thread}) == {"cleared": False}


def test_what_the_peers_model_made_of_a_goal_is_in_its_rollout(tmp_path):
    """Codex stores the goal when a client sets it, and after that only in a database of its own."""
    thread = "01a221b8-0781-7950-82c1-d494a0331e42"

    def goal(status, owner=thread):
        return {
            "threadId": owner,
            "objective": "a",
            "status": status,
            "tokensUsed": 7,
            "timeUsedSeconds": 1,
            "createdAt": 1,
            "updatedAt": 2,
        }

    def answered(value):
        text = json.dumps({"goal": value, "remainingTokens": None}, separators=(",", ":"))
        return {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": text}

    meta = {"id": thread, "timestamp": "2026-11-28T10:11:58.689Z", "cwd": "/", "history_mode": "paginated"}
    lines = [
        ("session_meta", meta),
        ("event_msg", {"type": "thread_goal_updated", "threadId": thread, "goal": goal("active")}),
        ("response_item", answered(goal("complete"))),
        ("response_item", answered(goal("blocked", owner="01a221b8-0781-7950-82c1-000000000000"))),
    ]
    path = tmp_path / f"rollout-2026-11-28T10-11-58-{thread}.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {
                    "timestamp": "2026-11-28T10:11:58.701Z",
                    "ordinal": number,
                    "type": kind,
                    "payload": payload,
                },
                separators=(",", ":"),
            )
            + "\n"
            for number, (kind, payload) in enumerate(lines)
        )
    )
    found = read_history(path).goal
    assert found is not None
    assert (found.status, found.tokens_used) == ("complete", 7)


def test_a_drained_thread_begins_no_turn_and_goes_on_with_the_goal_when_it_is_loaded_again(server, bulkhead):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=LOOK)
    next_turn(client, since)
    code, out, _ = bulkhead("drain", thread, "--json")
    assert (code, json.loads(out)["done"]) == (0, [thread])
    last = client.received("turn/completed", since=since)[-1].params["turn"]
    assert last["status"] == "completed"
    since = client.mark()
    client.request("thread/resume", {"threadId": thread, "excludeTurns": True})
    turn = next_turn(client, since)
    set_goal(client, thread, status="paused")
    assert client.end_of(turn, since=since)["status"] == "completed"


def test_a_replaced_worker_goes_on_with_the_goal(server, bulkhead):
    client, thread = after_a_turn(server())
    since = client.mark()
    set_goal(client, thread, objective=LOOK)
    next_turn(client, since)
    code, out, _ = bulkhead("replace", "--json")
    assert (code, json.loads(out)["done"]) == (0, [thread])
    since = client.mark()
    turn = next_turn(client, since)
    assert client.row(thread)["epoch"] == 2
    set_goal(client, thread, status="paused")
    assert client.end_of(turn, since=since)["status"] == "completed"


def test_the_models_tools_make_a_goal_and_are_refused_what_is_not_theirs(server, model):
    client = server()
    thread = client.start_thread()
    calls = [
        ("create_goal", {"objective": " "}, "goal objective must not be empty"),
        (
            "create_goal",
            {"objective": "a", "token_budget": 0},
            "goal budgets must be positive when provided",
        ),
        (
            "update_goal",
            {"status": "complete"},
            "cannot update goal because this thread has no goal",
        ),
        ("get_goal", {}, '{"goal":null,"remainingTokens":null,"completionBudgetReport":null}'),
        ("create_goal", {"objective": "do a", "token_budget": 100000}, '"remainingTokens":100000'),
        ("create_goal", {"objective": "do b"}, "cannot create a new goal because this thread has"),
        ("update_goal", {"status": "active"}, "update_goal can only mark the existing goal complete"),
        ("update_goal", {"status": "paused"}, '"status":"paused"'),
        ("update_goal", {"status": "complete"}, '"status":"complete"'),
        ("create_goal", {"objective": "do c"}, '"objective":"do c"'),
        ("update_goal", {"status": "complete"}, '"completionBudgetReport":null'),
    ]
    since = client.mark()
    script = "\n!then\n".join(f"!tool {name} {json.dumps(arguments)}" for name, arguments, _ in calls)
    client.turn(thread, script + "\n!then\n!say done")
    outputs = [
        item["output"]
        for item in model.requests()[-1].body["input"]
        if item["type"] == "function_call_output"
    ]
    for (name, arguments, expected), output in zip(calls, outputs, strict=True):
        assert expected in output, (name, arguments)
    statuses = [
        (line.params["goal"]["objective"], line.params["goal"]["status"])
        for line in client.received("thread/goal/updated", since=since)
    ]
    assert statuses == [
        ("do a", "active"),
        ("do a", "active"),
        ("do a", "paused"),
        ("do a", "complete"),
        ("do c", "active"),
        ("do c", "active"),
        ("do c", "complete"),
    ]


def test_a_goal_that_cannot_be_is_refused_in_the_peers_words(server, home):
    client = server()
    thread = client.start_thread()
    assert (
        refusal(client, "thread/goal/set", threadId=thread, status="paused")
        == f"cannot update goal for thread {thread}: no goal exists"
    )
    assert (
        refusal(client, "thread/goal/set", threadId=thread, objective=" ")
        == "goal objective must not be empty"
    )
    ephemeral = client.start_thread(ephemeral=True)
    for method, params in [
        ("thread/goal/set", {"objective": "a"}),
        ("thread/goal/get", {}),
        ("thread/goal/clear", {}),
    ]:
        text = refusal(client, method, threadId=ephemeral, **params)
        assert text == f"ephemeral thread does not support goals: {ephemeral}"
    client.close()
    client = server("-c", "features.goals=false")
    thread = client.start_thread()
    assert refusal(client, "thread/goal/get", threadId=thread) == "goals feature is disabled"


def test_a_plan_is_not_carried_on_by_itself(server):
    client = server()
    thread = client.start_thread()
    mode = {"mode": "plan", "settings": {"model": "gpt-5.5"}}
    client.turn(thread, "!say a plan", collaborationMode=mode)
    since = client.mark()
    set_goal(client, thread, objective=LOOK)
    client.turn(thread, "!say more")
    mode["mode"] = "default"
    client.request("thread/settings/update", {"threadId": thread, "collaborationMode": mode})
    assert goal_of(client, thread)["status"] == "active"
    assert len(client.received("turn/started", since=since)) == 1


def test_a_revert_takes_back_turns_and_not_the_goal(server):
    client = server()
    thread = client.start_thread()
    turn = client.begin_turn(thread, "!say hello")
    client.end_of(turn)
    client.turn(thread, "!say again")
    last = client.received("turn/completed")[-1].params["turn"]["id"]
    set_goal(client, thread, objective="later", status="paused")
    client.request("thread/revert", {"threadId": thread, "beforeTurnId": last})
    client.close()
    client = server()
    client.request("thread/resume", {"threadId": thread, "excludeTurns": True})
    assert goal_of(client, thread)["objective"] == "later"
