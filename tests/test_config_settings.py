from __future__ import annotations

import msgspec
import pytest

from config.document import Document, load_document
from config.errors import InvalidSettingError, ProviderNotFoundError
from config.providers import find_provider, providers_of
from config.settings import Bulkhead, Settings, settings_of
from protocol.policy import Granular, GranularApproval


def load(home, text, **flags):
    (home / "config.toml").write_text(text)
    return load_document(str(home), **flags)


def test_an_empty_configuration_has_the_defaults():
    settings = settings_of(Document())
    assert settings == Settings()
    assert settings.project_doc_max_bytes == 32768
    assert settings.project_root_markers == (".git",)
    assert settings.cli_auth_credentials_store == "file"
    assert settings.bulkhead == Bulkhead()


def test_what_we_understand_is_typed_and_the_rest_ignored(tmp_path):
    settings = settings_of(
        load(
            tmp_path,
            """
            frobnicate = 3
            model = "m"
            approval_policy = { granular = { sandbox_approval = true, rules = false, mcp_elicitations = true } }
            sandbox_workspace_write.writable_roots = ["/a"]
            [projects."/x"]
            trust_level = "trusted"
            unknown = 5
            [tools]
            web_search = { context_size = "low" }
            update_plan.enabled = true
            [features]
            on = true
            off = false
            table = { enabled = true }
            [shell_environment_policy]
            inherit = "core"
            set = { A = "b" }
            [bulkhead]
            parked_workers = 0
            restart_window_s = 5
            """,
        )
    )
    assert settings.model == "m"
    granular = Granular(sandbox_approval=True, rules=False, mcp_elicitations=True)
    assert settings.approval_policy == GranularApproval(granular=granular)
    assert settings.sandbox_workspace_write.writable_roots == ("/a",)
    assert settings.projects["/x"].trust_level == "trusted"
    assert settings.tools.update_plan.enabled
    assert settings.shell_environment_policy.set == {"A": "b"}
    assert settings.bulkhead == Bulkhead(parked_workers=0, restart_window_s=5.0)
    assert [settings.feature(name) for name in ("on", "off", "table", "none")] == [True, False, True, False]
    assert settings.feature("none", default=True)


@pytest.mark.parametrize(
    ("text", "place", "reason", "key"),
    [
        ("model = 5", "1:9", "invalid type: integer `5`, expected a string", "model"),
        ("\nmodel.x = 1", "2:1", "invalid type: map, expected a string", "model"),
        ('model = ["a"]', "1:9", "invalid type: sequence, expected a string", "model"),
        (
            'hide_agent_reasoning = "yes"',
            "1:24",
            'invalid type: string "yes", expected a boolean',
            "hide_agent_reasoning",
        ),
        (
            "project_doc_max_bytes = 1.5",
            "1:25",
            "invalid type: floating point `1.5`, expected i64",
            "project_doc_max_bytes",
        ),
        (
            "model_context_window = -5",
            "1:24",
            "invalid value: integer `-5`, expected `int` >= 1",
            "model_context_window",
        ),
        (
            'sandbox_mode = "zz"',
            "1:16",
            "unknown variant `zz`, expected one of `read-only`, `workspace-write`, `danger-full-access`",
            "sandbox_mode",
        ),
        (
            '[projects."/a.b"]\n[projects.c]\ntrust_level = "maybe"',
            "3:15",
            "unknown variant `maybe`, expected `trusted` or `untrusted`",
            "projects.c.trust_level",
        ),
        (
            '[projects."/a.b"]\ntrust_level = 1',
            "2:15",
            "invalid type: integer `1`, expected a string",
            'projects."/a.b".trust_level',
        ),
        (
            '[sandbox_workspace_write]\nwritable_roots = ["/a",\n 5]',
            "3:2",
            "invalid type: integer `5`, expected a string",
            "sandbox_workspace_write.writable_roots[1]",
        ),
        (
            'sandbox_workspace_write = "x"',
            "1:27",
            'invalid type: string "x", expected a table',
            "sandbox_workspace_write",
        ),
        (
            "shell_environment_policy = { set = { A = 1 } }",
            "1:42",
            "invalid type: integer `1`, expected a string",
            "shell_environment_policy.set.A",
        ),
        (
            "[bulkhead]\nworker_nice = 20",
            "2:15",
            "invalid value: integer `20`, expected `int` <= 19",
            "bulkhead.worker_nice",
        ),
        (
            "approval_policy.granular.rules = 1",
            "1:1",
            "missing field `mcp_elicitations`",
            "approval_policy.granular",
        ),
        (
            "tools.web_search = 5",
            "1:20",
            "invalid type: integer `5`, expected a boolean or a table",
            "tools.web_search",
        ),
        (
            "model = 1979-05-27",
            "1:9",
            "invalid type: datetime `1979-05-27`, expected a string",
            "model",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_key(tmp_path, text, place, reason, key):
    with pytest.raises(InvalidSettingError) as caught:
        settings_of(load(tmp_path, text))
    assert str(caught.value) == f"{tmp_path}/config.toml:{place}: {reason} (in `{key}`)"
    assert (caught.value.key, caught.value.reason) == (key, reason)


def test_the_stronger_layer_is_to_blame(tmp_path):
    with pytest.raises(InvalidSettingError) as caught:
        settings_of(load(tmp_path, 'model = "fine"', overrides=["model=5"]))
    # the text of Codex 0.169, line end included
    assert str(caught.value) == "invalid type: integer `5`, expected a string\nin `model`\n"
    assert caught.value.file is None

    profile = '[profiles.p]\nmodel = "fine"\n[profiles.p.history]\npersistence = "zz"'
    with pytest.raises(InvalidSettingError) as caught:
        settings_of(load(tmp_path, profile, profile="p"))
    assert (caught.value.line, caught.value.column) == (4, 15)
    assert caught.value.reason == "unknown variant `zz`, expected `save-all` or `none`"


def test_a_flag_is_no_excuse_for_a_sibling_in_the_file(tmp_path):
    with pytest.raises(InvalidSettingError) as caught:
        settings_of(load(tmp_path, "[bulkhead]\nparked_workers = -1", overrides=["bulkhead.worker_nice=3"]))
    assert (caught.value.file, caught.value.line) == (str(tmp_path / "config.toml"), 2)


def test_every_bulkhead_setting_is_documented():
    for name in Bulkhead.__struct_fields__:
        assert name in Bulkhead.__doc__


# --- providers ---------------------------------------------------------------------------------------


def test_the_built_in_providers_and_their_addresses():
    openai = find_provider(Document(), "openai")
    assert openai.requires_openai_auth
    endpoint = openai.endpoint("openai", {})
    assert endpoint.url(chatgpt_login=False) == "https://api.openai.com/v1"
    assert endpoint.url(chatgpt_login=True) == "https://chatgpt.com/backend-api/codex"
    assert (endpoint.request_max_retries, endpoint.stream_max_retries) == (4, 5)
    assert endpoint.stream_idle_timeout_ms == 300_000
    urls = {
        name: find_provider(Document(), name).endpoint(name, {}).base_url for name in ("ollama", "lmstudio")
    }
    assert urls == {"ollama": "http://localhost:11434/v1", "lmstudio": "http://localhost:1234/v1"}


def test_openai_can_be_moved_for_both_logins():
    openai = find_provider(Document(), "openai")
    environ = {"OPENAI_BASE_URL": "http://env/v1/"}
    assert openai.endpoint("openai", environ).url(chatgpt_login=True) == "http://env/v1"
    assert openai.endpoint("openai", environ, openai_base_url="http://file").base_url == "http://file"
    assert openai.endpoint("openai", {"OPENAI_BASE_URL": ""}).base_url == "https://api.openai.com/v1"


def test_a_provider_of_the_file_has_its_own_numbers(tmp_path):
    document = load(
        tmp_path,
        """
        [model_providers.z]
        name = "Z"
        base_url = "http://z/v1/"
        wire_api = "chat"
        query_params = { v = "1" }
        request_max_retries = 0
        stream_max_retries = 1000
        stream_idle_timeout_ms = 60000
        """,
    )
    environ = {"OPENAI_BASE_URL": "http://elsewhere"}
    endpoint = find_provider(document, "z").endpoint("z", environ, openai_base_url="http://elsewhere")
    assert msgspec.to_builtins(endpoint) == {
        "id": "z",
        "name": "Z",
        "base_url": "http://z/v1",
        "chatgpt_base_url": None,
        "wire_api": "chat",
        "query_params": {"v": "1"},
        "request_max_retries": 0,
        "stream_max_retries": 100,
        "stream_idle_timeout_ms": 60000,
        "supports_websockets": False,
    }


def test_an_unknown_provider_is_named():
    with pytest.raises(ProviderNotFoundError) as caught:
        find_provider(Document(), "nope")
    assert str(caught.value) == "Model provider `nope` not found"


@pytest.mark.parametrize(
    ("table", "place", "reason"),
    [
        (
            'name = "z"\nrequest_max_retries = "three"',
            "3:23",
            'invalid type: string "three", expected i64',
        ),
        ('name = "z"\nwire_api = "soap"', "3:12", "unknown variant `soap`, expected `responses` or `chat`"),
        (
            'name = "z"\nhttp_headers = { a = "b", c = 5 }',
            "3:31",
            "invalid type: integer `5`, expected a string",
        ),
        ('base_url = "http://x"', "1:2", "missing field `name`"),
        ('name = " "', "2:8", "provider name must not be empty"),
        ('name = "z"\nbase_url = "z.example/v1"', "3:12", "expected an http or https URL"),
    ],
)
def test_a_wrong_provider_is_named_with_its_place(tmp_path, table, place, reason):
    with pytest.raises(InvalidSettingError) as caught:
        providers_of(load(tmp_path, f"[model_providers.z]\n{table}"))
    assert str(caught.value).startswith(f"{tmp_path}/config.toml:{place}: {reason} (in `model_providers.z")


def test_built_in_providers_cannot_be_replaced(tmp_path):
    document = load(tmp_path, '[model_providers.ollama]\nname = "mine"\n')
    with pytest.raises(InvalidSettingError, match=r"1:2: .*reserved built-in provider IDs: `ollama`"):
        providers_of(document)


def test_a_provider_shows_no_secret(tmp_path):
    provider = find_provider(
        load(
            tmp_path,
            '[model_providers.z]\nname = "z"\nexperimental_bearer_token = "s3cret"\nhttp_headers = { a = "s3cret" }',
        ),
        "z",
    )
    assert provider.experimental_bearer_token == "s3cret"
    assert "s3cret" not in f"{provider!r}{provider}{provider.__rich_repr__()}"
    assert "s3cret" not in repr(provider.endpoint("z", {}))
