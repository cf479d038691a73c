"""Forks, reverts and deletions of threads."""

from __future__ import annotations

import thread_talks
from thread_talks import NOBODY, refusal, said, stored, talk

client = thread_talks.client


def test_a_fork_goes_on_from_its_source(server, model):
    client = server()
    source = client.start_thread()
    turns = talk(client, source, "one", "two")
    client.request("thread/name/set", {"threadId": source, "name": "Named"})
    mark = client.mark()
    answer = client.request("thread/fork", {"threadId": source})
    fork = answer["thread"]
    assert (fork["forkedFromId"], fork["name"], fork["preview"]) == (source, "Named", "!say one")
    assert [turn["id"] for turn in fork["turns"]] == turns
    client.wait_for("thread/started", since=mark)
    assert [line.method for line in client.received(since=mark) if line.method] == [
        "deprecationNotice",
        "thread/tokenUsage/updated",
        "thread/started",
    ]
    talk(client, fork["id"], "three")
    spoken = [item for item in model.requests()[-1].body["input"] if item.get("role") == "assistant"]
    assert [item["content"][0]["text"] for item in spoken] == ["one", "two"]
    assert said(client, fork["id"]) == ["one", "two", "three"]
    assert said(client, source) == ["one", "two"]
    assert set(client.request("thread/loaded/list", {})["data"]) == {source, fork["id"]}


def test_a_fork_at_a_turn_and_a_fork_of_a_fork(server):
    client = server()
    source = client.start_thread()
    turns = talk(client, source, "one", "two", "three")
    forked = {
        "last": {"lastTurnId": turns[1]},
        "before": {"beforeTurnId": turns[1]},
        "empty": {"beforeTurnId": turns[0]},
    }
    made = {
        name: client.request("thread/fork", {"threadId": source, "excludeTurns": True, **at})["thread"]["id"]
        for name, at in forked.items()
    }
    assert {name: said(client, thread) for name, thread in made.items()} == {
        "last": ["one", "two"],
        "before": ["one"],
        "empty": [],
    }
    talk(client, made["last"], "other")
    # Cut below the point at which the first fork was made: the second one builds on the source itself.
    second = client.request("thread/fork", {"threadId": made["last"], "lastTurnId": turns[0]})["thread"]
    meta = stored(client, second["id"])[0]
    assert meta["payload"]["history_base"]["thread_id"] == source
    assert meta["payload"]["forked_from_id"] == made["last"]
    assert meta["ordinal"] == meta["payload"]["forked_from_ordinal_exclusive"]
    assert said(client, second["id"]) == ["one"]
    client.close()
    client = server()
    assert said(client, made["last"]) == ["one", "two", "other"]
    assert len(client.request("thread/resume", {"threadId": made["last"]})["thread"]["turns"]) == 3


def test_a_fork_takes_overrides_and_keeps_them(server, workspace):
    client = server()
    source = client.start_thread()
    talk(client, source, "one")
    answer = client.request(
        "thread/fork",
        {
            "threadId": source,
            "excludeTurns": True,
            "model": "gpt-5.4",
            "sandbox": "workspace-write",
            "approvalPolicy": "never",
            "serviceTier": "flex",
            "threadSource": "tests",
            "baseInstructions": "Be brief.",
        },
    )
    fork = answer["thread"]["id"]
    client.close()
    client = server()
    resumed = client.request("thread/resume", {"threadId": fork, "excludeTurns": True})
    for seen in (answer, resumed):
        assert (seen["model"], seen["approvalPolicy"], seen["serviceTier"]) == ("gpt-5.4", "never", "flex")
        assert seen["sandbox"]["type"] == "workspaceWrite"
        assert seen["thread"]["threadSource"] == "tests"


def test_a_fork_of_a_running_turn_has_it_interrupted(client):
    source = client.start_thread()
    mark = client.mark()
    turn = client.begin_turn(source, "!say begun\n!hang")
    client.first_delta(source, since=mark)
    at_it = {"threadId": source, "lastTurnId": turn}
    code, text = refusal(client, "thread/fork", **at_it)
    assert (code, text) == (-32600, f"lastTurnId '{turn}' identifies an in-progress turn")
    fork = client.request("thread/fork", {"threadId": source, "excludeTurns": True})["thread"]["id"]
    page = client.request("thread/turns/list", {"threadId": fork})["data"]
    assert [(row["id"], row["status"]) for row in page] == [(turn, "interrupted")]
    client.request("turn/interrupt", {"threadId": source, "turnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"


def test_an_ephemeral_fork_leaves_no_file(server, home):
    client = server()
    source = client.start_thread()
    talk(client, source, "one")
    client.request("thread/name/set", {"threadId": source, "name": "Named"})
    files = sorted(home.rglob("rollout-*"))
    fork = {"threadId": source, "ephemeral": True}
    assert "requires `excludeTurns: true`" in refusal(client, "thread/fork", **fork)[1]
    thread = client.request("thread/fork", {**fork, "excludeTurns": True})["thread"]
    assert (thread["ephemeral"], thread["path"], thread["forkedFromId"]) == (True, None, source)
    assert thread["name"] == "Named"
    talk(client, thread["id"], "two")
    assert sorted(home.rglob("rollout-*")) == files
    there = {"threadId": thread["id"]}
    assert refusal(client, "thread/turns/list", **there) == (
        -32600,
        "ephemeral threads do not support thread/turns/list",
    )
    assert refusal(client, "thread/items/list", **there) == (
        -32601,
        "thread/items/list is not supported yet",
    )
    assert "not persisted" in refusal(client, "thread/delete", **there)[1]
    assert "metadata updates" in refusal(client, "thread/name/set", **there, name="x")[1]
    client.kill_worker(thread["id"])
    talk(client, thread["id"], "three")  # it survives its worker


def test_forks_of_what_cannot_be_forked(client):
    source = client.start_thread()
    assert client.request("thread/fork", {"threadId": source})["thread"]["turns"] == []
    (turn,) = talk(client, source, "one")
    assert refusal(client, "thread/fork", threadId=NOBODY)[1] == f"no rollout found for thread id {NOBODY}"
    assert refusal(client, "thread/fork", threadId="zz")[1].startswith("invalid session id: ")
    assert refusal(client, "thread/fork", threadId=source, lastTurnId="x")[1] == "turn not found: x"
    both = {"threadId": source, "lastTurnId": turn, "beforeTurnId": turn}
    assert "cannot be combined" in refusal(client, "thread/fork", **both)[1]
    assert refusal(client, "thread/fork", threadId=source, path="/nope.jsonl")[1] == (
        "failed to resolve rollout path `/nope.jsonl`: file does not exist"
    )
    client.request("thread/archive", {"threadId": source})
    assert "is archived" in refusal(client, "thread/fork", threadId=source)[1]


def test_a_revert_forgets_turns_in_a_new_file(server, model, home):
    client = server()
    thread = client.start_thread()
    turns = talk(client, thread, "one", "two", "three")
    first = client.request("thread/read", {"threadId": thread})["thread"]["path"]
    mark = client.mark()
    answer = client.request("thread/revert", {"threadId": thread, "beforeTurnId": turns[1]})
    client.wait_for("thread/reverted", since=mark)
    told = [line for line in client.received(since=mark) if line.method == "thread/status/changed"]
    assert [line.params["status"]["type"] for line in told] == ["notLoaded", "idle"]
    path = answer["thread"]["path"]
    assert path != first
    assert f"-{thread}_" in path
    assert said(client, thread) == ["one"]
    talk(client, thread, "four")
    spoken = [item for item in model.requests()[-1].body["input"] if item.get("role") == "assistant"]
    assert [item["content"][0]["text"] for item in spoken] == ["one"]
    client.kill_worker(thread)
    assert said(client, thread) == ["one", "four"]
    again = client.request("thread/revert", {"threadId": thread, "beforeTurnId": turns[0]})
    assert (again["turnsBackwardsCursor"], again["itemsBackwardsCursor"]) == (None, None)
    assert refusal(client, "thread/revert", threadId=thread, beforeTurnId="x")[1] == "turn not found: x"
    talk(client, thread, "five")
    client.close()
    client = server()
    assert said(client, thread) == ["five"]
    assert [row["id"] for row in client.request("thread/list", {})["data"]] == [thread]
    assert (
        refusal(client, "thread/revert", threadId=thread, beforeTurnId="x")[1]
        == f"thread not found: {thread}"
    )


def test_a_revert_interrupts_what_runs(client):
    thread = client.start_thread()
    talk(client, thread, "one")
    mark = client.mark()
    turn = client.begin_turn(thread, "!say begun\n!hang")
    client.first_delta(thread, since=mark)
    client.request("thread/revert", {"threadId": thread, "beforeTurnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"
    assert said(client, thread) == ["one"]


def test_deletion_takes_all_files_but_none_that_a_fork_needs(server, home):
    client = server()
    thread = client.start_thread()
    (turn, _) = talk(client, thread, "one", "two")
    client.request("thread/revert", {"threadId": thread, "beforeTurnId": turn})
    talk(client, thread, "three")
    fork = client.request("thread/fork", {"threadId": thread, "excludeTurns": True})["thread"]["id"]
    code, text = refusal(client, "thread/delete", threadId=thread)
    assert (code, text) == (-32600, f"cannot delete thread {thread}: forked history still references it")
    assert thread in client.request("thread/loaded/list", {})["data"]
    client.request("thread/delete", {"threadId": fork})
    mark = client.mark()
    client.request("thread/delete", {"threadId": thread})
    client.wait_for("thread/deleted", since=mark)
    assert list(home.rglob("rollout-*")) == []
    assert client.request("thread/list", {})["data"] == []
    assert refusal(client, "thread/delete", threadId=thread)[1] == f"no rollout found for thread id {thread}"
