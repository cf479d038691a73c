"""Skills as the model meets them: the list at the beginning, and the text of those that the user names."""

from __future__ import annotations

import pytest
from test_around_turns import texts


@pytest.fixture
def skill(home):
    """Writes a skill into the home; its path."""

    def write(name, body, description="What it is for."):
        path = home / "skills" / name / "SKILL.md"
        path.parent.mkdir(parents=True)
        path.write_text(f"---\nname: {name}\ndescription: {description}\n---\n{body}\n")
        return path

    return write


def told(model):
    """The skills whose text the model was given with the newest input."""
    return [said for said in texts(model) if said.startswith("<skill>")]


def as_told(name, path, body):
    return f"<skill>\n<name>{name}</name>\n<path>{path}</path>\n---\nname: {name}\ndescription: What it is for.\n---\n{body}\n\n</skill>"


def send(client, thread, *items):
    turn = client.request("turn/start", {"threadId": thread, "input": list(items)})["turn"]["id"]
    assert client.end_of(turn)["status"] == "completed"


def text(words):
    return {"type": "text", "text": words}


def test_the_model_is_told_which_skills_there_are(server, model, skill):
    first, second = skill("baking", "Knead."), skill("frying", "Heat.", "Fries things.")
    client = server()
    client.turn(client.start_thread(), "!say hello")
    [listed] = [said for said in texts(model, "developer") if said.startswith("<skills_instructions>")]
    assert f"- baking: What it is for. (file: {first})" in listed
    assert f"- frying: Fries things. (file: {second})" in listed
    # None was named, so none is read out.
    assert told(model) == []


def test_a_named_skill_is_read_to_the_model_once_after_the_users_words(server, model, skill):
    baking, frying = skill("baking", "Knead."), skill("frying", "Heat.")
    client = server()
    thread = client.start_thread()
    words = text("!say hello with $frying and $baking, not $boiling; $frying again")
    send(client, thread, {"type": "skill", "name": "baking", "path": str(baking)}, words)
    # Those given as input come before those in the text.
    assert told(model) == [as_told("baking", baking, "Knead."), as_told("frying", frying, "Heat.")]
    said = texts(model)
    assert said.index(words["text"]) < said.index(told(model)[0])
    # The user's own message shows what the user has sent, not what was read.
    [item] = [
        item
        for turn in client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"][
            "turns"
        ]
        for item in turn["items"]
        if item["type"] == "userMessage"
    ]
    assert [part["type"] for part in item["content"]] == ["skill", "text"]


def test_a_skill_that_is_switched_off_or_gone_is_not_read(server, model, home, skill):
    off, gone = skill("off", "Off."), skill("gone", "Gone.")
    with (home / "config.toml").open("a") as config:
        config.write(f'[[skills.config]]\npath = "{off}"\nenabled = false\n')
    client = server()
    thread = client.start_thread()
    gone.unlink()
    send(client, thread, {"type": "skill", "name": "off", "path": str(off)}, text("!say hello $off $gone"))
    assert told(model) == []
    assert not any("- off:" in said for said in texts(model, "developer"))


# --- skills that change while a server runs ------------------------------------------------------------------------


def listed(model):
    return [said for said in texts(model, "developer") if said.startswith("<skills_instructions>")]


def test_a_skill_that_is_written_is_told_and_known_in_the_next_turn(server, model, skill):
    skill("baking", "Knead.")
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say hello")
    since = client.mark()
    frying = skill("frying", "Heat.")
    assert client.wait_for("skills/changed", since=since).params == {}
    found = client.request("skills/list", {})["data"][0]["skills"]
    assert {"baking", "frying"} <= {entry["name"] for entry in found}
    send(client, thread, text("!say hello with $frying"))
    assert told(model) == [as_told("frying", frying, "Heat.")]
    assert ["frying" in said for said in listed(model)] == [False, True]
    client.turn(thread, "!say again")
    assert len(listed(model)) == 2


def test_many_changes_are_told_together(server, skill):
    skill("baking", "Knead.")
    client = server()
    client.start_thread()
    since = client.mark()
    for number in range(20):
        skill(f"skill{number}", "Do.")
    client.wait_for("skills/changed", since=since)
    client.turn(client.start_thread(), "!say hello")
    assert len(client.received("skills/changed", since=since)) == 1


def test_a_server_whose_threads_have_no_skills_watches_nothing(server, home, marked):
    client = server()
    client.turn(client.start_thread(), "!say hello")
    before = marked.processes()
    (home / "skills" / "late").mkdir(parents=True)
    (home / "skills" / "late" / "SKILL.md").write_text("---\nname: late\ndescription: Too late.\n---\n")
    client.turn(client.start_thread(), "!say hello")
    # The second thread found the folder: now there is something to watch.
    since = client.mark()
    (home / "skills" / "late" / "more.md").write_text("text")
    client.wait_for("skills/changed", since=since)
    assert len(marked.processes()) > len(before)
