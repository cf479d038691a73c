"""What the sandbox means over the commands of a turn, and over turns."""

from __future__ import annotations

import sys
import time

import pytest

if sys.platform != "linux":
    pytest.skip("the Linux sandbox", allow_module_level=True)

ONLY_WORKSPACE = {"sandbox_workspace_write": {"exclude_slash_tmp": True, "exclude_tmpdir_env_var": True}}


def outputs(model):
    return [i["output"] for i in model.requests()[-1].body["input"] if i.get("type", "").endswith("_output")]


def test_what_was_approved_under_untrusted_runs_again_without_a_second_question(server, model, tmp_path):
    asked = []

    def answer(_method, params):
        asked.append(params)
        return {"decision": "accept"}

    target = tmp_path / "outside"
    client = server(handler=answer)
    thread = client.start_thread(sandbox="read-only", approvalPolicy="untrusted")
    client.turn(thread, f"!run touch {target} && echo done\n!then\n!say ok")
    assert len(asked) == 1
    assert target.exists()
    assert outputs(model)[0].endswith("done\n")


def test_a_workspace_that_became_a_symlink_is_refused_in_this_turn_and_the_next(
    server, model, workspace, tmp_path
):
    outside = tmp_path / "outside"
    outside.mkdir()
    client = server(handler=lambda _method, _params: {"decision": "accept"})
    thread = client.start_thread(
        sandbox="workspace-write", approvalPolicy="on-request", config=ONLY_WORKSPACE
    )
    swap = f"mv {workspace} {workspace}.old && ln -s {outside} {workspace}"
    client.turn(thread, f"!run true\n!then\n!run-escalated {swap}\n!then\n!run touch x\n!then\n!say ok")
    assert "was replaced" in outputs(model)[-1]
    client.turn(thread, "!run touch x\n!then\n!say ok")
    assert "was replaced" in outputs(model)[-1]
    assert list(outside.iterdir()) == []
    # Its owner may make it anew.
    workspace.unlink()
    workspace.mkdir()
    client.turn(thread, "!run touch x\n!then\n!say ok")
    assert (workspace / "x").exists()


def test_a_link_in_the_workspace_does_not_take_a_patch_outside(server, model, workspace, tmp_path):
    (tmp_path / "victim").write_text("mine\n")
    (workspace / "link").symlink_to(tmp_path / "victim")
    client = server()
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="never", config=ONLY_WORKSPACE)
    patch = "!patch\n*** Begin Patch\n*** Update File: link\n@@\n-mine\n+evil\n*** End Patch"
    client.turn(thread, f"{patch}\n!then\n!say ok")
    assert "writing outside of the project" in outputs(model)[0]
    assert (tmp_path / "victim").read_text() == "mine\n"


def test_an_interrupted_patch_is_whole_all_the_same(server, workspace):
    client = server()
    thread = client.start_thread(sandbox="workspace-write")
    client.turn(thread, "!say ready")
    files = 300
    patch = "\n".join(f"*** Add File: f{number}\n+x" for number in range(files))
    turn = client.begin_turn(thread, f"!patch\n*** Begin Patch\n{patch}\n*** End Patch\n!then\n!hang")
    deadline = time.monotonic() + 60
    while not (workspace / "f0").exists():
        assert time.monotonic() < deadline
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn)["status"] == "interrupted"
    assert len(list(workspace.glob("f*"))) == files
    assert not list(workspace.glob(".patch-*"))


@pytest.mark.parametrize("sandbox", ["danger-full-access", "workspace-write"])
def test_ctrl_c_on_its_terminal_ends_a_command(server, sandbox):
    client = server()
    thread = client.start_thread(sandbox=sandbox)
    told = client.turn(
        thread, '!start sleep 1000\n!then\n!stdin last "\\u0003"\n!then\n!stdin last ""\n!then\n!say done'
    )
    items = [line["params"]["item"] for line in told if line["method"] == "item/completed"]
    assert [item["exitCode"] for item in items if item["type"] == "commandExecution"] == [130]
