"""What a replacement leaves as it was."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from supervisor.draining import replace


@pytest.mark.parametrize(("thread_drains", "server_drains"), [(False, False), (True, False), (False, True)])
def test_a_thread_that_is_drained_meanwhile_stays_held_back(thread_drains, server_drains):
    holds = []
    thread = SimpleNamespace(id="one", incarnation=None, draining=thread_drains)
    supervisor = SimpleNamespace(hold=lambda _, *, held: holds.append(held), draining=server_drains)

    async def renew():
        pass

    front = SimpleNamespace(
        supervisor=supervisor,
        launcher=SimpleNamespace(renew=renew),
        nursery=SimpleNamespace(renew=lambda: None),
        journal=SimpleNamespace(note=lambda *_, **__: None),
    )
    outcome = asyncio.run(replace(front, [thread], None))
    assert outcome.done == ["one"]
    assert holds == [True, thread_drains or server_drains]
