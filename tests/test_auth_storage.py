from __future__ import annotations

import json
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.errors import StorageError
from auth.record import AuthRecord, Tokens
from auth.storage import FileStorage

RECORD = AuthRecord(
    auth_mode="chatgpt",
    api_key="sk-s3cret",
    tokens=Tokens(
        id_token="id-s3cret",
        access_token="access-s3cret",
        refresh_token="refresh-s3cret",
        account_id="acct-1",
        oauth_provenance={"issuer": "https://auth.example", "client_id": "c"},
        login_owner_id="owner-s3cret",
    ),
    last_refresh="2026-11-22T17:01:28.144561542Z",
    extra={"agent_identity": {"token": "other-s3cret"}},
)


def test_no_file_is_no_record_and_nothing_to_delete(tmp_path):
    storage = FileStorage(str(tmp_path))
    assert storage.load() is None
    assert storage.delete() is False


def test_a_record_survives_in_the_peers_format(tmp_path):
    storage = FileStorage(str(tmp_path))
    storage.save(RECORD)
    assert storage.load() == RECORD
    text = (tmp_path / "auth.json").read_text()
    assert text.startswith(
        '{\n  "auth_mode": "chatgpt",\n  "OPENAI_API_KEY": "sk-s3cret",\n  "tokens": {\n    "id_token"'
    )
    assert json.loads(text)["agent_identity"] == {"token": "other-s3cret"}
    assert storage.delete() is True
    assert os.listdir(tmp_path) == ["auth.json.lock"]


def test_a_key_is_written_without_tokens(tmp_path):
    FileStorage(str(tmp_path)).save(AuthRecord(auth_mode="apikey", api_key="sk-1"))
    assert json.loads((tmp_path / "auth.json").read_text()) == {
        "auth_mode": "apikey",
        "OPENAI_API_KEY": "sk-1",
    }


def test_an_old_file_is_read(tmp_path):
    tokens = {"id_token": "i", "access_token": "a", "refresh_token": "r", "account_id": None}
    (tmp_path / "auth.json").write_text(
        json.dumps({"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "t"})
    )
    record = FileStorage(str(tmp_path)).load()
    assert record == AuthRecord(
        tokens=Tokens(id_token="i", access_token="a", refresh_token="r"), last_refresh="t"
    )


@given(
    mode=st.none() | st.text(),
    key=st.none() | st.text(),
    extra=st.dictionaries(
        st.sampled_from(["extra", "x", "api_key", "shown"]),
        st.none() | st.text() | st.lists(st.integers(0, 9)),
    ),
)
@settings(max_examples=30, deadline=None)  # each is synced to the disk, which may be busy
def test_any_record_comes_back(tmp_path_factory, mode, key, extra):
    storage = FileStorage(str(tmp_path_factory.getbasetemp()))
    record = AuthRecord(auth_mode=mode, api_key=key, extra=extra)
    storage.save(record)
    assert storage.load() == record
    assert storage.delete()


def test_only_the_owner_may_read_whatever_was_there_before(tmp_path):
    path = tmp_path / "auth.json"
    path.write_text("{}")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        FileStorage(str(tmp_path)).save(RECORD)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "auth.json").symlink_to(tmp_path / "real/credentials.json")
    storage = FileStorage(str(tmp_path))
    storage.save(RECORD)
    assert (tmp_path / "auth.json").is_symlink()
    assert storage.load() == RECORD
    assert os.listdir(tmp_path / "real") == ["credentials.json"]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    storage = FileStorage(str(tmp_path))
    storage.save(RECORD)

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"cannot write .*auth\.json: No space left on device"):
        storage.save(AuthRecord(auth_mode="apikey", api_key="new"))
    assert storage.load() == RECORD
    assert sorted(os.listdir(tmp_path)) == ["auth.json", "auth.json.lock"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'"s3cret"',
        b"\xff",
        b'{"OPENAI_API_KEY": ["s3cret"]}',
        b'{"tokens": {"id_token": "s3cret"}}',
        b'{"tokens": "s3cret"}',
        b'{"OPENAI_API_KEY": "s3cret\n"}',
    ],
)
def test_a_damaged_file_is_named_without_what_is_in_it(tmp_path, text):
    (tmp_path / "auth.json").write_bytes(text)
    with pytest.raises(StorageError, match=r"auth\.json is damaged: ") as caught:
        FileStorage(str(tmp_path)).load()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "auth.json").mkdir()
    storage = FileStorage(str(tmp_path))
    for action in (storage.load, lambda: storage.save(RECORD), storage.delete):
        with pytest.raises(StorageError, match=r"cannot (read|write|delete) .*auth\.json: "):
            action()
    assert sorted(os.listdir(tmp_path)) == ["auth.json", "auth.json.lock"]


def test_a_record_shows_no_secret():
    shown = f"{RECORD!r} {RECORD} {RECORD.__rich_repr__()} {RECORD.tokens}"
    assert "s3cret" not in shown
    assert "acct-1" in shown
    assert "chatgpt" in shown
