"""What a command said: kept within its caps, and passed on as it comes."""

from __future__ import annotations

from collections.abc import Callable

from sandbox_backends.denial import TAIL
from sandbox_backends.output import Captured, HeadTail
from sandbox_backends.plan import ExecPlan

__all__ = ["Sink", "Transcript"]

Sink = Callable[[bytes], None]


class Transcript:
    """Both streams of one plan. The sinks get every chunk; they must not block and must not raise."""

    def __init__(self, plan: ExecPlan, on_output: Sink | None, on_stderr: Sink | None) -> None:
        self._on_output = on_output
        self._on_stderr = on_stderr
        self._output = HeadTail(plan.output_cap, plan.output_keep)
        self._stderr = HeadTail(plan.output_cap, plan.output_keep) if plan.streams == "split" else None
        self._said = HeadTail(2 * TAIL)

    def take_output(self, chunk: bytes) -> None:
        self._output.push(chunk)
        if self._stderr is None:
            self._said.push(chunk)
        if self._on_output is not None:
            self._on_output(chunk)

    def take_stderr(self, chunk: bytes) -> None:
        if self._stderr is not None:
            self._stderr.push(chunk)
        self._said.push(chunk)
        if self._on_stderr is not None:
            self._on_stderr(chunk)

    def complain(self, text: str) -> None:
        """Words of ours, where those of a shell would stand."""
        take = self.take_output if self._stderr is None else self.take_stderr
        take(text.encode("utf-8", "replace"))

    def said(self) -> str:
        """The last of stderr, or of both where they are merged: what a denial is told from."""
        return self._said.last(TAIL).decode("utf-8", "replace")

    @property
    def output(self) -> Captured:
        return self._output.captured()

    @property
    def stderr(self) -> Captured | None:
        return None if self._stderr is None else self._stderr.captured()
