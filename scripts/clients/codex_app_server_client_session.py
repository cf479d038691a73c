"""codex-app-server-client. Arguments: server, home, workspace."""

import asyncio
import os
import sys

from codex_app_server_client import CodexAppServer, EventAction
from codex_app_server_client.types.events import AgentMessageDeltaEvent, ItemStartedEvent
from codex_app_server_client.types.threads import ThreadListParams, ThreadStartParams

binary, home, workspace = sys.argv[1:]


async def main() -> None:
    async with CodexAppServer(codex_bin=binary, env={**os.environ, "BULKHEAD_HOME": home}) as codex:
        asked = []

        async def approve(method: str, params: dict) -> dict:
            asked.append(method)
            return {"decision": "accept"}

        codex.low_level.on_server_request("item/commandExecution/requestApproval", approve)
        thread = await codex.start_thread(
            ThreadStartParams(cwd=workspace, approval_policy="untrusted", sandbox="workspace-write")
        )
        print("done start", flush=True)
        deltas = [
            event.delta
            async for event in thread.run_streamed("!say A first answer.")
            if isinstance(event, AgentMessageDeltaEvent)
        ]
        assert "".join(deltas) == "A first answer.", deltas
        print("done stream", flush=True)
        turn = await thread.run("!run mkdir asked\n!then\n!say It ran.")
        assert turn.final_response == "It ran.", turn
        assert asked == ["item/commandExecution/requestApproval"], asked
        assert os.path.isdir(os.path.join(workspace, "asked"))
        print("done approval", flush=True)

        def stop(method: str, event: object) -> EventAction:
            started = isinstance(event, ItemStartedEvent) and event.item["type"] == "commandExecution"
            return EventAction.INTERRUPT if started else EventAction.CONTINUE

        turn = await thread.run("!run sleep 60\n!then\n!say never", on_event=stop)
        assert turn.status == "interrupted", turn
        print("done interrupt", flush=True)
        again = await codex.resume_thread(thread.id)
        assert (await again.run("!say Still here.")).final_response == "Still here."
        print("done resume", flush=True)
        listed = await codex.low_level.thread_list(ThreadListParams())
        assert [row.id for row in listed.data] == [thread.id], listed
        print("done list", flush=True)


asyncio.run(main())
