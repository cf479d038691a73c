from __future__ import annotations

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from config.positions import Position, positions_of, split_key

TEXT = """\
# a comment with [brackets] and = signs
top = "x"   # = 5
"quoted key" = 'a = b'
long = \"\"\"
not = "a key"
[nor.a.table] \\\"\"\" still inside
\"\"\"
raw = '''
x = 1'''
when = 1979-05-27 07:32:00
list = [ 1, # one
  [2, "]"],
  { a = 1, b.c = [true] },
]

[ a . "b.c" ]
inline = { x = { y = 5 }, "z]" = "}" }
d.e.f = 1

[[rows]]
n = 1
[rows.sub]
m = 2
[[rows]]
n = 3
[rows.sub]
m = 4
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        (("top",), 2, 7),
        (("quoted key",), 3, 16),
        (("long",), 4, 8),
        (("raw",), 8, 7),
        (("when",), 10, 8),
        (("list",), 11, 8),
        (("list", 0), 11, 10),
        (("list", 1, 1), 12, 7),
        (("list", 2, "b", "c", 0), 13, 19),
        (("a",), 16, 2),
        (("a", "b.c"), 16, 2),
        (("a", "b.c", "inline", "x", "y"), 17, 22),
        (("a", "b.c", "inline", "z]"), 17, 34),
        (("a", "b.c", "d", "e", "f"), 18, 9),
        (("rows",), 20, 3),
        (("rows", 0, "n"), 21, 5),
        (("rows", 0, "sub", "m"), 23, 5),
        (("rows", 1, "n"), 25, 5),
        (("rows", 1, "sub", "m"), 27, 5),
    ],
)
def test_every_kind_of_value_is_found(path, line, column):
    assert positions_of(TEXT)[path] == Position(line, column)


def paths(value, prefix=()):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*prefix, key)
        yield from paths(item, (*prefix, key))


def test_nothing_is_missed_and_nothing_invented():
    assert set(positions_of(TEXT)) == set(paths(tomli.loads(TEXT)))


def test_windows_line_ends_count_once():
    text = 'a = """\r\nx\r\n"""\r\n[t]\r\nb = 1\r\n'
    assert positions_of(text)["t", "b"] == Position(5, 5)


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=4)
SCALARS = st.one_of(
    st.integers(-(2**60), 2**60).map(str),
    st.booleans().map(lambda b: str(b).lower()),
    st.sampled_from(
        ['"#]}"', "'a,b'", '"""\n"x"\n"""', "'''\n]'''", "1.5e3", "inf", "07:32:00", '""', "''", '"\\""']
    ),
)


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def inline(children):
    listed = st.lists(children, max_size=3).map(lambda items: "[\n" + " # ]\n,".join(items) + " # x\n]")
    tables = st.dictionaries(NAMES, children, max_size=3).map(
        lambda pairs: "{" + ", ".join(f"{quoted(k)} = {v}" for k, v in pairs.items()) + "}"
    )
    return listed | tables


@given(
    st.dictionaries(
        NAMES,
        st.dictionaries(NAMES, st.recursive(SCALARS, inline, max_leaves=6), max_size=4),
        max_size=4,
    )
)
def test_any_document_is_mapped_to_where_its_values_start(tables):
    text = ""
    starts = {}
    for name, pairs in tables.items():
        text += f"[{quoted(name)}]\n"
        for key, value in pairs.items():
            text += f" {quoted(key)}\t= "
            starts[name, key] = len(text)
            text += f"{value} # = x\n"
    found = positions_of(text)
    assert set(found) == set(paths(tomli.loads(text)))
    for path, start in starts.items():
        before = text[:start].split("\n")
        assert found[path] == Position(len(before), len(before[-1]) + 1)


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("model", ["model"]),
        ("a.b-c.d_e", ["a", "b-c", "d_e"]),
        ("projects./srv/x.trust_level", ["projects", "/srv/x", "trust_level"]),
        ('projects."/srv/x.y".trust_level', ["projects", "/srv/x.y", "trust_level"]),
        ("a.'b.c'", ["a", "b.c"]),
    ],
)
def test_dotted_keys_are_split(key, parts):
    assert split_key(key) == parts


@pytest.mark.parametrize("key", ["", ".", "a.", ".a", "a..b", '"a', '"a"b', 'x."a"b.c', '""'])
def test_broken_dotted_keys_are_refused(key):
    with pytest.raises(ValueError, match=r"part|quote"):
        split_key(key)
