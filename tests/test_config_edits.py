"""Edits of a configuration's text: what they change, and that nothing else does."""

from __future__ import annotations

import string

import pytest
import tomli
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from config.edits import Edit, edit_text, edit_values
from config.errors import ConfigWriteError
from config.key_path import parse_key_path

FILE = """\
# my config
model = "gpt-5.5"   # the model
model_provider = "mock"
# quiet
model_verbosity = "low"

# providers
[model_providers.mock]
name = "Mock" # name
base_url = "http://127.0.0.1:1/v1"
http_headers = { a = "b" } # headers

# projects
[projects."/tmp/a.b"]
trust_level = "trusted"

[[skills.config]]
path = "x" # one

[[skills.config]]
path = "y"
"""


def edited(text, *edits):
    return edit_text(text, tomli.loads(text), [Edit(*edit) for edit in edits])


def changed(before, after):
    """The lines that went and those that came, in order."""
    old, new = before.split("\n"), after.split("\n")
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return old, new


@pytest.mark.parametrize(
    ("path", "value", "gone", "come"),
    [
        (("model",), "x", ['model = "gpt-5.5"   # the model'], ['model = "x"   # the model']),
        (("model",), None, ['model = "gpt-5.5"   # the model'], []),
        (("review_model",), "x", [], ['review_model = "x"']),
        (("model_providers", "mock", "name"), "M", ['name = "Mock" # name'], ['name = "M" # name']),
        (("model_providers", "mock", "env_key"), "K", [], ['env_key = "K"']),
        (
            ("model_providers", "other"),
            {"name": "O", "query_params": {"q": "1"}},
            [],
            [
                "[model_providers.other]",
                'name = "O"',
                "",
                "[model_providers.other.query_params]",
                'q = "1"',
                "",
            ],
        ),
        (
            ("projects", "/tmp/a.b", "trust_level"),
            "untrusted",
            ['trust_level = "trusted"'],
            ['trust_level = "untrusted"'],
        ),
        (
            ("projects", "/new"),
            {"trust_level": "trusted"},
            [],
            ['[projects."/new"]', 'trust_level = "trusted"', ""],
        ),
        (("tui", "a", "b"), [1, {"c": True}], [], ["[tui.a]", "b = [1, {c = true}]", ""]),
        (
            ("model_providers", "mock"),
            None,
            [
                "[model_providers.mock]",
                'name = "Mock" # name',
                'base_url = "http://127.0.0.1:1/v1"',
                'http_headers = { a = "b" } # headers',
            ],
            [],
        ),
    ],
)
def test_an_edit_changes_these_lines_and_no_others(path, value, gone, come):
    assert changed(FILE, edited(FILE, (path, value))) == (gone, come)


def test_a_new_key_stands_above_the_comment_of_the_first_table():
    after = edited(FILE, (("review_model",), "x"))
    assert 'model_verbosity = "low"\nreview_model = "x"\n\n# providers\n' in after


def test_a_comment_about_what_follows_a_table_stays_when_the_table_goes():
    after = edited(FILE, (("model_providers", "mock"), None))
    assert "# providers\n\n# projects\n[projects" in after


def test_upsert_lays_a_table_over_the_one_there():
    value = {"name": "New", "env_key": "K"}
    after = edited(FILE, (("model_providers", "mock"), value, "upsert"))
    assert tomli.loads(after)["model_providers"]["mock"] == {
        **tomli.loads(FILE)["model_providers"]["mock"],
        **value,
    }
    replaced = edited(FILE, (("model_providers", "mock"), value, "replace"))
    assert tomli.loads(replaced)["model_providers"]["mock"] == value


def test_line_ends_and_a_missing_last_one_are_kept():
    after = edited(FILE.replace("\n", "\r\n"), (("review_model",), "x"), (("a", "b"), 1))
    assert after.count("\n") == after.count("\r\n")
    assert edited("a = 1", (("b",), 2)) == "a = 1\nb = 2\n"
    assert edited("", (("b", "c"), 2)) == "[b]\nc = 2\n"


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("model", "x"), 1, "cannot set value on non-table parent"),
        (("a",), {"b": [None]}, "invalid value: invalid type: null, expected any valid TOML value"),
        (("a",), 2**63, "invalid value: integer `9223372036854775808` does not fit into 64 bits"),
    ],
)
def test_what_toml_cannot_say_is_refused(path, value, text):
    with pytest.raises(ConfigWriteError, match=f"^{text}$"):
        edited(FILE, (path, value))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("model", ("model",)),
        ('projects."/a.b".trust_level', ("projects", "/a.b", "trust_level")),
        ('a."b\\"c"', ("a", 'b"c')),
        (" a . 'b' ", (" a ", " 'b' ")),
    ],
)
def test_key_paths(text, parts):
    assert parse_key_path(text) == parts


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "keyPath must not be empty"),
        ("a..b", "keyPath segments must not be empty"),
        (".a", "keyPath segments must not be empty"),
        ("a.", "keyPath segments must not be empty"),
        ('a."b', "unterminated quoted keyPath segment"),
        ('a"b"', "invalid quoted keyPath segment"),
    ],
)
def test_key_paths_that_are_none(text, refusal):
    with pytest.raises(ConfigWriteError, match=f"^{refusal}$"):
        parse_key_path(text)


# --- any file, any edit ---------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "c", "d.e", "ü", ""])
SCALARS = (
    st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)
EDITS = st.builds(
    Edit,
    path=st.lists(KEYS, min_size=1, max_size=3).map(tuple),
    value=VALUES | st.none(),
    strategy=st.sampled_from(["replace", "upsert"]),
)
COMMENTS = st.text(string.ascii_letters + " ", max_size=8)


@st.composite
def files(draw):
    """A text as a user may write it: comments and blank lines between the lines of some TOML."""
    rows = []
    for row in tomlkit.dumps(draw(TABLES)).split("\n"):
        if "'''" not in row and '"""' not in row and draw(st.booleans()):
            rows.append(f"# {draw(COMMENTS)}")
        rows.append(row)
    return "\n".join(rows) + draw(st.sampled_from(["", "\n", "\n\n# end\n"]))


@given(text=files(), edits=st.lists(EDITS, min_size=1, max_size=3))
def test_the_text_holds_what_was_asked_for_and_every_comment_of_what_stays(text, edits):
    values = tomli.loads(text)
    try:
        wanted = edit_values(values, edits)
        after = edit_text(text, values, edits)
    except ConfigWriteError:
        return
    assert pruned(tomli.loads(after)) == pruned(wanted)


@given(text=files(), key=st.sampled_from(["new", "other key"]), value=SCALARS)
def test_all_lines_stay_when_a_key_comes(text, key, value):
    after = edit_text(text, tomli.loads(text), [Edit((key,), value)])
    rest = iter(after.split("\n"))
    assert all(row in rest for row in text.split("\n") if row.strip())


@given(text=files(), data=st.data())
def test_all_other_lines_stay_when_a_plain_value_is_another(text, data):
    values = tomli.loads(text)
    plain = [key for key, value in values.items() if isinstance(value, int)]
    if not plain:
        return
    key = data.draw(st.sampled_from(plain))
    after = edit_text(text, values, [Edit((key,), "other")])
    old, new = changed(text, after)
    assert len(old) == len(new) == 1


def pruned(values):
    if not isinstance(values, dict):
        return values
    below = {key: pruned(value) for key, value in values.items()}
    return {key: value for key, value in below.items() if value != {}}


# --- a file as people write them ------------------------------------------------------------------------------

MESSY = """\
# head

model = "m" # c
a.b = 1 # dotted
a.c.d = [1,
  2, # two
]
[x] # x
k = \'\'\'multi
line\'\'\'
[x.y.z]
q = {i = 1, j.k = 2}
# about projects
[projects."/a.b"] # p
trust_level = "trusted"

[[l.m]]
n = 1
[l.m.o]
p = 2
[[l.m]]
n = 2

# providers
[model_providers.a]
name = "A"
[tui]
theme = "t"
[model_providers.b]
name = "B"
  indented = 1
# end
"""
"""Dotted keys, arrays of tables, values over several lines, and a table in two places."""

NEW_VALUES = (None, 1, "s", [1, {"a": 2}], {"t": {"u": 1}})


def paths(values, at=()):
    for key, value in values.items():
        yield from ((*at, key), (*at, "new"), (*at, "new", "er"))
        if isinstance(value, dict):
            yield from paths(value, (*at, key))


def test_all_comments_between_the_lines_survive_every_edit():
    values = tomli.loads(MESSY)
    comments = [line for line in MESSY.split("\n") if line.startswith("#")]
    refused = []
    for path in sorted(set(paths(values))):
        for value in NEW_VALUES:
            edit = Edit(path, value)
            try:
                wanted = edit_values(values, [edit])
            except ConfigWriteError:
                continue  # below what is no table
            try:
                after = edit_text(MESSY, values, [edit])
            except ConfigWriteError:
                refused.append(edit)
                continue
            assert pruned(tomli.loads(after)) == pruned(wanted), edit
            assert [line for line in after.split("\n") if line.startswith("#")] == comments, edit
    # The only thing that tomlkit does not do: a table in the place of one that dotted keys made in an inline table.
    assert [edit.path for edit in refused] == [("x", "y", "z", "q", "j")]
