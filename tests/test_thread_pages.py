"""A thread's turns and items in pages, and resuming by path and from items."""

from __future__ import annotations

import json

import pytest
import thread_talks
from thread_talks import NOBODY, refusal, talk

client = thread_talks.client


def ordinal(cursor):
    place = json.loads(cursor)
    return place["rolloutOrdinal"], place["includeAnchor"]


@pytest.mark.parametrize("loaded", [True, False])
def test_turns_and_items_come_in_pages(server, loaded):
    client = server()
    thread = client.start_thread()
    turns = talk(client, thread, *"abcde")
    if not loaded:
        client.close()
        client = server()

    def page(method, **params):
        return client.request(method, {"threadId": thread, **params})

    newest = page("thread/turns/list", limit=2)
    assert [turn["id"] for turn in newest["data"]] == [turns[4], turns[3]]
    assert [turn["itemsView"] for turn in newest["data"]] == ["summary"] * 2
    older = page("thread/turns/list", limit=2, cursor=newest["nextCursor"], itemsView="notLoaded")
    assert [(turn["id"], turn["items"]) for turn in older["data"]] == [(turns[2], []), (turns[1], [])]
    # The cursor of a page's first turn, in the other direction, shows that turn again.
    forth = page("thread/turns/list", limit=9, cursor=older["backwardsCursor"], sortDirection="asc")
    assert [turn["id"] for turn in forth["data"]] == turns[2:]
    assert forth["nextCursor"] is None
    oldest = page("thread/turns/list", cursor=older["nextCursor"])
    assert ([turn["id"] for turn in oldest["data"]], oldest["nextCursor"]) == ([turns[0]], None)
    assert ordinal(newest["backwardsCursor"])[1] is True

    items = page("thread/items/list", limit=3)
    assert [entry["turnId"] for entry in items["data"]] == [turns[0], turns[0], turns[1]]
    rest = page("thread/items/list", cursor=items["nextCursor"], limit=100)
    assert len(rest["data"]) == 7
    back = page("thread/items/list", limit=1, sortDirection="desc")
    assert back["data"][0] == rest["data"][-1]
    of_turn = page("thread/items/list", turnId=turns[1])["data"]
    assert [entry["item"]["type"] for entry in of_turn] == ["userMessage", "agentMessage"]
    anchor = {"type": "item", "itemId": of_turn[0]["item"]["id"]}
    assert page("thread/items/list", turnId=turns[1], cursor=anchor)["data"] == of_turn[1:]
    ids = [of_turn[1]["item"]["id"]]
    assert page("thread/items/read", turnId=turns[1], itemIds=ids)["data"] == of_turn[1:]
    there = {"threadId": thread}
    bad = newest["nextCursor"]
    assert refusal(client, "thread/items/list", **there, cursor=bad)[1] == f"invalid cursor: {bad}"
    assert refusal(client, "thread/turns/list", **there, cursor="bogus")[1] == "invalid cursor: bogus"
    assert refusal(client, "thread/items/list", **there, cursor=anchor)[0] == -32602


def test_outputs_are_fetched_when_they_are_wanted(client):
    thread = client.start_thread(sandbox="danger-full-access", approvalPolicy="never")
    client.turn(thread, "!run echo hello\n!then\n!say done")
    (turn,) = client.request("thread/turns/list", {"threadId": thread})["data"]
    at = {"threadId": thread, "turnId": turn["id"]}
    deferred = client.request("thread/items/list", {**at, "deferOutput": {"commandExecution": True}})["data"]
    command = next(entry for entry in deferred if entry["item"]["type"] == "commandExecution")
    assert (command["item"]["aggregatedOutput"], command["outputDeferred"]) == (None, True)
    read = client.request("thread/items/read", {**at, "itemIds": [command["item"]["id"]]})["data"]
    assert read[0]["item"]["aggregatedOutput"] == "hello\n"
    assert "outputDeferred" not in read[0]


def test_resume_brings_a_page_and_the_cursors_to_go_on(server):
    client = server()
    thread = client.start_thread()
    turns = talk(client, thread, *"abc")
    client.close()
    client = server()
    answer = client.request(
        "thread/resume",
        {"threadId": thread, "excludeTurns": True, "initialTurnsPage": {"limit": 2, "itemsView": "full"}},
    )
    page = answer["initialTurnsPage"]
    assert [turn["id"] for turn in page["data"]] == [turns[2], turns[1]]
    assert answer["thread"]["turns"] == []
    at = {"threadId": thread, "sortDirection": "desc", "limit": 1}
    newest = client.request("thread/turns/list", {**at, "cursor": answer["turnsBackwardsCursor"]})["data"]
    assert [turn["id"] for turn in newest] == [turns[2]]
    item = client.request("thread/items/list", {**at, "cursor": answer["itemsBackwardsCursor"]})["data"]
    assert item[0]["item"]["text"] == "c"


def test_resume_by_path(server):
    client = server()
    thread, other = client.start_thread(), client.start_thread()
    talk(client, thread, "one")
    talk(client, other, "two")
    path = client.request("thread/read", {"threadId": thread})["thread"]["path"]
    code, text = refusal(client, "thread/resume", threadId=other, path=path)
    assert code == -32600
    assert text.startswith(
        f"cannot resume running thread {other} with stale path: requested `{path}`, active `"
    )
    client.close()
    client = server()
    answer = client.request("thread/resume", {"threadId": "", "path": path})
    assert (answer["thread"]["id"], len(answer["thread"]["turns"])) == (thread, 1)
    again = client.request("thread/resume", {"threadId": thread, "path": path, "excludeTurns": True})
    assert again["thread"]["id"] == thread


def test_resume_from_items_begins_a_new_thread(client, model):
    history = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "from before"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]},
    ]
    answer = client.request("thread/resume", {"threadId": NOBODY, "history": history})
    thread = answer["thread"]["id"]
    assert thread != NOBODY
    assert answer["thread"]["preview"] == "from before"
    client.kill_worker(thread)
    talk(client, thread, "after")
    assert model.requests()[-1].body["input"][:2] == history
    assert refusal(client, "thread/resume", threadId=thread, history=history)[1] == (
        f"cannot resume thread {thread} with history while it is already running"
    )
