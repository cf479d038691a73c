"""What the zygote plays once, so that nothing is imported, compiled or looked up after a fork.

The whole way of a turn in small: a loop, a link that is never connected, a model request to a server in this
process, a rollout, a patch, a command. Everything is taken down again: no thread, socket or loop survives.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable
from contextlib import suppress

import msgspec
import uvloop

from config.document import Document
from config.providers import ModelProvider
from network.transport import NetworkSettingError, tls_context
from protocol import rpc, thread_list, threads
from protocol.items import AgentMessageItem, UserMessageItem
from protocol.link import Adopt, StopOrder
from protocol.link_calls import Authorization
from protocol.policy import DangerFullAccess
from protocol.refusal import decode_params
from protocol.turns import Turn, TurnStartParams
from protocol.user_input import TextInput
from rollouts.catalog import Catalog
from rollouts.entries import task_started
from rollouts.ids import new_id
from rollouts.lease import Lease
from rollouts.lines import TokenCount
from sandbox_backends.judgement import dangerous
from sandbox_backends.planner import plan
from sandbox_backends.registry import default_registry
from sandbox_backends.runner import run_with_plan
from workers import models, process
from workers.instructions import message
from workers.link import Link
from workers.loading import resume_session, start_session
from workers.mcp.servers import McpServers
from workers.models.output_item import FORMS
from workers.session import Session, now_ms
from workers.thread_view import opened
from workers.toolbox import Toolbox
from workers.tools import command_actions, patch
from workers.tools.exec_arguments import ExecArguments
from workers.tools.patch_program import patch_input
from workers.turn_end import TurnEnd

__all__ = ["certificates", "play"]

_MET_LATER = (Authorization, ExecArguments, Lease, ModelProvider, StopOrder, TokenCount)
"""What a turn decodes and the small one does not; a process looks at a type the first time that it meets it."""
_PATCH = "*** Begin Patch\n*** Add File: hello.txt\n+hello\n*** End Patch\n"


def play() -> None:
    """One throw-away turn; about 100 ms."""
    models.warm()
    for kind in (*_MET_LATER, *FORMS.values()):
        msgspec.json.Decoder(kind)
    registry = default_registry()
    for name in registry.names:
        registry.capability(name)
    with tempfile.TemporaryDirectory(prefix="bulkhead-warm-") as folder:
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            _thread(folder, loop)
            loop.run_until_complete(_command(folder))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
    # The way in of every worker, imported with all that it needs.
    assert callable(process.run)


def certificates() -> None:
    """Have those that https needs: to read them takes 30 ms and a megabyte, of each worker that does it for itself."""
    # Who needs them is told what is wrong.
    with suppress(NetworkSettingError):
        tls_context(os.environ)


def _thread(folder: str, loop: asyncio.AbstractEventLoop) -> None:
    """A thread's start with all its decoders and encoders, on a link that nobody listens to."""
    link = Link(b"warm", "inproc://nobody", loop)
    link.begin(1, os.path.join(folder, "events"))
    document = msgspec.json.decode(msgspec.json.encode(Document()), type=Document)
    adopt = msgspec.json.decode(
        msgspec.json.encode(Adopt(role="thread", thread_id=new_id(), home=folder, scratch=folder)), type=Adopt
    )
    params = decode_params(msgspec.Raw(b"{}"), threads.ThreadStartParams)
    session = start_session(adopt, link, document, params)
    rpc.result_line(b"1", opened(session, threads.ThreadStartResponse))
    session.tell_facts()
    session.briefing.give()
    _turn(session)
    decode_params(msgspec.Raw(b'{"threadId":"x","input":[{"type":"text","text":"y"}]}'), TurnStartParams)
    Toolbox(McpServers()).definitions(session)
    session.close()
    # Most threads that get a worker have a history: without this each of their workers would look at the types of it anew.
    back = threads.ThreadResumeParams(thread_id=adopt.thread_id)
    resume_session(adopt, link, document, back, recovering=True).close()
    patch.wire_changes(patch.verify(patch.parse(_PATCH), folder))
    patch_input(_PATCH)
    command_actions.actions_of(["/bin/bash", "-lc", "ls"])
    dangerous(["/bin/bash", "-lc", "ls 'a b'"])
    catalog = Catalog(folder)
    catalog.list(thread_list.ThreadListParams())
    catalog.close()
    link.flush()
    link.close()


def _turn(session: Session) -> None:
    """What a turn stores, so that there is something to resume."""
    turn = Turn(id="turn", status="inProgress")
    session.turns.append(turn)
    session.store([task_started(turn.id, started_at=0), *session.stored_settings(turn.id)])
    session.remember(message("user", "hello"))
    session.item_completed(turn.id, UserMessageItem(id="question", content=[TextInput(text="hello")]))
    session.item_completed(turn.id, AgentMessageItem(id="answer", text="hello"))
    TurnEnd(session, turn, now_ms()).completed()


async def _command(folder: str) -> None:
    prepared = plan(["/bin/true"], cwd=folder, policy=DangerFullAccess(), env=dict(os.environ))
    command = await run_with_plan(prepared)
    waiting: Awaitable[object] = command.wait()
    await waiting
