"""One home for two programs: a thread of ours goes on in Codex 0.169, and comes back."""

from __future__ import annotations

from protocol_client import ProtocolClient
from test_turns import PATCH


def ends(told):
    return [line["params"]["turn"]["status"] for line in told if line["method"] == "turn/completed"]


def loaded(client, thread):
    """The kinds of items of each turn, as the program tells them when it loads the thread."""
    assert thread in [row["id"] for row in client.request("thread/list", {})["data"]]
    turns = client.request("thread/resume", {"threadId": thread})["thread"]["turns"]
    return [[item["type"] for item in turn["items"]] for turn in turns]


def test_a_thread_goes_to_codex_and_comes_back(binary, marked, server, model, home):
    client = server()
    thread = client.start_thread()
    assert ends(client.turn(thread, "!run echo one\n!then\n!say said one")) == ["completed"]
    assert ends(client.turn(thread, PATCH)) == ["completed"]
    client.close()

    stored = [
        ["userMessage", "commandExecution", "agentMessage"],
        ["userMessage", "fileChange", "agentMessage"],
    ]
    with ProtocolClient(
        [binary, "app-server"], cwd=home, env={**marked.env, "CODEX_HOME": str(home)}
    ) as codex:
        codex.initialize(experimentalApi=True)
        assert loaded(codex, thread) == stored
        assert ends(codex.turn(thread, "!say Codex was here.")) == ["completed"]
        seen_by_codex = model.requests()[-1].body["input"]

    stored.append(["userMessage", "agentMessage"])
    client = server()
    assert loaded(client, thread) == stored
    assert ends(client.turn(thread, "!say Bulkhead again.")) == ["completed"]
    # The model is told the same story by both: the calls, what came of them, and what was said.
    told = [_essence(item) for item in model.requests()[-1].body["input"]]
    heard = [_essence(item) for item in seen_by_codex]
    start = heard.index(("function_call", None))
    assert told[told.index(("function_call", None)) :][: len(heard) - start] == heard[start:]
    assert ("assistant", "Codex was here.") in told


def _essence(item):
    if item["type"] != "message":
        return (item["type"], None)
    return (item["role"], item["content"][0]["text"])
