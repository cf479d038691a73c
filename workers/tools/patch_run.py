"""Running the patch program in its sandbox, and what follows when it was ended in the middle: all files or none."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import msgspec

from sandbox_backends.command import RunningCommand
from sandbox_backends.errors import SandboxError
from sandbox_backends.plan import Ids
from sandbox_backends.planner import plan
from sandbox_backends.result import ExecResult
from sandbox_backends.runner import run_with_plan
from workers.session import Session
from workers.tools import patch, patch_main
from workers.tools.patch_journal import Intent, PatchJournal
from workers.tools.patch_program import patch_argv, patch_input, undo_input

__all__ = ["Outcome", "apply_patch", "put_back"]

APPLY_TIMEOUT_MS = 60_000
"""A patch is text in memory; a minute means that a file system does not answer."""
INTERRUPT_PATIENCE_S = 5.0
"""What an interrupted turn waits for its patch; most take milliseconds."""
UNDO_TRIES, UNDO_PAUSE_S = 100, 0.05
"""A program that is killed with its worker is gone in milliseconds; until then it holds its mark."""
ENDED = "The program that applies the patch was ended"


async def apply_patch(session: Session, intent: Intent, text: str, ids: Ids) -> tuple[str, int]:
    """Apply `text`, whose files are noted first; the output and the exit code. `intent` has no steps yet."""
    journal = PatchJournal(session.home, session.id)
    if journal.read() is not None:
        earlier = await put_back(session)
        if journal.read() is not None:
            return f"An earlier patch was ended. {earlier.text}", 1
    try:
        # Once more, and not those of before an approval: what is noted has to be what is done.
        intent = intent.of(patch.steps(patch.verify(patch.parse(text), intent.cwd)))
        journal.write(intent)
    except patch.PatchError as error:
        return patch.failure(error), 1
    except OSError as error:
        return f"The patch cannot be noted before it is applied: {error}", 1
    running: RunningCommand | None = None
    result: ExecResult | None = None
    try:
        running = await _start(session, intent, ids)
        running.write(patch_input(text, intent.token, intent.steps))
        running.close_stdin()
        result = await _finished(running)
    except SandboxError as error:
        if running is None:
            journal.clear()
            return str(error), 1
    finally:
        if result is None or not _of_itself(result):
            undoing = asyncio.ensure_future(put_back(session))
            await asyncio.wait((undoing,))
    if result is not None and _of_itself(result):
        journal.clear()
        return result.output.text(), result.exit_code
    outcome = undoing.result()
    said = result.output.text().strip() if result is not None else ""
    return f"{said}\n{ENDED}. {outcome.text}".lstrip(), 0 if outcome.applied else 1


class Outcome(NamedTuple):
    """What became of a patch whose program was ended, for the model."""

    text: str
    applied: bool = False


async def put_back(session: Session) -> Outcome:
    """Have what is half done put back, if the thread's journal tells of something.

    Where that is not possible now the journal stays, for the next time.
    """
    journal = PatchJournal(session.home, session.id)
    intent = journal.read()
    if intent is None:
        return Outcome("No file was changed.")
    try:
        for _ in range(UNDO_TRIES):
            # Not in its folder, which may be gone.
            running = await _start(session, msgspec.structs.replace(intent, cwd="/"), Ids(thread=session.id))
            running.write(undo_input(intent.token, intent.steps))
            running.close_stdin()
            result = await running.wait()
            if result.exit_code != patch_main.BUSY:
                break
            await asyncio.sleep(UNDO_PAUSE_S)
    except SandboxError as error:
        return Outcome(f"Its files could not be put back: {error}")
    said = result.output.text().strip()
    if result.exit_code not in (0, patch_main.APPLIED, patch_main.LOST):
        return Outcome(f"Its files could not be put back: {said or result.exit_code}")
    journal.clear()
    match result.exit_code:
        case patch_main.APPLIED:
            return Outcome("All its files were changed.", applied=True)
        case patch_main.LOST:
            return Outcome(f"These files were changed by somebody else, and were not put back:\n{said}")
    return Outcome("No file was changed.")


async def _start(session: Session, intent: Intent, ids: Ids) -> RunningCommand:
    """With an empty environment."""
    return await run_with_plan(
        plan(
            patch_argv(),
            cwd=intent.cwd,
            workspace=intent.workspace,
            policy=intent.policy,
            env={},
            pins=intent.pins,
            own=session.own,
            sandboxed=intent.sandboxed,
            stdin="pipe",
            timeout_ms=APPLY_TIMEOUT_MS,
            ids=ids,
        )
    )


def _of_itself(result: ExecResult) -> bool:
    """Whether the program came to its own end: applied, or put back and told why."""
    return result.exit_code in (0, 1) and not result.timed_out and not result.ended and result.signal is None


async def _finished(command: RunningCommand) -> ExecResult:
    """Its result. An interrupt waits for it: ended between two files, a patch would have to be put back."""
    running = asyncio.ensure_future(command.wait())
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,), timeout=INTERRUPT_PATIENCE_S)
        running.cancel()  # ends what still runs
        await asyncio.wait((running,))
        raise
