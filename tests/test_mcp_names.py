"""What models call the tools of MCP servers, and how they find them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from workers.mcp.names import NAME_LIMIT, offered_tools
from workers.tools.tool_search import namespaces, search


def names(**servers):
    tools = offered_tools((server, [{"name": name} for name in listed]) for server, listed in servers.items())
    return [(tool.namespace, tool.name) for tool in tools]


def test_a_plain_name_stays_as_it_is_and_others_get_letters_that_fit():
    assert names(docs=["find", "add.note!", ""]) == [
        ("mcp__docs", "_"),
        ("mcp__docs", "add_note_"),
        ("mcp__docs", "find"),
    ]


def test_names_that_would_be_the_same_are_told_apart():
    listed = offered_tools(
        [("a.b", [{"name": "x"}]), ("a-b", [{"name": "x"}, {"name": "y!"}, {"name": "y?"}])]
    )
    flat = [tool.flat_name for tool in listed]
    assert len(set(flat)) == 4
    assert all(name.startswith("mcp__a_b_") for name in flat)
    assert [tool.tool for tool in listed] == ["x", "y!", "y?", "x"]


@given(
    st.dictionaries(st.text(max_size=80), st.lists(st.text(max_size=80), unique=True, max_size=4), max_size=4)
)
def test_names_fit_the_api_are_only_one_tools_and_are_the_same_every_time(servers):
    listed = [(server, [{"name": name} for name in tools]) for server, tools in servers.items()]
    tools = offered_tools(listed)
    flat = [tool.flat_name for tool in tools]
    assert len(set(flat)) == len(flat) == sum(map(len, servers.values()))
    assert all(re.fullmatch(f"[a-zA-Z0-9_]{{1,{NAME_LIMIT}}}", name) for name in flat)
    assert {(tool.server, tool.tool) for tool in tools} == {(s, t) for s, ts in servers.items() for t in ts}
    assert offered_tools(reversed(listed)) == tools


TOOLS = offered_tools(
    [
        (
            "tracker",
            [
                {"name": "findIssues", "description": "Finds issues by their text"},
                {
                    "name": "close",
                    "description": "Closes an issue",
                    "inputSchema": {"properties": {"reason": {}}},
                },
                {"name": "users", "description": "Lists people"},
            ],
        ),
        ("clock", [{"name": "now", "description": "What time it is"}]),
    ]
)


def found(**arguments):
    return [tool.tool for tool in search(TOOLS, arguments)]


def test_a_search_finds_by_name_description_server_and_parameters():
    assert found(query="find issues")[0] == "findIssues"
    assert found(query="time") == ["now"]
    assert found(query="reason") == ["close"]
    assert sorted(found(query="tracker")) == ["close", "findIssues", "users"]
    assert len(found(query="tracker", limit=2)) == 2
    assert found(query="zebra") == found(query="") == []


def test_a_search_that_cannot_be_understood_finds_nothing():
    assert search(TOOLS, {"limit": 3}) == search(TOOLS, "no json") == search(TOOLS, None) == []
    assert [tool.tool for tool in search(TOOLS, '{"query": "time", "limit": 1.0}')] == ["now"]


def test_found_tools_come_by_server_and_are_marked_as_deferred():
    [space] = namespaces(search(TOOLS, {"query": "time"}), {"clock": ""}, deferred=True)
    assert space == {
        "type": "namespace",
        "name": "mcp__clock",
        "description": "Tools in the mcp__clock namespace.",
        "tools": [
            {
                "type": "function",
                "name": "now",
                "description": "What time it is",
                "strict": False,
                "parameters": {"type": "object", "properties": {}},
                "defer_loading": True,
            }
        ],
    }
