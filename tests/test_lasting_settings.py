"""What a resume, a fork or a revert says of a thread holds, for whoever opens it next."""

from __future__ import annotations


def test_what_a_resume_asks_for_holds_for_the_next_one(server, workspace):
    first = server()
    thread = first.start_thread()
    first.turn(thread, "!say a")
    first.close()
    second = server()
    second.request("thread/resume", {"threadId": thread, "model": "gpt-5.5", "sandbox": "read-only"})
    second.close()
    third = server()
    resumed = third.request("thread/resume", {"threadId": thread})
    assert (resumed["model"], resumed["sandbox"]["type"]) == ("gpt-5.5", "readOnly")
    assert resumed["activePermissionProfile"] is None


def test_a_sandbox_keeps_its_name_over_a_resume(server):
    first = server()
    thread = first.request("thread/start", {"permissions": ":workspace"})["thread"]["id"]
    first.turn(thread, "!say a")
    first.close()
    resumed = server().request("thread/resume", {"threadId": thread})
    assert resumed["activePermissionProfile"] == {"id": ":workspace", "extends": None}


def test_a_fork_from_before_the_first_turn_has_the_settings_of_its_source(server):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "!say a")
    [turn] = client.request("thread/turns/list", {"threadId": thread})["data"]
    forked = client.request("thread/fork", {"threadId": thread, "beforeTurnId": turn["id"]})
    assert (forked["approvalPolicy"], forked["sandbox"]["type"]) == ("never", "dangerFullAccess")


def test_a_thread_that_went_back_to_its_beginning_is_still_in_lists_and_costs_nothing(server):
    client = server()
    thread = client.start_thread()
    client.turn(thread, "first words\n!say a")
    [turn] = client.request("thread/turns/list", {"threadId": thread})["data"]
    client.request("thread/revert", {"threadId": thread, "beforeTurnId": turn["id"]})
    assert client.request("thread/read", {"threadId": thread, "includeTurns": True})["thread"]["turns"] == []
    [listed] = client.request("thread/list", {})["data"]
    assert listed["preview"].startswith("first words")
    told = client.turn(thread, "!say b")
    [usage] = [line["params"]["tokenUsage"] for line in told if line["method"] == "thread/tokenUsage/updated"]
    assert usage["total"] == usage["last"]


def test_a_thread_that_began_with_a_review_is_listed(server):
    client = server()
    thread = client.start_thread()
    since = client.mark()
    target = {"type": "custom", "instructions": "!say fine"}
    client.request("review/start", {"threadId": thread, "target": target})
    client.wait_for("turn/completed", since=since)
    [listed] = client.request("thread/list", {})["data"]
    assert listed["id"] == thread


def test_folders_of_the_configuration_belong_to_the_workspace(server, workspace, tmp_path):
    more = str(tmp_path / "more")
    with_more = ("-c", f'sandbox_workspace_write.writable_roots=["{more}"]')
    client = server(*with_more)
    roots = [str(workspace), more]

    def opened(answer):
        [environment] = answer["thread"]["environments"]
        assert environment["runtimeWorkspaceRoots"] == answer["runtimeWorkspaceRoots"]
        return answer["runtimeWorkspaceRoots"], answer["sandbox"].get("writableRoots")

    asked = {"cwd": str(workspace)}
    assert opened(client.request("thread/start", asked)) == (roots, None)
    started = client.request("thread/start", {**asked, "sandbox": "workspace-write"})
    assert opened(started) == (roots, [more])
    thread = started["thread"]["id"]
    client.turn(thread, "!say hello")
    # A sandbox that goes by a name is the same everywhere.
    named = client.request("thread/start", {**asked, "permissions": ":workspace"})
    assert opened(named) == ([str(workspace)], [])
    client.close()
    resumed = server(*with_more).request("thread/resume", {"threadId": thread})
    assert opened(resumed) == (roots, [more])
