"""Clients that leave before the process is there which they asked for."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec

from protocol.link import Adopt, Command
from supervisor.hosts import Hosts


def test_a_host_worker_that_comes_too_late_is_ended_and_forgotten():
    signals, detached, adoptions = [], [], []
    hub = SimpleNamespace(detach=detached.append)
    nursery = SimpleNamespace(adopt=lambda adoption, _: adoptions.append(adoption))
    hosts = Hosts(hub, nursery, Adopt(role="host"), None)
    client = type("Client", (), {"outbox": None})()
    raw = msgspec.Raw(b"{}")
    hosts.ask(Command(id=raw, method="command/exec", params=raw), client)
    hosts.forget(client)
    adoptions[0](SimpleNamespace(token=b"late", signal=signals.append))
    assert len(signals) == 1
    assert detached == [b"late"]
