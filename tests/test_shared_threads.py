"""Forks, reverts and archives that one program makes, read and continued by the other: Bulkhead and Codex 0.169."""

from __future__ import annotations

import pytest
from protocol_client import ProtocolClient
from running_server import Marked


@pytest.fixture
def codex(binary, marked, home):
    """What it leaves behind is not ours to test: it has a mark of its own, and is ended."""
    theirs = Marked(home, marked.runtime)

    def start():
        env = {**marked.env, **theirs.env, "CODEX_HOME": str(home)}
        client = ProtocolClient([binary, "app-server"], cwd=home, env=env)
        client.initialize(experimentalApi=True)
        return client

    yield start
    theirs.end()


def make(client, home):
    """A thread with a fork at a turn, reverted, and an archived one; with their turns as the maker reads them."""
    begun = {"cwd": str(home), "sandbox": "danger-full-access", "approvalPolicy": "never"}
    source = client.request("thread/start", begun)["thread"]["id"]
    ended = [client.turn(source, f"!say {word}")[-1] for word in ("one", "two", "three")]
    turns = [line["params"]["turn"]["id"] for line in ended]
    at = {"threadId": source, "excludeTurns": True, "lastTurnId": turns[1]}
    fork = client.request("thread/fork", at)["thread"]["id"]
    client.turn(fork, "!say four")
    second = client.request("thread/fork", {"threadId": fork, "excludeTurns": True})["thread"]["id"]
    client.request("thread/revert", {"threadId": source, "beforeTurnId": turns[2]})
    client.turn(source, "!say five")
    archived = client.request("thread/start", begun)["thread"]["id"]
    client.turn(archived, "!say six")
    client.request("thread/archive", {"threadId": archived})
    threads = (source, fork, second, archived)
    return threads, [read(client, thread) for thread in threads]


def read(client, thread):
    told = client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]
    return essence(told)


def essence(told):
    """What a thread is and what was said in it."""
    kept = {key: told[key] for key in ("id", "forkedFromId", "historyMode", "cwd")}
    return kept, [
        (turn["id"], turn["status"], turn["startedAt"], turn["durationMs"], turn["items"])
        for turn in told["turns"]
    ]


def go_on(client, threads, seen):
    second, archived = threads[2:]
    client.request("thread/unarchive", {"threadId": archived})
    for thread, known in zip(threads, seen, strict=True):
        assert essence(client.request("thread/resume", {"threadId": thread})["thread"]) == known
        assert read(client, thread) == known
        end = client.turn(thread, "!say more")[-1]["params"]["turn"]
        assert (end["status"], end["items"][-1]["text"]) == ("completed", "more")
    made = client.request("thread/fork", {"threadId": second, "excludeTurns": True})["thread"]["id"]
    assert len(read(client, made)[1]) == 4


def test_codex_goes_on_with_ours(server, codex, home, model):
    """Codex shows turns from a database of its own, which has none of ours before; the model is told of all."""
    ours = server()
    threads, _ = make(ours, home)
    ours.close()
    told = (["one", "two", "five"], ["one", "two", "four"], ["one", "two", "four"], ["six"])
    with codex() as client:
        client.request("thread/unarchive", {"threadId": threads[3]})
        for thread, answers in zip(threads, told, strict=True):
            client.request("thread/resume", {"threadId": thread})
            end = client.turn(thread, "!say more")[-1]["params"]["turn"]
            assert (end["status"], end["items"][-1]["text"]) == ("completed", "more")
            spoken = [item for item in model.requests()[-1].body["input"] if item.get("role") == "assistant"]
            assert [item["content"][0]["text"] for item in spoken] == answers


def test_we_go_on_with_what_codex_made(server, codex, home):
    with codex() as client:
        threads, seen = make(client, home)
    ours = server()
    assert [read(ours, thread) for thread in threads] == seen
    go_on(ours, threads, seen)
