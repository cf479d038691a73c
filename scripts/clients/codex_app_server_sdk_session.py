"""codex-app-server-sdk. Arguments: server, home, workspace."""

import asyncio
import os
import sys

from codex_app_server_sdk import CodexClient, ThreadConfig

binary, home, workspace = sys.argv[1:]


async def main() -> None:
    client = CodexClient.connect_stdio(
        command=[binary, "app-server"], cwd=workspace, env={**os.environ, "BULKHEAD_HOME": home}
    )
    async with client:
        asked = []

        async def approve(request) -> str:  # noqa: ANN001 - a type of the client
            asked.append(request)
            return "accept"

        client.set_approval_handler(approve)
        thread = await client.start_thread(
            ThreadConfig(cwd=workspace, approval_policy="untrusted", sandbox="workspace-write")
        )
        print("done start", flush=True)
        texts = [step.text async for step in thread.chat("!say A first answer.")]
        assert "A first answer." in texts, texts
        print("done stream", flush=True)
        result = await thread.chat_once("!run mkdir asked\n!then\n!say It ran.")
        assert result.final_text == "It ran.", result
        assert len(asked) == 1, asked
        assert os.path.isdir(os.path.join(workspace, "asked"))
        print("done approval", flush=True)
        started = await client.request(
            "turn/start",
            {
                "threadId": thread.thread_id,
                "input": [{"type": "text", "text": "!run sleep 60\n!then\n!say never"}],
            },
        )
        await client.interrupt_turn(started["turn"]["id"], thread_id=thread.thread_id)
        status = ""
        while status != "interrupted":
            turns = (await client.read_thread(thread.thread_id))["thread"]["turns"]
            status = turns[-1]["status"]
            assert status in ("inProgress", "interrupted"), turns[-1]
            await asyncio.sleep(0.05)
        print("done interrupt", flush=True)
        again = await client.resume_thread(thread.thread_id)
        assert (await again.chat_once("!say Still here.")).final_text == "Still here."
        print("done resume", flush=True)
        listed = await client.list_threads()
        assert [row["id"] for row in listed["data"]] == [thread.thread_id], listed
        print("done list", flush=True)


asyncio.run(main())
