"""What a client sees at the edges of a turn: refusals, interrupts, empty and long outputs, who is asked and told."""

from __future__ import annotations

import json

import pytest
from protocol_client import RpcError
from test_turns import PATCH, always, items, methods, never, outputs

ASKS = {"sandbox": "workspace-write", "approvalPolicy": "on-request"}
ADD = "!patch\n*** Begin Patch\n*** Add File: new.txt\n+x\n*** End Patch"
LONG = "!run seq 1 30000\n!then\n!say ok"
SCRIPTED_PATCH = """cd sub && apply_patch <<'EOF'
*** Begin Patch
*** Add File: made.txt
+made
*** End Patch
EOF"""


def interrupted(client, thread, text, awaited):
    """Plays a turn, interrupts it once `awaited` was said, and gives back what was said from then on."""
    since = client.mark()
    turn = client.begin_turn(thread, text)
    client.wait_for(awaited, since=since)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    client.end_of(turn, since=since)
    return [line.message for line in client.received(since=since) if line.message]


def test_an_interrupted_turn_leaves_nothing_unread_and_its_call_an_answer(server, model):
    client = server(handler=never)
    thread = client.start_thread(**ASKS)
    told = interrupted(client, thread, "!run-escalated true", "item/commandExecution/requestApproval")
    assert "thread/readState/changed" not in methods([line for line in told if "method" in line])
    state = client.request("thread/read", {"threadId": thread})["readState"]
    assert state == {"firstUnread": None, "revision": f"initial:{thread}"}
    client.turn(thread, "!say after")
    [output] = outputs(model)
    assert output.startswith("Wall time: ")
    assert output.endswith("seconds\naborted by user")
    client.request("turn/interrupt", {"threadId": thread, "turnId": ""})  # whatever runs, and nothing does


def test_a_silent_command_has_no_output_and_a_missing_folder_is_an_item(server):
    client = server()
    thread = client.start_thread()
    call = json.dumps({"cmd": "true", "workdir": "missing"})
    told = client.turn(thread, f"!run true\n!tool exec_command {call}\n!then\n!say ok")
    silent, lost = items(told, "commandExecution")
    assert (silent["status"], silent["aggregatedOutput"]) == ("completed", None)
    assert (lost["status"], lost["exitCode"]) == ("failed", -1)
    assert "missing" in lost["aggregatedOutput"]


def test_a_long_output_is_told_whole_and_kept_within_a_bound(server):
    client = server()
    thread = client.start_thread()
    [item] = items(client.turn(thread, LONG), "commandExecution")
    assert len(item["aggregatedOutput"]) > 100_000
    read = client.request("thread/read", {"threadId": thread, "includeTurns": True})
    kept = read["thread"]["turns"][0]["items"][1]["aggregatedOutput"]
    assert len(kept) == 64 * 1024
    assert kept.startswith("1\n2\n")
    assert kept.endswith("30000\n")


@pytest.mark.parametrize("command", ["ls", "echo hi", "touch x"])
def test_in_an_untrusted_thread_every_command_is_asked_about(server, command):
    client = server(handler=always("decline"))
    thread = client.start_thread(approvalPolicy="untrusted")
    [item] = items(client.turn(thread, f"!run {command}\n!then\n!say ok"), "commandExecution")
    assert item["status"] == "declined"


@pytest.mark.parametrize(("action", "status"), [("allow", "completed"), ("deny", "declined")])
def test_a_decision_about_a_host_is_one_about_the_command(server, action, status):
    amendment = {"network_policy_amendment": {"host": "example.com", "action": action}}
    client = server(handler=always({"applyNetworkPolicyAmendment": amendment}))
    thread = client.start_thread(**ASKS)
    [item] = items(client.turn(thread, "!run-escalated true\n!then\n!say ok"), "commandExecution")
    assert item["status"] == status


def test_an_answer_that_is_none_declines_a_patch(server, model):
    client = server(handler=always("bogus"))
    thread = client.start_thread(sandbox="read-only", approvalPolicy="on-request")
    [item] = items(client.turn(thread, PATCH), "fileChange")
    assert item["status"] == "declined"
    assert outputs(model) == ["approval request failed"]


def test_a_patch_in_a_script_is_a_patch(server, workspace, model):
    (workspace / "sub").mkdir()
    client = server()
    thread = client.start_thread(sandbox="workspace-write", model="a-model-nobody-knows")
    told = client.turn(thread, f"!tool exec_command {json.dumps({'cmd': SCRIPTED_PATCH})}\n!then\n!say ok")
    [item] = items(told, "fileChange")
    assert (item["status"], item["changes"][0]["path"]) == ("completed", str(workspace / "sub/made.txt"))
    assert (workspace / "sub/made.txt").read_text() == "made\n"
    assert "turn/diff/updated" in methods(told)
    assert "Success. Updated the following files" in outputs(model)[0]


def test_a_model_chosen_for_a_turn_brings_its_own_parameters_and_tools(server, model):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say a")
    known = model.requests()[-1].body
    client.turn(thread, "!say b", model="a-model-nobody-knows")
    unknown = model.requests()[-1].body
    assert known["text"] == {"verbosity": "low"}
    assert "text" not in unknown
    assert unknown["reasoning"] == {"summary": "auto"}
    names = {tool.get("name") for tool in known["tools"]} - {tool.get("name") for tool in unknown["tools"]}
    assert names == {"apply_patch"}


def test_a_turns_origin_is_the_clients_to_tell(server):
    client = server()
    thread = client.start_thread()
    told = client.turn(thread, "!say a", rootTurnId="another-turn", turnTrigger="test")
    assert {line["params"]["turn"]["rootTurnId"] for line in told if "turn" in line["params"]} == {
        "another-turn"
    }
    page = client.request("thread/turns/list", {"threadId": thread})
    assert page["data"][0]["rootTurnId"] == "another-turn"


# --- what is asked, and what is left out --------------------------------------------------------------------


@pytest.mark.parametrize("sandbox", ["workspace-write", "danger-full-access"])
def test_untrusted_asks_before_every_patch(server, workspace, sandbox):
    asked = []

    def decline(method, params):
        asked.append(method)
        return {"decision": "decline"}

    client = server(handler=decline)
    thread = client.start_thread(approvalPolicy="untrusted", sandbox=sandbox)
    client.turn(thread, f"{ADD}\n!then\n!say done")
    assert asked == ["item/fileChange/requestApproval"]
    assert not (workspace / "new.txt").exists()
    client.turn(thread, f"{ADD}\n!then\n!say done", approvalPolicy="on-request")
    assert len(asked) == 1
    assert (workspace / "new.txt").read_text() == "x\n"


def test_what_is_no_picture_does_not_reach_the_model(server, model):
    client = server()
    thread = client.start_thread()
    for url in ("data:image/png;base64,!!!", "data:text/plain;base64,aGk="):
        picture = {"type": "image", "url": url}
        text = {"type": "text", "text": "!say seen"}
        begun = client.request("turn/start", {"threadId": thread, "input": [picture, text]})
        client.end_of(begun["turn"]["id"])
    said = [item for item in model.requests()[-1].body["input"] if item.get("role") == "user"][-2:]
    for message in said:
        assert [part["type"] for part in message["content"]] == ["input_text", "input_text"]
        assert "left out" in message["content"][0]["text"]


def test_folders_of_settings_are_absolute_or_the_servers(server, workspace, tmp_path):
    client = server()
    thread = client.start_thread(cwd=str(tmp_path))
    policy = {"type": "workspaceWrite", "writableRoots": ["relative"]}
    with pytest.raises(RpcError, match="AbsolutePathBuf deserialized without a base path"):
        client.request("thread/settings/update", {"threadId": thread, "sandboxPolicy": policy})
    client.request("thread/settings/update", {"threadId": thread, "cwd": "below"})
    changed = client.wait_for("thread/settings/updated").params["threadSettings"]
    assert changed["cwd"] == str(workspace / "below")
    with pytest.raises(RpcError, match=r"default_permissions requires a `\[permissions\]` table"):
        client.request("thread/settings/update", {"threadId": thread, "permissions": "mine"})


def test_a_turn_that_cannot_be_stored_is_refused_before_anybody_counts_on_it(server, home):
    client = server()
    thread = client.start_thread()
    (home / "sessions").write_text("in the way of the folder")
    with pytest.raises(RpcError, match="sessions"):
        client.begin_turn(thread, "!say hello")
    assert client.row(thread)["restarts"] == 0
    (home / "sessions").unlink()
    assert client.turn(thread, "!say hello")[-1]["params"]["turn"]["status"] == "completed"
