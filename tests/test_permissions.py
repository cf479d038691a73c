"""What the model asks for beyond its sandbox: in advance (`request_permissions`), or for one command."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

import pytest

from protocol.permissions import GrantedPermissionProfile
from protocol.policy import DangerFullAccess, ReadOnly, WorkspaceWrite
from workers.permissions import Permissions

if sys.platform != "linux":
    pytest.skip("the Linux sandbox", allow_module_level=True)

ASKED = "item/permissions/requestApproval"
FEATURES = {
    "features": {"request_permissions_tool": True, "exec_permission_approvals": True},
    "suppress_unstable_features_warning": True,
    "sandbox_workspace_write": {"exclude_slash_tmp": True, "exclude_tmpdir_env_var": True},
}
NOTHING = {"permissions": {"network": None, "file_system": None}, "scope": "turn"}


class Asker:
    """A server whose client answers every question for permissions with `answer`, and counts them."""

    def __init__(self, server):
        self.answer = {}
        self.asked = []
        self.heard = {}
        self.client = server(handler=self._answer)

    def _answer(self, method, params):
        self.asked.append((method, params))
        return self.answer if method == ASKED else {"decision": "accept"}

    def start(self, **params):
        wishes = {"sandbox": "workspace-write", "approvalPolicy": "on-request", "config": FEATURES}
        return self.client.start_thread(**{**wishes, **params})

    def outputs(self, model, thread, *calls):
        """What the model hears of these calls, one after the other."""
        before = self.heard.get(thread, 0)
        script = "\n!then\n".join(f"!tool {name} {json.dumps(arguments)}" for name, arguments in calls)
        self.client.turn(thread, script + "\n!then\n!say ok")
        heard = _outputs(model)
        self.heard[thread] = len(heard)
        return heard[before:]


def _outputs(model):
    return [i["output"] for i in model.requests()[-1].body["input"] if i.get("type", "").endswith("_output")]


@pytest.fixture
def asker(server):
    return Asker(server)


def request(**permissions):
    return ("request_permissions", {"permissions": permissions, "reason": "to see"})


def run(command, **more):
    return ("exec_command", {"cmd": command, **more})


def test_what_is_granted_for_the_turn_holds_in_it_and_no_longer(asker, model, tmp_path, workspace):
    folder = tmp_path / "granted"
    folder.mkdir()
    asker.answer = {
        "permissions": {"fileSystem": {"write": [str(folder)]}, "network": {"enabled": True}},
    }
    thread = asker.start()
    connect = f"exec 3<>/dev/tcp/127.0.0.1/{urlsplit(model.url).port} && echo connected"
    first = asker.outputs(
        model,
        thread,
        run(f"touch {folder}/a; {connect}"),
        request(file_system={"write": [str(folder)], "read": ["/etc"]}, network={"enabled": True}),
        run(f"touch {folder}/a && {connect}"),
    )
    assert "Read-only file system" in first[0]
    assert "connected" not in first[0].splitlines()
    assert json.loads(first[1]) == {
        "permissions": {"network": {"enabled": True}, "file_system": {"write": [str(folder)]}},
        "scope": "turn",
    }
    assert first[2].endswith("connected\n")
    assert (folder / "a").exists()
    [(method, params)] = asker.asked
    assert method == ASKED
    assert params.pop("startedAtMs") > 0
    assert params.pop("turnId")
    assert params.pop("itemId")
    entries = [
        {"path": {"type": "path", "path": "/etc"}, "access": "read"},
        {"path": {"type": "path", "path": str(folder)}, "access": "write"},
    ]
    assert params == {
        "threadId": thread,
        "environmentId": "local",
        "cwd": str(workspace),
        "reason": "to see",
        "permissions": {
            "network": {"enabled": True},
            "fileSystem": {"read": ["/etc"], "write": [str(folder)], "entries": entries},
        },
    }
    [later] = asker.outputs(model, thread, run(f"touch {folder}/b"))
    assert "Read-only file system" in later


def test_what_is_granted_for_the_session_holds_in_the_next_turn_and_for_patches(asker, model, tmp_path):
    folder = tmp_path / "granted"
    folder.mkdir()
    asker.answer = {"permissions": {"fileSystem": {"write": [str(folder)]}}, "scope": "session"}
    thread = asker.start(sandbox="read-only")
    [told] = asker.outputs(model, thread, request(file_system={"write": [str(folder)]}))
    assert json.loads(told)["scope"] == "session"
    [inside, outside] = asker.outputs(
        model, thread, run(f"touch {folder}/a"), run("touch here || touch /tmp/there")
    )
    assert "code 0" in inside
    assert outside.count("Read-only file system") == 2
    patch = f"!patch\n*** Begin Patch\n*** Add File: {folder}/b\n+text\n*** End Patch\n!then\n!say ok"
    asker.client.turn(thread, patch)
    assert (folder / "b").read_text() == "text\n"
    assert len(asker.asked) == 1
    # A worker that holds a grant is not put to sleep: the next one would not know of it.
    assert asker.client.row(thread)["state"] == "idle"


def test_nobody_is_granted_more_than_was_asked_for(asker, model, tmp_path):
    folder = tmp_path / "granted"
    (folder / "deep").mkdir(parents=True)
    thread = asker.start()
    asked = request(file_system={"write": [str(folder)]})
    for answer, granted in [
        ({"permissions": {}}, None),
        ({"permissions": {"fileSystem": {"write": [str(tmp_path), "/"]}}}, None),
        ({"permissions": {"network": {"enabled": True}}}, None),
        (
            {"permissions": {"fileSystem": {"write": [f"{folder}/deep", f"{folder}/../x"]}}},
            [f"{folder}/deep"],
        ),
        ({"nonsense": 1}, None),
        ({"permissions": {"fileSystem": {"write": 7}}}, None),
    ]:
        asker.answer = answer
        [told] = asker.outputs(model, thread, asked)
        assert json.loads(told)["permissions"]["file_system"] == (granted and {"write": granted}), answer
        assert json.loads(told)["permissions"]["network"] is None


@pytest.mark.parametrize(
    "policy",
    [
        "never",
        {
            "granular": {
                "request_permissions": False,
                "sandbox_approval": True,
                "rules": True,
                "mcp_elicitations": True,
            }
        },
    ],
)
def test_a_policy_that_asks_for_no_permissions_grants_none(asker, model, policy):
    thread = asker.start(approvalPolicy=policy)
    [told] = asker.outputs(model, thread, request(network={"enabled": True}))
    assert json.loads(told) == NOTHING
    assert asker.asked == []


def test_a_request_that_says_nothing_is_refused(asker, model):
    thread = asker.start()
    for arguments, expected in [
        ({"permissions": {}}, "request_permissions requires at least one permission"),
        ({}, "failed to parse function arguments: "),
        ({"permissions": {"bar": {}}}, "failed to parse function arguments: "),
        (
            {"permissions": {"network": {"enabled": True}}, "environment_id": "xx"},
            "unknown turn environment id `xx`",
        ),
    ]:
        [told] = asker.outputs(model, thread, ("request_permissions", arguments))
        assert told.startswith(expected)
    assert asker.asked == []


def test_without_the_features_nothing_of_it_is_offered(asker, model):
    thread = asker.start(config={})
    [told, refused] = asker.outputs(
        model,
        thread,
        request(network={"enabled": True}),
        run("true", sandbox_permissions="with_additional_permissions", additional_permissions={}),
    )
    assert "unsupported call" in told
    assert "enable `features.exec_permission_approvals`" in refused
    tools = {tool["name"]: tool for tool in model.requests()[-1].body["tools"] if "name" in tool}
    assert "request_permissions" not in tools
    assert "additional_permissions" not in tools["exec_command"]["parameters"]["properties"]


def test_the_features_are_listed_as_they_are_set_and_people_are_warned(server, home):
    config = home / "config.toml"
    config.write_text(config.read_text() + "[features]\nrequest_permissions_tool = true\ngoals = false\n")
    client = server()
    since = client.mark()
    client.start_thread()
    warning = client.wait_for("warning", since=since).params["message"]
    assert warning.startswith("Under-development features enabled: request_permissions_tool. ")
    listed = client.request("experimentalFeature/list", {"limit": 1000})["data"]
    enabled = {feature["name"]: feature["enabled"] for feature in listed}
    assert enabled["request_permissions_tool"]
    assert not enabled["goals"]
    assert not enabled["exec_permission_approvals"]


def test_an_interrupt_takes_the_question_back(server, model):
    client = server()
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="on-request", config=FEATURES)
    since = client.mark()
    name, arguments = request(network={"enabled": True})
    turn = client.begin_turn(thread, f"!tool {name} {json.dumps(arguments)}\n!then\n!say ok")
    question = client.wait_for(ASKED, since=since)
    client.request("turn/interrupt", {"threadId": thread, "turnId": turn})
    assert client.end_of(turn, since=since)["status"] == "interrupted"
    resolved = client.wait_for("serverRequest/resolved", since=since).params
    assert resolved["requestId"] == question.message["id"]
    assert client.turn(thread, "!say on")[-1]["params"]["turn"]["status"] == "completed"


def test_a_question_that_nobody_is_there_for_can_be_declined(server, home, model):
    config = home / "config.toml"
    settings = '[bulkhead]\nunattended_approvals = "decline"\nunattended_after_s = 0.05\n'
    config.write_text(config.read_text() + settings)
    client = server()
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="on-request", config=FEATURES)
    name, arguments = request(network={"enabled": True})
    client.begin_turn(thread, f"!sleep 0.3\n!tool {name} {json.dumps(arguments)}\n!then\n!say ok")
    client.request("thread/unsubscribe", {"threadId": thread})
    model.wait_for(lambda requests: len(requests) > 1)
    assert json.loads(_outputs(model)[0]) == NOTHING


def test_one_command_gets_what_it_asks_for_and_stays_in_the_sandbox(asker, model, tmp_path):
    folder, other = tmp_path / "granted", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    thread = asker.start()
    more = {
        "sandbox_permissions": "with_additional_permissions",
        "additional_permissions": {"file_system": {"write": [str(folder)]}},
        "justification": "why not",
    }
    [first, second] = asker.outputs(
        model, thread, run(f"touch {folder}/a; touch {other}/a", **more), run(f"touch {folder}/b")
    )
    assert (folder / "a").exists()
    assert not list(other.iterdir())
    assert "Read-only file system" in first
    assert "Read-only file system" in second
    [(method, params)] = asker.asked
    assert method == "item/commandExecution/requestApproval"
    assert params["reason"] == "why not"
    assert params["availableDecisions"] == ["accept", "cancel"]
    assert params["additionalPermissions"]["fileSystem"]["write"] == [str(folder)]
    assert params["additionalPermissions"]["network"] is None


def test_what_was_approved_in_the_sandbox_is_not_run_without_it_unasked(server, model, tmp_path):
    folder, other = tmp_path / "granted", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    asked = []

    def answer(_method, params):
        asked.append(params.get("reason"))
        return {"decision": "accept" if len(asked) == 1 else "decline"}

    client = server(handler=answer)
    thread = client.start_thread(sandbox="workspace-write", approvalPolicy="untrusted", config=FEATURES)
    more = {
        "sandbox_permissions": "with_additional_permissions",
        "additional_permissions": {"file_system": {"write": [str(folder)]}},
    }
    name, arguments = run(f"touch {folder}/a {other}/a", **more)
    client.turn(thread, f"!tool {name} {json.dumps(arguments)}\n!then\n!say ok")
    assert asked == [None, "command failed; retry without sandbox?"]
    assert (folder / "a").exists()
    assert not list(other.iterdir())


def test_what_is_granted_already_is_not_asked_for_again(asker, model, tmp_path):
    folder = tmp_path / "granted"
    folder.mkdir()
    asker.answer = {"permissions": {"fileSystem": {"write": [str(folder)]}}}
    thread = asker.start()
    more = {
        "sandbox_permissions": "with_additional_permissions",
        "additional_permissions": {"file_system": {"write": [f"{folder}/"]}},
    }
    asker.outputs(
        model, thread, request(file_system={"write": [str(folder)]}), run(f"touch {folder}/a", **more)
    )
    assert (folder / "a").exists()
    assert [method for method, _ in asker.asked] == [ASKED]


def test_a_command_that_may_not_ask_or_says_nothing_is_refused(asker, model):
    thread = asker.start()
    mark = {"sandbox_permissions": "with_additional_permissions"}
    network = {"network": {"enabled": True}}
    [missing, empty] = asker.outputs(
        model, thread, run("true", **mark), run("true", **mark, additional_permissions={})
    )
    assert missing.startswith("missing `additional_permissions`")
    assert empty.startswith("`additional_permissions` must include")
    thread = asker.start(approvalPolicy="never")
    [never] = asker.outputs(model, thread, run("true", **mark, additional_permissions=network))
    assert never.startswith("approval policy is Never; reject command")
    assert asker.asked == []


def test_a_link_counts_as_what_it_leads_to(asker, model, tmp_path, workspace):
    """The user must see what he grants; a link that is made later grants nothing."""
    victim, folder = tmp_path / "victim", tmp_path / "granted"
    victim.mkdir()
    (folder / "deep").mkdir(parents=True)
    (workspace / "link").symlink_to(victim)
    asker.answer = {"permissions": {"fileSystem": {"write": [str(folder), f"{folder}/deep"]}}}
    thread = asker.start()
    told = asker.outputs(
        model,
        thread,
        request(file_system={"write": ["link"]}),
        request(file_system={"write": [str(folder), f"{folder}/deep"]}),
        run(f"rmdir {folder}/deep && ln -s {victim} {folder}/deep"),
        run(f"touch {folder}/deep/x"),
    )
    assert asker.asked[0][1]["permissions"]["fileSystem"]["write"] == [str(victim)]
    assert json.loads(told[0])["permissions"]["file_system"] is None
    assert list(victim.iterdir()) == []


def test_what_a_grant_could_not_open_is_refused_and_the_folder_to_ask_for_is_named(asker, model, tmp_path):
    file, missing = tmp_path / "file", tmp_path / "not" / "there"
    file.write_text("mine\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    thread = asker.start()
    mark = {"sandbox_permissions": "with_additional_permissions", "justification": "why not"}
    for path, what in ((file, "is not a folder"), (missing, "does not exist")):
        wish = {"file_system": {"write": [str(folder), str(path)]}}
        told = asker.outputs(model, thread, request(**wish), run("true", **mark, additional_permissions=wish))
        said = (
            f"permission to write `{path}` cannot be granted: it {what}. "
            f"Ask for the folder that it is to be in, `{tmp_path}`"
        )
        assert told == [said, said]
    assert asker.asked == []
    # A client that narrows a grant to nothing that is there has granted nothing.
    asker.answer = {"permissions": {"fileSystem": {"write": [f"{folder}/later"]}}}
    [told] = asker.outputs(model, thread, request(file_system={"write": [str(folder)]}))
    assert json.loads(told) == NOTHING


def test_a_policy_is_widened_by_what_was_granted_and_by_nothing_else(tmp_path):
    here, folder = str(tmp_path), str(tmp_path / "a")
    (tmp_path / "a").mkdir()
    granted = Permissions(network=True, write=(folder, str(tmp_path / "missing")))
    wide = granted.confine(WorkspaceWrite(), here)
    assert wide.policy == WorkspaceWrite(writable_roots=(folder,), network_access=True)
    assert wide.workspace == here
    narrow = granted.confine(ReadOnly(), here)
    assert narrow.workspace == folder
    assert narrow.policy == WorkspaceWrite(
        writable_roots=(folder,), network_access=True, exclude_slash_tmp=True, exclude_tmpdir_env_var=True
    )
    assert Permissions(network=True).confine(ReadOnly(), here).policy == ReadOnly(network_access=True)
    assert granted.confine(DangerFullAccess(), here).policy == DangerFullAccess()
    assert not Permissions(write=(folder,)).granted(GrantedPermissionProfile())
