from __future__ import annotations

import os

import pytest

from config.document import Origin, load_document, parse_override
from config.errors import InvalidOverrideError, MalformedConfigError, ProfileNotFoundError


def write(home, text, name="config.toml"):
    (home / name).write_text(text)


def test_a_missing_file_is_an_empty_configuration(tmp_path):
    document = load_document(str(tmp_path))
    assert document.layers == ()
    assert document.merged() == {}


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('model = "x"\nfoo = = 3\n', 2, 7),
        ("[a\n", 1, 3),
        ('a = "never ends\n', 1, 16),
        ("a = 1\na = 2\n", 2, 6),
    ],
)
def test_what_is_no_toml_is_named_with_its_place(tmp_path, text, line, column):
    write(tmp_path, text)
    with pytest.raises(MalformedConfigError) as caught:
        load_document(str(tmp_path))
    file = str(tmp_path / "config.toml")
    assert (caught.value.file, caught.value.line, caught.value.column) == (file, line, column)
    assert str(caught.value) == f"{file}:{line}:{column}: {caught.value.reason}"
    assert caught.value.reason


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "config.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(MalformedConfigError, match=r"config\.toml: not UTF-8 text \(byte 5\)"):
        load_document(str(tmp_path))
    os.unlink(tmp_path / "config.toml")
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(MalformedConfigError, match=r"config\.toml: cannot be read: Is a directory"):
        load_document(str(tmp_path))


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("model=foo", {"model": "foo"}),
        ('model="foo"', {"model": "foo"}),
        ("model='foo'", {"model": "foo"}),
        ("model= x y ", {"model": "x y"}),
        ('model="never ends', {"model": "never ends"}),
        ("model=", {"model": ""}),
        ("model=5", {"model": 5}),
        ("a.b=true", {"a": {"b": True}}),
        ("a={b=1, c=[2]}", {"a": {"b": 1, "c": [2]}}),
        ("a.b=x=y", {"a": {"b": "x=y"}}),
        ('projects."/a.b".trust_level=trusted', {"projects": {"/a.b": {"trust_level": "trusted"}}}),
        ("a=1\nb=2", {"a": "1\nb=2"}),
    ],
)
def test_overrides_are_toml_or_else_text(argument, values):
    assert parse_override(argument) == values


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("model", "Invalid override (missing '='): model"),
        ("=x", "Empty key in override: =x"),
        ("a..b=1", "Invalid key in override (a part is empty): a..b=1"),
    ],
)
def test_broken_overrides_are_refused(argument, text):
    with pytest.raises(InvalidOverrideError) as caught:
        parse_override(argument)
    assert str(caught.value) == text


def test_layers_lie_over_each_other_and_keep_their_origin(tmp_path):
    write(
        tmp_path,
        'model = "file"\neffort = "low"\n[t]\na = 1\nb = [1, 2]\n[profiles.p]\neffort = "high"\nt.a = 2\n',
    )
    document = load_document(
        str(tmp_path), profile="p", overrides=["model=flag", "t.b=[3]"], enable=["x"], disable=["y"]
    ).with_request({"t.c": 4, "t": {"d": 5}, "effort": None})
    merged = document.merged()
    assert merged["model"] == "flag"
    assert merged["effort"] == "high"
    assert merged["t"] == {"a": 2, "b": [3], "c": 4, "d": 5}
    assert merged["features"] == {"x": True, "y": False}
    file = str(tmp_path / "config.toml")
    origins = {
        path: document.layer_of(path).origin
        for path in [("model",), ("effort",), ("t", "a"), ("t", "b"), ("t", "c")]
    }
    assert origins == {
        ("model",): Origin("flags"),
        ("effort",): Origin("profile", file, "p"),
        ("t", "a"): Origin("profile", file, "p"),
        ("t", "b"): Origin("flags"),
        ("t", "c"): Origin("request"),
    }
    assert document.position_of(("effort",))[1].line == 7
    assert document.layers[0].values["t"] == {"a": 1, "b": [1, 2]}, "merging leaves the layers as they are"


def test_a_table_replaces_a_value_and_a_value_a_table(tmp_path):
    write(tmp_path, "a = 1\n[b]\nc = 1\n")
    assert load_document(str(tmp_path), overrides=["a.x=2", "b=3"]).merged() == {"a": {"x": 2}, "b": 3}


def test_a_profile_may_have_a_file_of_its_own(tmp_path):
    write(tmp_path, 'model = "file"\nprofile = "q"\n[profiles.p]\nmodel = "table"\n')
    write(tmp_path, 'model = "own"\n', "q.config.toml")
    assert load_document(str(tmp_path)).merged()["model"] == "own"
    assert load_document(str(tmp_path), profile="p").merged()["model"] == "table"
    with pytest.raises(ProfileNotFoundError, match="profile `r` not found"):
        load_document(str(tmp_path), profile="r")
    with pytest.raises(ProfileNotFoundError):
        load_document(str(tmp_path), profile="../q")


def test_a_request_with_a_broken_key_is_refused(tmp_path):
    with pytest.raises(InvalidOverrideError):
        load_document(str(tmp_path)).with_request({"a..b": 1})
