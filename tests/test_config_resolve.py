from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from config.document import load_document
from config.errors import InvalidSettingError, MalformedConfigError, ProviderNotFoundError
from config.resolve import GOAL_TOOLS, ThreadOverrides, ThreadSettings, resolve_thread
from protocol.policy import ReadOnly, WorkspaceWrite
from protocol.threads import PermissionProfile, ThreadStartParams

TRACE = Path(__file__).resolve().parents[2] / "shared/protocol/traces-0.169/03-thread-start-variants.jsonl"
MOCK = '[model_providers.mock]\nname = "Mock"\nbase_url = "http://127.0.0.1:9/v1"\n'
READ_ONLY = PermissionProfile(id=":read-only")
WORKSPACE = PermissionProfile(id=":workspace")


class Place:
    """A home, a git checkout and a way to resolve."""

    def __init__(self, tmp_path):
        self.home = tmp_path / "home"
        self.root = tmp_path / "root"
        self.home.mkdir()
        (self.root / "sub/deep").mkdir(parents=True)
        (self.root / ".git").mkdir()
        self.environ = {"HOME": str(tmp_path)}

    def resolve(self, text="", /, *, cwd=None, flags=(), **overrides):
        (self.home / "config.toml").write_text(text)
        return resolve_thread(
            load_document(str(self.home), overrides=flags),
            ThreadOverrides(cwd=str(self.root if cwd is None else cwd), **overrides),
            home=str(self.home),
            server_cwd=str(self.root),
            environ=self.environ,
        )


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def trust(folder, level="trusted"):
    return f'[projects."{folder}"]\ntrust_level = "{level}"\n'


def exchanges():
    messages = [json.loads(line)["msg"] for line in TRACE.read_text().splitlines() if '"msg"' in line]
    answers = {m["id"]: m for m in messages if "id" in m and "method" not in m}
    for message in messages:
        if message.get("method") == "thread/start":
            yield message["params"], answers[message["id"]]


@pytest.mark.skipif(not TRACE.exists(), reason="the recordings are not here")
def test_thread_starts_resolve_as_the_peer_answered_them(tmp_path):
    (tmp_path / "config.toml").write_text('model = "gpt-5.5"\nmodel_provider = "mock"\n' + MOCK)
    document = load_document(str(tmp_path))
    checked = 0
    for params, answer in exchanges():
        try:
            overrides = ThreadOverrides.of(msgspec.convert(params, ThreadStartParams))
        except msgspec.ValidationError:
            assert params["approvalPolicy"] == "on-failure"
            assert "error" in answer
            continue
        if params.get("modelProvider") == "nope":
            with pytest.raises(ProviderNotFoundError) as caught:
                resolve_thread(
                    document, overrides, home=str(tmp_path), server_cwd="/home/user/project", environ={}
                )
            assert answer["error"]["message"] == f"failed to load configuration: {caught.value}"
            continue
        if "error" in answer:
            assert answer["error"]["message"].startswith("askForApproval.granular requires")
            continue
        result = answer["result"]
        ours = resolve_thread(
            document, overrides, home=str(tmp_path), server_cwd="/home/user/project", environ={}
        )
        assert json.loads(
            msgspec.json.encode(
                {
                    "model": ours.model,
                    "modelProvider": ours.provider.id,
                    "serviceTier": ours.service_tier,
                    "cwd": ours.cwd,
                    "instructionSources": ours.instruction_sources,
                    "approvalPolicy": ours.approval_policy,
                    "approvalsReviewer": ours.approvals_reviewer,
                    "sandbox": ours.sandbox,
                    "activePermissionProfile": ours.permission_profile,
                    "reasoningEffort": ours.reasoning_effort,
                }
            )
        ) == {
            key: result[key]
            for key in (
                "model",
                "modelProvider",
                "serviceTier",
                "cwd",
                "instructionSources",
                "approvalPolicy",
                "approvalsReviewer",
                "sandbox",
                "activePermissionProfile",
                "reasoningEffort",
            )
        }
        checked += 1
    assert checked == 5


def test_without_any_configuration(place):
    settings = place.resolve()
    assert (settings.model, settings.provider.id) == ("gpt-6.1-sol", "openai")
    assert (settings.approval_policy, settings.sandbox) == ("on-request", ReadOnly())
    assert settings.permission_profile == READ_ONLY
    assert settings.trust is None
    assert settings.verbosity == "low"


@pytest.mark.parametrize(
    ("trusted", "cwd", "expected"),
    [
        (".", ".", "trusted"),
        (".", "sub/deep", "trusted"),
        ("sub", "sub", "trusted"),
        ("sub", "sub/deep", None),
        ("..", ".", None),
    ],
)
def test_trust_is_of_the_folder_or_its_git_root(place, trusted, cwd, expected):
    settings = place.resolve(trust((place.root / trusted).resolve()), cwd=place.root / cwd)
    assert settings.trust == expected
    if expected:
        assert (settings.sandbox, settings.permission_profile) == (WorkspaceWrite(), WORKSPACE)
    else:
        assert (settings.sandbox, settings.permission_profile) == (ReadOnly(), READ_ONLY)
    assert settings.approval_policy == "on-request"


def test_distrust_asks_about_every_command(place):
    config = trust(place.root) + trust(place.root / "sub", "untrusted")
    settings = place.resolve(config, cwd=place.root / "sub")
    assert (settings.trust, settings.approval_policy) == ("untrusted", "untrusted")
    assert (settings.sandbox, settings.permission_profile) == (WorkspaceWrite(), WORKSPACE)
    assert place.resolve(config, cwd=place.root / "sub", approval_policy="never").approval_policy == "never"


def test_trust_looks_through_links(place, tmp_path):
    (tmp_path / "link").symlink_to(place.root)
    assert place.resolve(trust(place.root), cwd=tmp_path / "link").trust == "trusted"


def worktree(place, tmp_path, *, listed):
    entry = place.root / ".git/worktrees/w"
    entry.mkdir(parents=True)
    folder = tmp_path / "worktree"
    folder.mkdir()
    (folder / ".git").write_text(f"gitdir: {entry}\n")
    (entry / "gitdir").write_text(f"{folder if listed else tmp_path / 'other'}/.git\n")
    return folder


def test_a_worktree_is_trusted_as_its_repository_is(place, tmp_path):
    assert place.resolve(trust(place.root), cwd=worktree(place, tmp_path, listed=True)).trust == "trusted"


def test_a_folder_cannot_make_itself_the_worktree_of_a_trusted_repository(place, tmp_path):
    assert place.resolve(trust(place.root), cwd=worktree(place, tmp_path, listed=False)).trust is None


@pytest.mark.parametrize("mode", ["read-only", "workspace-write", "danger-full-access"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_chosen_sandbox_has_no_profile(place, mode, trusted):
    config = trust(place.root) if trusted else ""
    by_request = place.resolve(config, sandbox=mode)
    by_file = place.resolve(f'sandbox_mode = "{mode}"\n{config}')
    by_config = place.resolve(config, config={"sandbox_mode": mode})
    assert by_request == by_file == by_config
    assert by_request.permission_profile is None
    assert msgspec.to_builtins(by_request.sandbox)["type"].lower() == mode.replace("-", "")


def test_the_workspace_table_counts_as_a_choice_only_where_it_is_used(place):
    table = "[sandbox_workspace_write]\nnetwork_access = true\n"
    unknown = place.resolve(table)
    assert (unknown.sandbox, unknown.permission_profile) == (ReadOnly(), READ_ONLY)
    trusted = place.resolve(table + trust(place.root))
    assert (trusted.sandbox, trusted.permission_profile) == (WorkspaceWrite(network_access=True), None)


def test_writable_roots_are_absolute_single_and_not_the_cwd(place, tmp_path):
    table = (
        f'[sandbox_workspace_write]\nwritable_roots = ["/opt/x", "rel", "~/y", "/opt/./x", "{place.root}"]\n'
    )
    roots = place.resolve(table, sandbox="workspace-write").sandbox.writable_roots
    assert roots == ("/opt/x", str(place.home / "rel"), str(tmp_path / "y"))
    flag = 'sandbox_workspace_write.writable_roots=["rel"]'
    assert place.resolve(flags=[flag], sandbox="workspace-write").sandbox.writable_roots == (
        str(place.root / "rel"),
    )


def test_the_request_wins_over_its_own_config_which_wins_over_the_flags(place):
    everything = {"flags": ["model=flag"], "config": {"model": "config"}}
    assert place.resolve('model = "file"', model="request", **everything).model == "request"
    assert place.resolve('model = "file"', **everything).model == "config"
    assert place.resolve('model = "file"', flags=["model=flag"]).model == "flag"


def test_a_request_can_bring_a_provider_and_trust(place):
    settings = place.resolve(
        config={
            "model_provider": "z",
            "model_providers.z.base_url": "http://z",
            "model_providers.z.name": "Z",
            "projects": {str(place.root): {"trust_level": "trusted"}},
            "model_context_window": 1000,
        }
    )
    assert (settings.provider.id, settings.provider.base_url, settings.trust) == ("z", "http://z", "trusted")
    assert (settings.model_info.usable_window, settings.auto_compact_limit) == (950, 900)


@pytest.mark.parametrize(
    ("cwd", "expected"),
    [
        ("", "{root}"),
        ("rel/./x/../dir/", "{root}/rel/dir"),
        ("~/x", "{home}/x"),
        ("/does/not/exist", "/does/not/exist"),
    ],
)
def test_a_cwd_is_made_absolute(place, tmp_path, cwd, expected):
    assert place.resolve(cwd=cwd).cwd == expected.format(root=place.root, home=tmp_path)


def test_old_spellings_and_bad_values(place):
    assert place.resolve('approval_policy = "on-failure"').approval_policy == "on-request"
    with pytest.raises(InvalidSettingError) as caught:
        place.resolve(config={"sandbox_mode": "zz"})
    expected = "unknown variant `zz`, expected one of `read-only`, `workspace-write`, `danger-full-access`"
    assert str(caught.value) == f"{expected}\nin `sandbox_mode`\n"


def test_instructions_come_from_the_request_a_file_or_the_setting(place):
    config = 'instructions = "setting"\ndeveloper_instructions = "dev"\n'
    assert place.resolve(config).base_instructions == "setting"
    assert place.resolve(config).developer_instructions == "dev"
    (place.home / "base.md").write_text("file")
    with_file = config + 'model_instructions_file = "base.md"\n'
    assert place.resolve(with_file).base_instructions == "file"
    assert place.resolve(with_file, base_instructions="").base_instructions == ""
    with pytest.raises(MalformedConfigError, match=r"none\.md: model_instructions_file cannot be read"):
        place.resolve('model_instructions_file = "none.md"')


def test_user_instructions_are_found_by_the_rules_of_the_settings(place):
    (place.root / "README.md").write_text("read me")
    settings = place.resolve('project_doc_fallback_filenames = ["README.md"]\nproject_doc_max_bytes = 4\n')
    assert (settings.user_instructions, settings.instruction_sources) == (
        "read",
        (str(place.root / "README.md"),),
    )


def test_tools_follow_the_model_and_the_settings(place):
    assert place.resolve(model="gpt-5.5").tools == (
        "exec_command",
        "write_stdin",
        "apply_patch",
        "request_user_input",
        "view_image",
        "tool_search",
        "web_search",
        *GOAL_TOOLS,
    )
    lean = place.resolve(
        "[tools]\nupdate_plan.enabled = true\nview_image = false\nweb_search = false\n[features]\ngoals = false",
        model="?",
    )
    assert lean.tools == ("exec_command", "write_stdin", "update_plan", "request_user_input")
    assert "web_search" not in place.resolve('web_search = "disabled"\ntools.web_search = true').tools
    assert "web_search" in place.resolve('web_search = "live"\ntools.web_search = false').tools


def test_settings_travel_to_a_worker_whole_and_without_secrets(place):
    granular = {"granular": {"sandbox_approval": True, "rules": True, "mcp_elicitations": True}}
    settings = place.resolve(
        MOCK + 'experimental_bearer_token = "s3cret"\nhttp_headers = { x = "s3cret" }\n' + trust(place.root),
        model_provider="mock",
        config={"approval_policy": granular},
    )
    for codec in (msgspec.json, msgspec.msgpack):
        line = codec.encode(settings)
        assert codec.decode(line, type=ThreadSettings) == settings
        assert b"s3cret" not in line
