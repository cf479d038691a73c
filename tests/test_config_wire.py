"""`config/*` through the real door: what is read, what is written, and for whom it counts."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading

import pytest
import tomli
from protocol_client import RpcError
from running_server import RunningServer

EMPTY = f"sha256:{hashlib.sha256(b'{}').hexdigest()}"


def write(client, key, value, strategy="replace", **more):
    return client.request(
        "config/value/write", {"keyPath": key, "value": value, "mergeStrategy": strategy, **more}
    )


def refusal(client, method, params):
    """The error of a request, as it went over the wire."""
    with pytest.raises(RpcError) as caught:
        client.request(method, params)
    error = {"code": caught.value.code, "message": caught.value.message}
    return error if caught.value.data is None else {**error, "data": caught.value.data}


def version(values):
    return f"sha256:{hashlib.sha256(json.dumps(values, sort_keys=True, separators=(',', ':')).encode()).hexdigest()}"


# --- reading --------------------------------------------------------------------------------------------------


def test_a_read_has_the_values_their_origins_and_all_layers(server, home):
    client = server("-c", "model_verbosity=low")
    answer = client.request("config/read", {"includeLayers": True})
    file = str(home / "config.toml")
    user = {"type": "user", "file": file, "profile": None}
    values = tomli.loads((home / "config.toml").read_text())
    assert answer["config"]["model"] == "gpt-6.1-sol"
    assert answer["config"]["model_verbosity"] == "low"
    assert answer["config"]["approval_policy"] is None
    assert answer["config"]["history"] == {"persistence": "save-all", "max_bytes": None}
    assert answer["config"]["model_providers"]["scripted"]["env_key"] is None
    assert answer["origins"]["model"] == {"name": user, "version": version(values)}
    assert answer["origins"]["model_verbosity"]["name"] == {"type": "sessionFlags"}
    assert answer["layers"] == [
        {
            "name": {"type": "sessionFlags"},
            "version": version({"model_verbosity": "low"}),
            "config": {"model_verbosity": "low"},
        },
        {"name": user, "version": version(values), "config": values},
        {"name": {"type": "system", "file": "/etc/codex/config.toml"}, "version": EMPTY, "config": {}},
    ]
    assert "layers" not in client.request("config/read", {})


def test_a_file_that_is_wrong_is_named_with_its_line(server, home):
    client = server()
    (home / "config.toml").write_text("model = \n")
    assert refusal(client, "config/read", {}) == {
        "code": -32603,
        "message": f"failed to read configuration layers: {home}/config.toml:1:9: Invalid value",
    }
    assert write_error(client, "model", "x")["message"].startswith("failed to load configuration: ")
    (home / "config.toml").write_text("model = 5\n")
    assert refusal(client, "config/read", {})["message"].startswith("invalid configuration: ")
    write(client, "model", "mended")
    assert client.request("config/read", {})["config"]["model"] == "mended"


def test_a_pipe_in_the_place_of_the_file_is_waited_for_by_nobody(server, home):
    running = server()
    file = home / "config.toml"
    text = file.read_text()
    file.unlink()
    os.mkfifo(file)
    write = {"keyPath": "model", "value": "another", "mergeStrategy": "replace"}
    for method, params in (
        ("config/read", {}),
        ("config/value/write", write),
        ("model/list", {}),
        ("thread/start", {}),
    ):
        with pytest.raises(RpcError, match="it is a pipe"):
            running.request(method, params)
    file.unlink()
    file.write_text(text)
    running.start_thread()


def test_project_layers_count_in_trusted_projects_only(server, home, workspace):
    (workspace / ".git").mkdir()
    below = workspace / "below"
    for folder, text in (
        (workspace, 'model = "of the project"\nmodel_provider = "evil"\nreview_model = "r"\n'),
        (below, 'model = "from below"\n'),
    ):
        (folder / ".codex").mkdir(parents=True)
        (folder / ".codex" / "config.toml").write_text(text)
    client = server()
    read = {"cwd": str(below), "includeLayers": True}

    answer = client.request("config/read", read)
    projects = [layer for layer in answer["layers"] if layer["name"]["type"] == "project"]
    assert [layer["config"] for layer in projects] == [{}, {}]
    assert all("is not trusted" in layer["disabledReason"] for layer in projects)
    assert client.request("thread/start", {"cwd": str(below)})["model"] == "gpt-6.1-sol"

    write(client, f'projects."{workspace}".trust_level', "trusted")
    answer = client.request("config/read", read)
    projects = [layer for layer in answer["layers"] if layer["name"]["type"] == "project"]
    assert [layer["config"] for layer in projects] == [
        {"model": "from below"},
        {"model": "of the project", "review_model": "r"},
    ]
    assert [layer["name"]["dotCodexFolder"] for layer in projects] == [
        f"{below}/.codex",
        f"{workspace}/.codex",
    ]
    assert (answer["config"]["model"], answer["config"]["review_model"]) == ("from below", "r")
    assert answer["config"]["model_provider"] == "scripted"
    assert answer["origins"]["review_model"]["name"] == projects[1]["name"]
    started = client.request("thread/start", {"cwd": str(below)})
    assert (started["model"], started["modelProvider"]) == ("from below", "scripted")
    assert client.request("config/read", {})["config"]["model"] == "gpt-6.1-sol"

    write(client, f'projects."{below}".trust_level', "untrusted")
    assert client.request("config/read", read)["config"]["model"] == "of the project"


# --- writing --------------------------------------------------------------------------------------------------


def write_error(client, key, value, **more):
    params = {"keyPath": key, "value": value, "mergeStrategy": "replace", **more}
    return refusal(client, "config/value/write", params)


def test_a_write_counts_for_the_next_thread_and_keeps_the_rest_of_the_file(server, home, workspace):
    file = home / "config.toml"
    file.write_text("# mine\n" + file.read_text().replace('"gpt-6.1-sol"', '"gpt-6.1-sol" # the model'))
    before = file.read_text()
    client = server()
    answer = write(client, "model", "gpt-5.5")
    assert file.read_text() == before.replace('"gpt-6.1-sol"', '"gpt-5.5"')
    assert answer == {
        "status": "ok",
        "version": version(tomli.loads(file.read_text())),
        "filePath": str(file),
        "overriddenMetadata": None,
    }
    assert client.request("thread/start", {"cwd": str(workspace)})["model"] == "gpt-5.5"


def test_a_batch_is_made_as_a_whole_or_not_at_all(server, home):
    client = server()
    before = (home / "config.toml").read_bytes()
    edits = [
        {"keyPath": "model", "value": "one", "mergeStrategy": "replace"},
        {"keyPath": "approval_policy", "value": "bogus", "mergeStrategy": "replace"},
    ]
    refused = refusal(client, "config/batchWrite", {"edits": edits})
    assert refused["code"] == -32600
    assert refused["data"] == {"config_write_error_code": "configValidationError"}
    assert refused["message"].startswith("Invalid configuration: unknown variant `bogus`, expected one of ")
    assert refused["message"].endswith("\nin `approval_policy`\n")
    assert (home / "config.toml").read_bytes() == before
    edits[1]["value"] = "never"
    edits.append(
        {"keyPath": "sandbox_workspace_write", "value": {"network_access": True}, "mergeStrategy": "upsert"}
    )
    assert client.request("config/batchWrite", {"edits": edits})["status"] == "ok"
    config = client.request("config/read", {})["config"]
    assert (config["model"], config["approval_policy"]) == ("one", "never")
    assert config["sandbox_workspace_write"]["network_access"] is True


def test_a_write_that_a_flag_hides_says_so(server):
    client = server("-c", "model_verbosity=low")
    answer = write(client, "model_verbosity", "high")
    assert answer["status"] == "okOverridden"
    assert answer["overriddenMetadata"] == {
        "message": "Overridden by session flags",
        "overridingLayer": {"name": {"type": "sessionFlags"}, "version": version({"model_verbosity": "low"})},
        "effectiveValue": "low",
    }


def test_a_version_that_is_not_the_last_one_is_a_conflict(server, home):
    client = server()
    first = write(client, "model", "one")["version"]
    assert write(client, "model", "two", expectedVersion=first)["status"] == "ok"
    assert write_error(client, "model", "three", expectedVersion=first) == {
        "code": -32600,
        "data": {"config_write_error_code": "configVersionConflict"},
        "message": "Configuration was modified since last read. Fetch latest version and retry.",
    }
    assert 'model = "two"' in (home / "config.toml").read_text()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "model",
            5,
            "Invalid configuration: invalid type: integer `5`, expected a string\nin `model`\n",
        ),
        ("mcp_servers.y", {}, "Invalid configuration: invalid transport\nin `mcp_servers.y`\n"),
        ("a..b", 5, "keyPath segments must not be empty"),
        ("model.x", 5, "cannot set value on non-table parent"),
    ],
)
def test_what_cannot_be_written_is_refused(server, home, key, value, message):
    client = server()
    before = (home / "config.toml").read_bytes()
    data = {"config_write_error_code": "configValidationError"}
    expected = {"code": -32600, "data": data, "message": message}
    assert write_error(client, key, value) == expected
    assert (home / "config.toml").read_bytes() == before


def test_only_the_users_file_can_be_written(server, home, tmp_path):
    client = server()
    assert write(client, "model", "x", filePath=str(home / "config.toml"))["status"] == "ok"
    assert write_error(client, "model", "x", filePath=str(tmp_path / "other.toml")) == {
        "code": -32600,
        "data": {"config_write_error_code": "configLayerReadonly"},
        "message": "Only writes to the user config are allowed",
    }


def test_mode_and_link_of_the_file_are_kept_and_a_new_one_is_private(server, home, tmp_path):
    file, real = home / "config.toml", tmp_path / "dotfiles.toml"
    client = server()
    os.rename(file, real)
    real.chmod(0o640)
    file.symlink_to(real)
    write(client, "model", "x")
    assert file.is_symlink()
    assert tomli.loads(real.read_text())["model"] == "x"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    file.unlink()
    write(client, "model", "y")
    assert file.read_text() == 'model = "y"\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in home.glob("*config*")) == ["config.toml", "config.toml.lock"]


def test_reads_and_writes_keep_their_order(server, home):
    running = server()
    names = [f"model-{number}" for number in range(30)]
    writes = [
        running.start_request(
            "config/value/write", {"keyPath": "model", "value": name, "mergeStrategy": "replace"}
        )
        for name in names
    ]
    read = running.start_request("config/read", {})
    for write in writes:
        assert running.result(write)["status"] == "ok"
    assert running.result(read)["config"]["model"] == names[-1]
    assert f'model = "{names[-1]}"' in (home / "config.toml").read_text().splitlines()


def test_writers_at_once_in_two_servers_lose_nothing(server, home):
    clients = [server(), server()]
    each = 12

    def keep_writing(client: RunningServer, name: str) -> None:
        requests = [
            client.start_request(
                "config/value/write",
                {"keyPath": f"desktop.{name}.n{number}", "value": number, "mergeStrategy": "upsert"},
            )
            for number in range(each)
        ]
        for request in requests:
            client.result(request)

    writers = [
        threading.Thread(target=keep_writing, args=(client, f"w{index}"))
        for index, client in enumerate(clients)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = {f"n{number}": number for number in range(each)}
    assert tomli.loads((home / "config.toml").read_text())["desktop"] == {"w0": expected, "w1": expected}


def test_there_are_no_requirements_and_mcp_servers_can_be_reloaded(server):
    client = server()
    for params in ({}, None):
        assert client.request("configRequirements/read", params) == {
            "supportsIndependentSpeedModes": True,
            "requirements": None,
        }
        assert client.request("config/mcpServer/reload", params) == {}
    assert refusal(client, "configRequirements/read", {"a": 1})["message"] == (
        "Invalid request: invalid type: map, expected unit"
    )


def test_the_old_name_of_an_approval_policy_is_read_as_todays(server, home):
    client = server()
    write(client, "approval_policy", "on-failure")
    assert client.request("config/read", {})["config"]["approval_policy"] == "on-request"
