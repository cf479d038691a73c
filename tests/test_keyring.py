"""A real Secret Service under a private bus, and keyrings that hang, lie or are not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from issuer_server import EMAIL, running_issuer
from private_keyring import missing_program, private_keyring
from protocol_client import ProtocolClient, RpcError
from running_server import ROOT, runtime_folder

from auth.account import key_record
from auth.errors import KeyringUnavailableError
from auth.keyring_store import KeyringStorage, account_name
from auth.stores import open_storage

RECORD = key_record("sk-in-the-keyring")


@pytest.fixture(scope="module")
def keyring():
    """An unlocked keyring on a bus of its own."""
    if missing := missing_program():
        pytest.skip(missing)
    with runtime_folder() as folder, private_keyring(folder) as found:
        yield found


@pytest.fixture
def session(keyring, monkeypatch):
    """This process, and what it starts, have the keyring; a test that ends its daemon or locks it gets another."""
    for name, value in keyring.env.items():
        monkeypatch.setenv(name, value)
    if keyring.daemon.poll() is not None:
        keyring.start()
    return keyring


def lock():
    """As a person or a time-out of the desktop does it."""
    code = "import secretstorage as s; s.get_default_collection(s.dbus_init()).lock()"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def end(session):
    session.daemon.kill()
    session.daemon.wait()


def attributes_of(home):
    """What is on the bus under the home's account, as any program sees it."""
    code = textwrap.dedent(f"""
        import json, secretstorage
        collection = secretstorage.get_default_collection(secretstorage.dbus_init())
        items = [
            [item.get_label(), dict(item.get_attributes()), item.get_secret().decode()]
            for item in collection.search_items({{"username": {account_name(str(home))!r}}})
        ]
        print(json.dumps(items))
    """)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_from_file_to_keyring_to_auto_and_back(session, tmp_path):
    home = str(tmp_path)
    file = tmp_path / "auth.json"
    open_storage("file", home).save(RECORD)
    keyring = open_storage("keyring", home)
    assert keyring.load() is None
    keyring.save(RECORD)
    assert not file.exists()
    [(label, attributes, secret)] = attributes_of(home)
    name = account_name(home)
    assert label == f"{name}@Codex Auth:default (keyring v3.6.3)"
    recorded = {"application": "rust-keyring", "service": "Codex Auth", "target": "default", "username": name}
    assert {key: value for key, value in attributes.items() if not key.startswith("xdg:")} == recorded
    assert secret == '{"auth_mode":"apikey","OPENAI_API_KEY":"sk-in-the-keyring"}'
    auto = open_storage("auto", home)
    assert auto.load() == RECORD
    assert "keyring" in auto.place
    auto.save(key_record("sk-newer"))
    assert len(attributes_of(home)) == 1
    assert not file.exists()
    assert auto.delete() is True
    assert attributes_of(home) == []
    assert auto.load() is None


def test_a_keyring_that_hangs(session, tmp_path, caplog):
    """The daemon is stopped, not gone: it is on the bus and never answers."""
    os.kill(session.daemon.pid, signal.SIGSTOP)
    try:
        with pytest.raises(KeyringUnavailableError, match=r"no answer within 1 s"):
            KeyringStorage(str(tmp_path), 1).probe()
        auto = open_storage("auto", str(tmp_path), 1)
        auto.save(RECORD)
        assert (tmp_path / "auth.json").exists()
        assert "credentials are kept in" in caplog.text
    finally:
        os.kill(session.daemon.pid, signal.SIGCONT)


def test_a_login_of_ours_is_one_of_codex_and_the_other_way_round(session, tmp_path, binary):
    """By keyring and by file; the reader also ends it everywhere."""
    ours = [sys.executable, "-P", "-m", "supervisor", "app-server"]
    codex = [binary, "app-server"]
    with running_issuer() as issuer:
        issuer.consented.set()
        for store in ("keyring", "file"):
            home = tmp_path / store
            home.mkdir()
            base = f'chatgpt_base_url = "{issuer.url}/backend-api"'
            (home / "config.toml").write_text(f'cli_auth_credentials_store = "{store}"\n{base}\n')
            env = {**os.environ, **issuer.env, "PYTHONPATH": str(ROOT)}
            env |= {"CODEX_HOME": str(home), "BULKHEAD_HOME": str(home)}
            for writer, reader in ((ours, codex), (codex, ours)):
                with ProtocolClient(writer, cwd=home, env=env, timeout=60) as client:
                    client.initialize()
                    client.request("account/login/start", {"type": "chatgptDeviceCode"})
                    assert client.wait_for("account/login/completed").params["success"] is True
                    written = seen_by(client)
                assert written[1]["account"]["email"] == EMAIL
                with ProtocolClient(reader, cwd=home, env=env, timeout=60) as client:
                    client.initialize()
                    assert seen_by(client) == written
                    assert client.request("account/logout") == {}
                assert not (home / "auth.json").exists()
                assert attributes_of(home) == []
        assert set(issuer.refresh_tokens.values()) == {"revoked"}


def seen_by(client):
    token = client.request("getAuthStatus", {"includeToken": True})["authToken"]
    return token, client.request("account/read", {"refreshToken": False})


def key_login(server, key):
    return server.request("account/login/start", {"type": "apiKey", "apiKey": key})


def key_of(server):
    return server.request("getAuthStatus", {"includeToken": True})["authToken"]


@pytest.fixture
def keyring_server(session, server, marked, home):
    """A server whose logins are kept as told; `openai` is the provider that wants one."""
    marked.env |= session.env | {"HOME": str(home)}

    def start(store):
        return server("-c", f'cli_auth_credentials_store="{store}"', "-c", 'model_provider="openai"')

    return start


def test_a_locked_keyring_is_a_clear_error(session, keyring_server):
    with keyring_server("keyring") as s:
        key_login(s, "sk-before")
        lock()
        for kind in ({"type": "apiKey", "apiKey": "sk"}, {"type": "chatgpt"}, {"type": "chatgptDeviceCode"}):
            with pytest.raises(RpcError, match="the keyring is locked and was not unlocked"):
                s.request("account/login/start", kind)
        with pytest.raises(RpcError, match=r"logout failed: .* the keyring is locked"):
            s.request("account/logout")
        assert "sk-before" not in s.stderr
    with keyring_server("keyring") as s:
        assert key_of(s) is None
        assert "the keyring is locked" in s.stderr
    end(session)
    session.start()
    with keyring_server("keyring") as s:
        assert key_of(s) == "sk-before"
        s.request("account/logout")


def test_what_a_locked_keyring_has_is_not_taken_for_the_login(session, keyring_server, home):
    file = home / "auth.json"
    with keyring_server("auto") as s:
        key_login(s, "sk-old")
        assert not file.exists()
        lock()
        key_login(s, "sk-new")
        assert "credentials are kept in" in s.stderr
        assert file.exists()
        end(session)  # in between, and back with what it had
        assert key_of(s) == "sk-new"
        session.start()
        assert [secret for _, _, secret in attributes_of(home)] != []
        with keyring_server("auto") as another:
            assert key_of(another) == "sk-new"
        key_login(s, "sk-newest")
        assert not file.exists()
        [(_, _, secret)] = attributes_of(home)
        assert "sk-newest" in secret
        lock()
        s.request("account/logout")
        assert "cannot be deleted now" in s.stderr
    end(session)
    session.start()
    with keyring_server("auto") as s:
        assert key_of(s) is None
        s.request("account/logout")
    assert attributes_of(home) == []
    assert not list(home.glob("auth.keyring*"))


def test_a_daemon_that_dies(session, tmp_path):
    storage = open_storage("auto", str(tmp_path))
    storage.save(RECORD)
    end(session)
    assert storage.load() is None
    with pytest.raises(KeyringUnavailableError):
        open_storage("keyring", str(tmp_path)).save(RECORD)


def test_no_keyring_at_all(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    storage = open_storage("auto", str(tmp_path))
    storage.probe()
    storage.save(RECORD)
    assert "credentials will be kept in" in caplog.text
    assert storage.load() == RECORD
    assert storage.place == str(tmp_path / "auth.json")
    with pytest.raises(
        KeyringUnavailableError, match="failed to write OAuth tokens to keyring: Platform secure"
    ):
        open_storage("keyring", str(tmp_path)).save(RECORD)


def test_a_server_is_not_held_up_by_a_keyring(server, marked, tmp_path):
    """No bus answers; the login fails at once, and says why before anybody goes to a browser."""
    marked.env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={tmp_path}/none"
    with server("-c", 'cli_auth_credentials_store="keyring"') as s:
        for kind in ({"type": "apiKey", "apiKey": "sk"}, {"type": "chatgpt"}):
            with pytest.raises(RpcError, match="no secret service provider or dbus session found"):
                s.request("account/login/start", kind)
