"""What clients do with whole threads: fork, revert, delete, page, find, annotate, let go."""

from __future__ import annotations

import json

import pytest
from protocol_client import RpcError
from running_server import Marked, RunningServer, runtime_folder, write_config

NOBODY = "01a20402-fda2-74a2-98ce-91922c68316b"


@pytest.fixture(scope="module")
def client(scripted, tmp_path_factory):
    """One server for the tests that look at nothing but threads of their own."""
    home, workspace = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("workspace")
    write_config(home, scripted.url)
    with runtime_folder() as runtime:
        marked = Marked(home, runtime)
        try:
            with RunningServer(marked=marked, cwd=workspace) as running:
                running.initialize(experimentalApi=True)
                yield running
        finally:
            assert not marked.end(), "processes were left"


def refusal(client, method, **params):
    with pytest.raises(RpcError) as caught:
        client.request(method, params)
    return caught.value.code, caught.value.message


def talk(client, thread, *words):
    """A turn for each word; their ids."""
    ended = [client.turn(thread, f"!say {word}")[-1] for word in words]
    return [line["params"]["turn"]["id"] for line in ended]


def said(client, thread):
    """What the model has said in each turn, by the thread's pages."""
    turns = client.request("thread/turns/list", {"threadId": thread, "sortDirection": "asc"})["data"]
    return [turn["items"][-1]["text"] for turn in turns]


def stored(client, thread):
    """The lines of the thread's present rollout."""
    path = client.request("thread/read", {"threadId": thread})["thread"]["path"]
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# --- forks ----------------------------------------------------------------------------------------------------------


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


# --- reverts ----------------------------------------------------------------------------------------------------------


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


# --- deletion ---------------------------------------------------------------------------------------------------------


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


# --- pages ------------------------------------------------------------------------------------------------------------


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


# --- resuming by path, and from items -----------------------------------------------------------------------------------


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


# --- beginnings -----------------------------------------------------------------------------------------------------------


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


# --- lists and notes ------------------------------------------------------------------------------------------------------


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


# --- letting go -------------------------------------------------------------------------------------------------------------


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


# --- the model provider -------------------------------------------------------------------------------------


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
