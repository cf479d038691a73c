"""codexed. Arguments: server, home, workspace."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from codexed import CodexClient

binary, home, workspace = sys.argv[1:]


async def main() -> None:
    def client() -> CodexClient:
        return CodexClient(
            codex_command=binary,
            env_vars={**os.environ, "BULKHEAD_HOME": home, "CODEX_HOME": home},
        )

    async with client() as codex:
        session = await codex.thread_start(
            cwd=workspace, approval_policy="on-request", sandbox="workspace-write"
        )
        thread = session.thread_id
        print("done start", flush=True)

        async def play(
            text: str, on_event: Callable[[str, object], Awaitable[None]] | None = None
        ) -> tuple[str, str]:
            said, status = [], ""
            async for event in session.turn_stream(text):
                kind = event.method
                if kind == "item/agentMessage/delta":
                    said.append(event.params.delta)
                if kind == "turn/completed":
                    status = event.params.turn.status
                if on_event:
                    await on_event(kind, event)
            return "".join(said), status

        assert await play("!say A first answer.") == ("A first answer.", "completed")
        print("done stream", flush=True)
        # Its model of an approval does not take what Codex 0.169 sends, nor the same from here.
        print("none approval", flush=True)

        async def stop(kind: str, event: object) -> None:
            if kind == "item/started" and event.params.item.type == "commandExecution":
                await session.turn_interrupt(event.params.turn_id)

        _, status = await play("!run sleep 60\n!then\n!say never", stop)
        assert status == "interrupted", status
        print("done interrupt", flush=True)
    async with client() as codex:
        session = await codex.thread_resume(thread)
        assert (await play("!say Still here."))[0] == "Still here."
        print("done resume", flush=True)
        assert thread in [row.id for row in (await codex.thread_list()).data]
        print("done list", flush=True)


asyncio.run(main())
