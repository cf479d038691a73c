"""Methods that are left out on purpose, through the real door."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from protocol_client import RpcError
from running_server import RunningServer

from protocol.methods import METHODS
from protocol.unsupported import GROUPS, UNSUPPORTED
from protocol.v1.methods import V1_METHODS

Start = Callable[..., RunningServer]
TABLE = Path(__file__).resolve().parents[2] / "shared/protocol/tables/methods.md"


def test_a_method_is_served_or_left_out_never_both() -> None:
    assert not METHODS.keys() & UNSUPPORTED.keys()
    named = [name for group in GROUPS for name in (*group.stable, *group.experimental)]
    assert len(named) == len(set(named)) == len(UNSUPPORTED)


def test_every_method_of_the_peer_is_served_or_left_out() -> None:
    assert peers_methods().keys() <= METHODS.keys() | UNSUPPORTED.keys() | V1_METHODS.keys()


def test_the_experimental_ones_are_those_of_the_peer() -> None:
    known = peers_methods()
    for row in UNSUPPORTED.values():
        assert known[row.name] == ("X" if row.experimental else "S"), row.name


def test_each_is_refused_with_its_name_and_the_reason(server: Start) -> None:
    client = server()
    asked = {name: client.start_request(name, {}) for name in UNSUPPORTED}
    for name, row in UNSUPPORTED.items():
        with pytest.raises(RpcError) as refused:
            client.result(asked[name])
        assert refused.value.code == -32601
        assert refused.value.message == f"{name} is not supported: {row.group.because}"


def test_the_gates_come_first(server: Start) -> None:
    client = server(initialize=False)
    with pytest.raises(RpcError, match="Not initialized"):
        client.request("memory/reset")
    with pytest.raises(RpcError, match="invalid type: integer `5`, expected a string"):
        client.request("thread/start", {"cwd": 5})
    client.initialize()
    with pytest.raises(RpcError, match="memory/reset requires experimentalApi capability"):
        client.request("memory/reset")
    with pytest.raises(RpcError, match="plugin/list is not supported: "):
        client.request("plugin/list")


def test_an_unknown_method_is_told_all_that_are_known(server: Start) -> None:
    with pytest.raises(RpcError) as refused:
        server().request("no/such")
    unknown, *known = re.findall("`([^`]+)`", refused.value.message)
    assert unknown == "no/such"
    assert known == [*METHODS, *UNSUPPORTED]
    assert refused.value.code == -32600


def peers_methods() -> dict[str, str]:
    """Each method of Codex 0.169 and whether it is stable (S), experimental (X) or hidden (H)."""
    if not TABLE.exists():
        pytest.skip("the table of the peer's methods is not here")
    requests = TABLE.read_text().partition("# Server")[0]
    rows = re.findall(r"^\|([^|]+)\|.\|([SXH])\|", requests, re.MULTILINE)
    return dict(rows)
