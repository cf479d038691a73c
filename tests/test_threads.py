"""What clients do with whole threads: begin, list, annotate, let go."""

from __future__ import annotations

import json

import pytest
import thread_talks
from protocol_client import RpcError
from thread_talks import NOBODY, refusal, said, stored, talk

client = thread_talks.client


def test_a_legacy_thread_is_stored_and_paged_as_one(client):
    thread = client.request("thread/start", {"historyMode": "legacy"})["thread"]
    assert thread["historyMode"] == "legacy"
    talk(client, thread["id"], "one", "two")
    lines = stored(client, thread["id"])
    assert all("ordinal" not in line for line in lines)
    page = client.request("thread/turns/list", {"threadId": thread["id"], "limit": 1})
    assert page["data"][0]["items"][-1]["text"] == "two"
    assert json.loads(page["nextCursor"]).keys() == {"turnId", "includeAnchor"}
    older = client.request("thread/turns/list", {"threadId": thread["id"], "cursor": page["nextCursor"]})
    assert [turn["items"][-1]["text"] for turn in older["data"]] == ["one"]
    there = {"threadId": thread["id"]}
    assert refusal(client, "thread/items/list", **there)[0] == -32601
    assert refusal(client, "thread/revert", **there, beforeTurnId="x")[1] == (
        "thread/revert only supports paginated threads"
    )
    fork = client.request("thread/fork", there)["thread"]
    assert (fork["historyMode"], len(fork["turns"])) == ("legacy", 2)
    assert said(client, fork["id"]) == ["one", "two"]


def test_experimental_fields_are_refused_to_others(server):
    client = server(initialize=False)
    client.initialize()
    thread = client.start_thread()
    for method, params, name in (
        ("thread/start", {"historyMode": "legacy"}, "thread/start.historyMode"),
        ("thread/start", {"environments": []}, "thread/start.environments"),
        ("thread/resume", {"threadId": thread, "path": "/x"}, "thread/resume.path"),
        ("thread/resume", {"threadId": thread, "initialTurnsPage": {}}, "thread/resume.initialTurnsPage"),
        ("thread/fork", {"threadId": thread, "beforeTurnId": "x"}, "thread/fork.beforeTurnId"),
        ("thread/list", {"parentThreadId": thread}, "thread/list.parentThreadId"),
        ("thread/search", {"searchTerm": "x"}, "thread/search"),
        (
            "thread/metadata/update",
            {"threadId": thread, "daybreakEnabled": True},
            "thread/metadata/update.daybreakEnabled",
        ),
    ):
        assert refusal(client, method, **params) == (-32600, f"{name} requires experimentalApi capability")
    mark = client.mark()
    talk(client, thread, "one")
    assert client.received("thread/readState/changed", since=mark) == []


def test_search_finds_what_was_said(server):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    talk(client, thread, "nothing of note", "a Zebra and " + "very " * 40 + "much more")
    talk(client, other, "a crocodile")
    found = client.request("thread/search", {"searchTerm": "zebra"})["data"]
    assert [row["thread"]["id"] for row in found] == [thread]
    assert found[0]["snippet"].startswith("!say a Zebra and very")
    assert found[0]["snippet"].endswith("...")
    both = client.request("thread/search", {"searchTerm": "!SAY", "limit": 1})
    assert [row["thread"]["id"] for row in both["data"]] == [other]
    rest = client.request("thread/search", {"searchTerm": "!SAY", "cursor": both["nextCursor"]})
    assert [row["thread"]["id"] for row in rest["data"]] == [thread]
    assert client.request("thread/search", {"searchTerm": "tiger"})["data"] == []
    fork = client.request("thread/fork", {"threadId": thread, "excludeTurns": True})["thread"]["id"]
    found = client.request("thread/search", {"searchTerm": "zebra"})["data"]
    assert {row["thread"]["id"] for row in found} == {thread, fork}
    assert (
        refusal(client, "thread/search", searchTerm="")[1] == "thread/search requires a non-empty searchTerm"
    )


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"originators": ["x"]}, (-32602, "originator filtering is not supported by the local app-server")),
        ({"excludedThreadIds": [NOBODY] * 101}, (-32602, "excludedThreadIds accepts at most 100 entries")),
        ({"projectId": "x"}, (-32602, "project not found: x")),
        (
            {"sortKey": "section_position"},
            (-32600, "section-position sorting requires a section filter"),
        ),
        (
            {"includeAttachedThreads": True},
            (-32600, "includeAttachedThreads requires a non-empty searchTerm"),
        ),
    ],
)
def test_lists_that_cannot_be_served(client, params, expected):
    assert refusal(client, "thread/list", **params) == expected


def test_metadata_outlives_reverts_and_restarts(server):
    client = server()
    thread = client.start_thread()
    there = {"threadId": thread}
    unused = refusal(client, "thread/metadata/update", **there, gitInfo={"sha": "a"})
    assert unused == (-32600, f"no rollout found for thread id {thread}")
    (turn,) = talk(client, thread, "one")
    client.request("thread/metadata/update", {**there, "gitInfo": {"sha": "abc", "branch": "main"}})
    told = client.request("thread/metadata/update", {**there, "gitInfo": {"sha": None}})["thread"]
    git = {"sha": None, "branch": "main", "originUrl": None}
    assert told["gitInfo"] == git
    assert client.request("thread/read", there)["thread"]["gitInfo"] == git
    assert "at least one field" in refusal(client, "thread/metadata/update", **there, gitInfo={})[1]
    assert "must not be empty" in refusal(client, "thread/metadata/update", **there, gitInfo={"sha": ""})[1]
    reverted = client.request("thread/revert", {**there, "beforeTurnId": turn})["thread"]
    assert reverted["gitInfo"] == git
    client.close()
    client = server()
    assert client.request("thread/read", there)["thread"]["gitInfo"] == git


def test_what_nobody_has_read_is_told(server):
    client = server()
    thread = client.start_thread()
    there = {"threadId": thread}
    mark = client.mark()
    first, _ = talk(client, thread, "one", "two")
    states = [line.params["readState"] for line in client.received("thread/readState/changed", since=mark)]
    unread = {"type": "turn", "turnId": first}
    assert [state["firstUnread"] for state in states] == [unread, unread]
    assert client.request("thread/list", {})["readStates"] == {thread: states[-1]}
    stale = {**there, "expectedRevision": states[0]["revision"], "operation": {"type": "read"}}
    assert refusal(client, "thread/readState/update", **stale) == (-32600, "read state changed")
    read = {**stale, "expectedRevision": states[-1]["revision"]}
    assert client.request("thread/readState/update", read)["readState"]["firstUnread"] is None
    (third,) = talk(client, thread, "three")
    state = client.request("thread/read", there)["readState"]
    assert state["firstUnread"] == {"type": "turn", "turnId": third}
    client.request("thread/revert", {**there, "beforeTurnId": third})
    assert client.request("thread/read", there)["readState"]["firstUnread"] is None


def test_a_thread_without_clients_is_unloaded(server):
    client = server("-c", "bulkhead.idle_unload_s=0.2")
    thread = client.start_thread()
    there = {"threadId": thread}
    talk(client, thread, "one")
    mark = client.mark()
    assert client.request("thread/unsubscribe", there) == {"status": "unsubscribed"}
    client.wait_for("thread/closed", since=mark)
    told = client.received("thread/status/changed", since=mark)
    assert [line.params["status"]["type"] for line in told] == ["notLoaded"]
    assert client.request("thread/unsubscribe", there) == {"status": "notLoaded"}
    assert client.request("thread/loaded/list", {})["data"] == []
    assert len(client.request("thread/resume", there)["thread"]["turns"]) == 1


def test_who_has_unsubscribed_hears_no_more(server):
    client = server()
    thread = client.start_thread()
    there = {"threadId": thread}
    client.request("thread/unsubscribe", there)
    assert client.request("thread/unsubscribe", there) == {"status": "notSubscribed"}
    mark = client.mark()
    begun = client.request("turn/start", {**there, "input": [{"type": "text", "text": "!say one"}]})
    turn = begun["turn"]
    while turn["status"] == "inProgress":
        (turn,) = client.request("thread/turns/list", there)["data"] or [turn]
    assert [line.method for line in client.received(since=mark) if line.method] == []
    client.request("thread/resume", {**there, "excludeTurns": True})
    talk(client, thread, "two")
    assert client.received("turn/completed", since=mark) != []


def test_a_thread_keeps_its_provider_and_a_fork_may_have_another(server, home):
    config = home / "config.toml"
    text = config.read_text()
    provider = text[text.index("[model_providers.scripted]") :]
    config.write_text(text + provider.replace(".scripted]", ".other]"))
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say one")
    client.close()
    client = server()
    refused = refusal(client, "thread/resume", threadId=thread, modelProvider="other")
    change = "Cannot change this thread's model provider from `scripted` to `other` on resume."
    assert refused == (-32600, f"failed to load configuration: {change}")
    _, message = refusal(client, "thread/resume", threadId=thread, modelProvider="gone")
    assert message == (
        "This chat uses model provider \u201cgone\u201d, which is no longer configured. "
        "Restore this provider\u2019s configuration to continue."
    )
    fork = client.request("thread/fork", {"threadId": thread, "modelProvider": "other"})
    assert (fork["modelProvider"], fork["thread"]["modelProvider"]) == ("other", "other")
    client.kill_worker(fork["thread"]["id"])
    assert client.turn(fork["thread"]["id"], "!say two")[-1]["params"]["turn"]["status"] == "completed"
    assert client.request("thread/resume", {"threadId": thread})["modelProvider"] == "scripted"


def test_a_refused_resume_is_no_answer_to_what_came_with_it(server):
    running = server()
    thread = running.start_thread()
    running.turn(thread, "!say a thread can be resumed when it has had a turn")
    named = {"threadId": thread, "excludeTurns": True}
    rounds = 3
    for _ in range(rounds):
        running.request("thread/archive", {"threadId": thread})
        running.request("thread/unarchive", {"threadId": thread})
        since = running.mark()
        refused = running.start_request("thread/resume", {**named, "modelProvider": "nobody"})
        resumed = running.start_request("thread/resume", named)
        read = running.start_request("thread/read", {"threadId": thread})
        turn = running.send_turn(thread, "!say once")
        with pytest.raises(RpcError, match="nobody"):
            running.result(refused)
        for request in (resumed, read):
            assert running.result(request)["thread"]["id"] == thread
        running.end_of(running.result(turn)["turn"]["id"], since=since)
    stored = running.request("thread/read", {"threadId": thread, "includeTurns": True})
    assert len(stored["thread"]["turns"]) == 1 + rounds


def test_a_thread_is_told_by_its_id_in_its_one_form(server):
    running = server()
    thread = running.start_thread()
    named = {"threadId": thread.upper()}
    running.request("thread/name/set", {**named, "name": "before there is a file"})
    running.turn(thread, "!say hello")
    assert running.request("thread/read", named)["thread"]["name"] == "before there is a file"
    assert running.row(thread)["name"] == "before there is a file"
    running.request("thread/archive", named)
    running.request("thread/unarchive", named)
    for event in ("thread/name/updated", "thread/archived", "thread/unarchived"):
        assert running.wait_for(event).params["threadId"] == thread
