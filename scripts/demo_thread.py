"""A thread of the demo as its client sees it: turns, what was said in them, and the worker behind it."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from demo_client import Message
from demo_screen import BOLD, CYAN, DIM, GREEN, RED, YELLOW, Screen, plain
from demo_story import Story

_WORD = re.compile(r"\bw(\d{4})\b")
_PYTHON = re.compile(r"\S*/(python[\d.]*)")
TAIL = 60  # characters of a command or its output shown
NEWEST = 200  # pieces of an answer kept for the line that changes; more than any terminal is wide
NAME_WIDTH, STATE_WIDTH = 8, 12


class Turn(msgspec.Struct):
    """`said`: pieces by item, as they came; `texts`: the finished messages; times of time.monotonic()."""

    number: int
    status: str = "inProgress"
    error: str = ""
    said: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    outputs: list[str] = []
    ended_at: float = 0.0

    @property
    def pieces(self) -> int:
        return sum(len(pieces) for pieces in self.said.values())

    def whole(self) -> bool:
        """Whether the pieces of each finished message make up exactly its text."""
        return bool(self.texts) and all(
            "".join(self.said.get(item, ())) == text for item, text in self.texts.items()
        )

    def words(self) -> list[int]:
        """The numbers of the numbered words that came piece by piece."""
        return [int(number) for pieces in self.said.values() for number in _WORD.findall("".join(pieces))]


class Worker(msgspec.Struct):
    pid: int = 0
    epoch: int = 0


class DemoThread:
    def __init__(self, story: Story, folder: Path) -> None:
        self.story = story
        self.folder = folder
        self.id = ""
        self.turns: list[Turn] = []
        self.state = "starting"
        self.first = Worker()
        self.now = Worker()
        self._doing = ""

    @property
    def turn(self) -> Turn:
        return self.turns[-1]

    @property
    def busy(self) -> bool:
        return bool(self.turns) and self.turn.status == "inProgress"

    def begin(self) -> Turn:
        self.turns.append(Turn(len(self.turns) + 1))
        return self.turn

    def see(self, row: dict[str, Any], screen: Screen) -> None:
        """A row of `bulkhead ps`."""
        self.state = row["state"]
        worker = Worker(row["pid"] or 0, row["epoch"])
        if not worker.pid or worker == self.now:
            return
        if self.first.pid:
            screen.tell(self.story.name, f"new worker {worker.pid}, epoch {worker.epoch}", GREEN)
        else:
            self.first = worker
            screen.tell(self.story.name, f"thread {self.id}, worker {worker.pid}")
        self.now = worker

    # --- what the server says --------------------------------------------------------------------------------

    def take(self, message: Message, screen: Screen) -> None:
        """A notification of this thread."""
        params = message.params
        match message.method:
            case "item/agentMessage/delta":
                self.turn.said.setdefault(params["itemId"], []).append(params["delta"])
                self._doing = "".join(self.turn.said[params["itemId"]][-NEWEST:])
            case "item/started":
                self._started(params["item"])
            case "item/completed":
                self._completed(params["item"], screen)
            case "error" if params.get("willRetry"):
                screen.tell(
                    self.story.name, f"the model is asked again: {plain(params['error']['message'])}", YELLOW
                )
            case "turn/completed":
                self._ended(params["turn"], message.at, screen)
            case _:
                pass

    def _started(self, item: dict[str, Any]) -> None:
        if item["type"] == "commandExecution":
            self._doing = f"$ {_command(item)}"
        elif item["type"] == "fileChange":
            self._doing = f"patch {_files(item)}"

    def _completed(self, item: dict[str, Any], screen: Screen) -> None:
        name, number = self.story.name, self.turn.number
        if item["type"] == "agentMessage":
            self.turn.texts[item["id"]] = item["text"]
        elif item["type"] == "commandExecution":
            output = (item.get("aggregatedOutput") or "").strip()
            self.turn.outputs.append(output)
            last = _short(output.rpartition("\n")[2])
            screen.tell(
                name, f"turn {number}  $ {_command(item)}  -> exit {item.get('exitCode')}  {last}", CYAN
            )
        elif item["type"] == "fileChange":
            screen.tell(name, f"turn {number}  patch {_files(item)}  -> {item['status']}", CYAN)

    def _ended(self, turn: dict[str, Any], at: float, screen: Screen) -> None:
        self.turn.status, self.turn.ended_at = turn["status"], at
        error = turn.get("error") or {}
        self.turn.error = plain(error.get("message", ""))
        self._doing = ""
        note = f": {self.turn.error}" if self.turn.error else f" after {self.turn.pieces} pieces of text"
        style = GREEN if self.turn.status == "completed" else RED
        screen.tell(self.story.name, f"turn {self.turn.number}  {self.turn.status}{note}", style)

    # --- what is shown of it ---------------------------------------------------------------------------------

    def row(self, screen: Screen) -> str:
        colour = {"busy": YELLOW, "idle": GREEN}.get(self.state, RED)
        fixed = f"  worker {self.now.pid or '-':<7} epoch {self.now.epoch}  turn {len(self.turns)}  "
        # The newest words, as many as there is room for.
        room = max(0, screen.width - len(fixed) - NAME_WIDTH - STATE_WIDTH - 2)
        newest = plain(self._doing)[-room:] if room else ""
        name = screen.paint(f"{self.story.name:<{NAME_WIDTH}}", BOLD)
        return f"  {name}{screen.paint(f'{self.state:<{STATE_WIDTH}}', colour)}{fixed}{screen.paint(newest, DIM)}"

    def after(self, moment: float) -> str:
        """How long after `moment` each of the turns ended that ended later, e.g. `12 ms (failed), 0.80 s`."""
        told = []
        for turn in self.turns:
            if turn.ended_at > moment:
                seconds = turn.ended_at - moment
                length = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
                told.append(length if turn.status == "completed" else f"{length} ({turn.status})")
        return ", ".join(told)

    def count(self) -> str:
        """Turns by how they ended, e.g. `2 completed, 1 failed`."""
        ends = [turn.status for turn in self.turns]
        return ", ".join(f"{ends.count(end)} {end}" for end in dict.fromkeys(ends))


def _command(item: dict[str, Any]) -> str:
    """The command without the shell around it, with short names for what is long."""
    command = item["command"]
    with suppress(ValueError):
        command = shlex.split(command)[-1]
    return _short(_PYTHON.sub(r"\1", command))


def _short(text: str) -> str:
    text = plain(text)
    return text if len(text) <= TAIL else f"{text[:TAIL]}..."


def _files(item: dict[str, Any]) -> str:
    return ", ".join(Path(change["path"]).name for change in item["changes"])
