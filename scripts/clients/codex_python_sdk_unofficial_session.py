"""codex-python-sdk-unofficial. Arguments: server, home, workspace."""

import asyncio
import os
import sys

from codex_agent_sdk import AgentTextDeltaEvent, AppServerConfig, CodexOptions, CodexSDKClient

binary, home, workspace = sys.argv[1:]
SERVER = AppServerConfig(
    codex_bin=binary, cwd=workspace, env={**os.environ, "BULKHEAD_HOME": home, "CODEX_HOME": home}
)
OPTIONS = CodexOptions(cwd=workspace, approval_policy="on-request", sandbox_mode="workspace-write")


async def main() -> None:
    async with CodexSDKClient(OPTIONS, SERVER) as client:
        thread = await client.start_thread()
        print("done start", flush=True)
        turn = await client.query("!say A first answer.")
        said = "".join([event.text_delta async for event in turn if isinstance(event, AgentTextDeltaEvent)])
        assert said == "A first answer.", said
        print("done stream", flush=True)
        # Its model of an approval does not take what Codex 0.169 sends, nor the same from here.
        print("none approval", flush=True)
        turn = await client.query("!run sleep 60\n!then\n!say never")
        await client.interrupt(turn_id=turn.turn_id)
        result = await turn.wait()
        assert result.status == "interrupted", result
        print("done interrupt", flush=True)
    async with CodexSDKClient(OPTIONS, SERVER) as client:
        await client.resume_thread(thread)
        result = await (await client.query("!say Still here.")).wait()
        assert result.status == "completed", result
        print("done resume", flush=True)
        listed = await (await client._get_client()).thread_list()  # noqa: SLF001 - the public class has no lists
        assert thread in [row.id for row in listed.data], listed
        print("done list", flush=True)


asyncio.run(main())
