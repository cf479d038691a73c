"""What goes back and forth in one session: requests with a time limit, and the questions that stop its clock."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import mcp_types as types
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.shared.dispatcher import ProgressFnT
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from protocol.session import PROTOCOL_VERSION
from workers.mcp.errors import CallFailed
from workers.mcp.failures import closed_text, first_problem, is_closed
from workers.mcp.pipe import Pipe
from workers.mcp.surroundings import Elicit
from workers.mcp.web import Web

__all__ = ["Exchange"]

LOOK_S = 1.0
"""How often a request that waits for the user looks whether it still does."""
_RAW: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
"""Results are passed on as they came; the SDK has checked their form."""


class Exchange:
    """One session over one transport. `session` is to be entered before anything is asked."""

    def __init__(self, name: str, transport: Pipe | Web, elicit: Elicit) -> None:
        self.transport = transport
        self.session = ClientSession(
            transport.read,
            transport.write,
            elicitation_callback=self._elicited,
            client_info=types.Implementation(
                name="codex-mcp-client", title="Bulkhead", version=PROTOCOL_VERSION
            ),
        )
        self._name = name
        self._elicit = elicit
        self._loop = asyncio.get_running_loop()
        self._requests = 0
        self._asking: dict[asyncio.Future[dict[str, Any]], bool] = {}
        """The questions that wait for the user, and whether a request was under way that they may be for."""
        self._asked_since = 0.0
        self._asked_s = 0.0

    async def ask(
        self, request: Any, method: str, timeout_s: float, progress: ProgressFnT | None = None
    ) -> dict[str, Any]:
        """The result as it came. Time that the user takes for the server's questions does not count.

        Raises:
            CallFailed
        """
        if isinstance(self.transport, Web):
            self.transport.status = 0
        asked_before = self._asked_s
        began = self._loop.time()
        work = asyncio.ensure_future(self.session.send_request(request, _RAW, progress_callback=progress))
        self._requests += 1
        try:
            while not work.done():
                left = began + timeout_s + self._asked_s - asked_before - self._loop.time()
                if self._asking:
                    left = LOOK_S
                elif left <= 0:
                    raise CallFailed(f"timed out awaiting {method} after {round(timeout_s * 1000)}ms")
                await asyncio.wait((work,), timeout=left)
            result: dict[str, Any] = await work
        except MCPError as error:
            if is_closed(error):
                raise CallFailed(closed_text(self.transport)) from None
            text = f"Mcp error: {error.code}: {error.message}"
            raise CallFailed(text, error.code, error.message) from None
        except ValidationError as error:
            raise CallFailed(f"the answer is not of the right form: {first_problem(error)}") from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, RuntimeError):
            raise CallFailed(closed_text(self.transport)) from None
        else:
            return result
        finally:
            self._requests -= 1
            dropped: list[asyncio.Future[Any]] = [] if work.done() else [work]
            if not self._requests:
                # Nobody needs the answers any more. Which of several requests a question is for, a server does not say.
                dropped += (question for question, owed in self._asking.items() if owed)
            for task in dropped:
                task.cancel()
            if dropped:
                await asyncio.wait(dropped)

    async def _elicited(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        asked = params.model_dump(by_alias=True, mode="json", exclude_none=True)
        if not self._asking:
            self._asked_since = self._loop.time()
        question = asyncio.ensure_future(self._elicit(self._name, asked))
        self._asking[question] = self._requests > 0
        try:
            await asyncio.wait((question,))
        finally:
            question.cancel()
            del self._asking[question]
            if not self._asking:
                self._asked_s += self._loop.time() - self._asked_since
        answer = {"action": "cancel"} if question.cancelled() else question.result()
        try:
            return types.ElicitResult.model_validate(answer)
        except ValidationError as error:
            text = f"the answer is none: {first_problem(error)}"
            return types.ErrorData(code=types.INTERNAL_ERROR, message=text)
