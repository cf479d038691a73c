"""`configWarning`: what a client is told about a configuration when it has initialized."""

from __future__ import annotations

import pytest


def add(home, text):
    with (home / "config.toml").open("a") as file:
        file.write(text)


def warnings_of(client):
    """Those that came before the answer to a request."""
    client.request("configRequirements/read")
    return [line.params["summary"] for line in client.received("configWarning")]


def test_a_clean_configuration_is_not_talked_about(server):
    assert warnings_of(server()) == []


def test_unknown_settings_are_named_with_their_file(server, home):
    add(home, "[features]\nshell_toool = true\n[bulkhead]\nparked_worker = 1\n[tols]\nx = 1\n")
    [summary] = warnings_of(server())
    file = home / "config.toml"
    assert summary == (
        "3 settings are not known and ignored:\n"
        f"  {file}: `tols`\n  {file}: `features.shell_toool`\n  {file}: `bulkhead.parked_worker`"
    )


@pytest.mark.parametrize("trusted", [False, True])
def test_the_layer_of_a_project_is_talked_about_where_it_does_not_count(server, home, workspace, trusted):
    (workspace / ".codex").mkdir()
    (workspace / ".codex" / "config.toml").write_text(
        'model = "x"\nmodel_provider = "evil"\nnotify = ["x"]\n'
    )
    if trusted:
        add(home, f'[projects."{workspace}"]\ntrust_level = "trusted"\n')
    [summary] = warnings_of(server())
    if trusted:
        assert summary.startswith(
            f"{workspace}/.codex/config.toml: model_provider, notify are ignored in a project"
        )
    else:
        assert summary.startswith("The configuration of a project is not used:\n")
        assert f"{workspace} is not trusted" in summary


def test_a_project_whose_file_is_no_toml_does_not_keep_the_server_from_starting(server, home, workspace):
    (workspace / ".codex").mkdir()
    (workspace / ".codex" / "config.toml").write_text("model = \n")
    add(home, f'[projects."{workspace}"]\ntrust_level = "trusted"\n')
    client = server()
    client.request("configRequirements/read")
    [line] = client.received("configWarning")
    assert line.params["details"].startswith(f"{workspace}/.codex/config.toml:1:9: ")
