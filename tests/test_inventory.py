"""The lists of what the server has to offer, through the real door."""

from __future__ import annotations

import json

import pytest
from protocol_client import RpcError

MCP = """
[mcp_servers.echo]
command = "/bin/false"
enabled = false
[mcp_servers.web]
enabled = false
url = "https://user:secret@tools.example:8443/mcp?token=t"
"""
PROVIDERS = """
[model_providers.key]
name = "Key"
base_url = "https://key.example/v1"
env_key = "KEY_OF_THIS_TEST"
[model_providers.secret]
name = "Secret"
base_url = "https://user:password@secret.example/v1"
[model_providers.token]
name = "Token"
base_url = "https://token.example/v1"
experimental_bearer_token = "planted"
"""


def add(home, text):
    with (home / "config.toml").open("a") as file:
        file.write(text)


def refused(client, method, params):
    with pytest.raises(RpcError) as caught:
        client.request(method, params)
    return caught.value.code, caught.value.message


def test_providers_are_listed_without_what_is_secret(server, home):
    add(home, PROVIDERS)
    client = server()
    answer = client.request("modelProvider/list", {})
    assert (answer["defaultProviderId"], answer["canChangeDefault"]) == ("scripted", True)
    by_id = {provider["id"]: provider for provider in answer["data"]}
    assert list(by_id) == ["key", "openai", "scripted", "secret", "token"]
    assert by_id["openai"] == {
        "id": "openai",
        "name": "OpenAI",
        "canEdit": False,
        "baseUrl": None,
        "settings": {"type": "openai"},
    }
    auth = {name: by_id[name]["settings"]["auth"] for name in ("key", "scripted", "secret", "token")}
    assert auth == {
        "key": {"mode": "environmentVariable", "envKey": "KEY_OF_THIS_TEST"},
        "scripted": {"mode": "none"},
        "secret": {"mode": "externallyConfigured", "envKey": None},
        "token": {"mode": "externallyConfigured", "envKey": None},
    }
    assert by_id["secret"]["baseUrl"] is None
    assert "planted" not in json.dumps(answer)
    assert "password" not in json.dumps(answer)


def test_capabilities_are_those_of_the_configured_provider(server, home):
    client = server()
    assert client.request("modelProvider/capabilities/read", {}) == {
        "imageGeneration": False,
        "webSearch": True,
    }
    client.request(
        "config/value/write",
        {"keyPath": "model_providers.scripted.wire_api", "value": "chat", "mergeStrategy": "replace"},
    )
    assert client.request("modelProvider/capabilities/read", {})["webSearch"] is False


@pytest.mark.parametrize(
    ("method", "subject", "total"),
    [
        ("experimentalFeature/list", "feature flags", 215),
        ("permissionProfile/list", "permission profiles", 3),
        ("mcpServerStatus/list", "MCP servers", 2),
    ],
)
def test_lists_come_in_pages(server, home, method, subject, total):
    add(home, MCP)
    client = server()
    everything = client.request(method, {})
    assert (len(everything["data"]), everything["nextCursor"]) == (total, None)
    first = client.request(method, {"limit": 1})
    assert (first["data"], first["nextCursor"]) == (everything["data"][:1], "1")
    rest = client.request(method, {"cursor": first["nextCursor"]})
    assert (rest["data"], rest["nextCursor"]) == (everything["data"][1:], None)
    assert refused(client, method, {"cursor": "x"}) == (-32600, "invalid cursor: x")
    assert refused(client, method, {"cursor": "999"}) == (
        -32600,
        f"cursor 999 exceeds total {subject} {total}",
    )


def test_features_are_on_where_this_server_has_them(server):
    features = server().request("experimentalFeature/list", {})["data"]
    enabled = {feature["name"] for feature in features if feature["enabled"]}
    assert {"hooks", "shell_tool", "unified_exec", "view_image"} <= enabled
    assert not {"apps", "plugins", "computer_use"} & enabled
    assert all(feature["displayName"] for feature in features if feature["stage"] == "beta")


def test_modes_are_for_clients_of_the_experimental_interface(server):
    assert server().request("collaborationMode/list", {})["data"] == [
        {"name": "Plan", "mode": "plan", "model": None, "reasoning_effort": "medium"},
        {"name": "Default", "mode": "default", "model": None, "reasoning_effort": None},
    ]
    plain = server(initialize=False)
    plain.initialize()
    assert refused(plain, "collaborationMode/list", {}) == (
        -32600,
        "collaborationMode/list requires experimentalApi capability",
    )


def test_mcp_servers_are_shown_with_their_origin_alone(server, home):
    add(home, MCP)
    client = server()
    echo, web = client.request("mcpServerStatus/list", {})["data"]
    assert (echo["name"], echo["httpOrigin"], echo["tools"]) == ("echo", None, {})
    assert web["httpOrigin"] == "https://tools.example:8443"
    assert client.request("mcpServerStatus/list", {"serverName": "web"})["data"] == [web]
    assert refused(client, "mcpServer/oauth/login", {"name": "echo"}) == (
        -32600,
        "OAuth login is only supported for streamable HTTP servers.",
    )
    assert refused(client, "mcpServer/oauth/login", {"name": "none"}) == (
        -32600,
        "No MCP server named 'none' found.",
    )


def test_hooks_are_those_of_a_folder_and_there_are_no_apps(server, home, workspace):
    client = server()
    assert client.request("app/list", {}) == {"data": [], "nextCursor": None}
    assert client.request("hooks/list", {})["data"] == [
        {"cwd": str(workspace), "hooks": [], "warnings": [], "errors": []}
    ]
    add(home, "[[hooks.Stop]]\n[[hooks.Stop.hooks]]\ntype = 'command'\ncommand = 'a'\n")
    [entry] = client.request("hooks/list", {"cwds": ["/tmp"]})["data"]
    assert entry["cwd"] == "/tmp"
    file = str(home / "config.toml")
    assert entry["hooks"] == [
        {
            "key": f"{file}:stop:0:0",
            "eventName": "stop",
            "handlerType": "command",
            "command": "a",
            "async": False,
            "matcher": None,
            "timeoutSec": 600,
            "statusMessage": None,
            "additionalContextLimit": None,
            "sourcePath": file,
            "source": "user",
            "pluginId": None,
            "environmentId": None,
            "displayOrder": 0,
            "enabled": True,
            "isManaged": False,
            # As Codex 0.169 has it for the same hook: what was trusted there is trusted here.
            "currentHash": "sha256:c75a850480544f28d4a0e3e73be3b2659a93058c0746b3a82ad494187e86ecbc",
            "trustStatus": "untrusted",
        }
    ]
    unknown = "00000000-0000-7000-8000-000000000001"
    assert refused(client, "hooks/list", {"threadId": unknown}) == (-32600, f"thread not found: {unknown}")
    assert refused(client, "app/list", {"threadId": "x"})[1].startswith("invalid thread id: ")


def test_a_list_for_a_thread_is_that_of_its_folder(server, home, tmp_path):
    project = tmp_path / "project"
    (project / ".codex").mkdir(parents=True)
    (project / ".codex" / "config.toml").write_text(MCP)
    add(home, f'[projects."{project}"]\ntrust_level = "trusted"\n')
    client = server()
    thread = client.start_thread(cwd=str(project))
    client.turn(thread, "!say hello")
    assert client.request("mcpServerStatus/list", {})["data"] == []
    assert len(client.request("mcpServerStatus/list", {"threadId": thread})["data"]) == 2


def test_skills_are_listed_by_folder_with_what_is_wrong_in_them(server, home, tmp_path):
    good = home / "skills" / "greeting"
    good.mkdir(parents=True)
    (good / "SKILL.md").write_text("---\nname: greeting\ndescription: How to greet.\n---\nSay hello.\n")
    bad = tmp_path / "project" / ".agents" / "skills" / "broken"
    bad.mkdir(parents=True)
    (bad / "SKILL.md").write_text("no front matter\n")
    client = server()
    project, other = client.request("skills/list", {"cwds": [str(tmp_path / "project"), "/"]})["data"]
    assert (project["cwd"], other["cwd"]) == (str(tmp_path / "project"), "/")
    [skill] = project["skills"]
    assert skill["name"] == "greeting"
    assert (skill["scope"], skill["enabled"]) == ("user", True)
    assert [error["path"] for error in project["errors"]] == [str(bad / "SKILL.md")]
    assert other["skills"] == [skill]
    assert other["errors"] == []
    (home / "config.toml").write_text("model = \n")
    [entry] = client.request("skills/list", {})["data"]
    assert entry["errors"][0]["message"].startswith("failed to reload config: ")
