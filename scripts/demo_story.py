"""What the three threads of the demo do: their repositories, and what the user says to them.

The same three stories are told twice: as scripts for the scripted model (docs/scripted-model.md), and in plain
sentences for a real one.
"""

from __future__ import annotations

import shlex
import sys

import msgspec

WORDS = 140
PAUSE_S = 0.045  # between two words: the long answers take about 6 s
KILL_AFTER = 40  # pieces of the long answer; about 2 s before the first thread could be done
KILL_AFTER_REAL = 8  # a real model's pieces are larger, and its answer may be shorter than asked for


class Story(msgspec.Struct, frozen=True):
    """One thread: its repository's files, and one prompt a turn. `proof`: the word that its model has to know at the end."""

    name: str
    files: dict[str, str]
    prompts: tuple[str, ...]
    proof: str = ""


MEAN = "def mean(values):\n    return sum(values) // len(values)\n"
CHECK = (
    'from mean import mean\n\nassert mean([1, 2]) == 1.5, f"mean([1, 2]) is {mean([1, 2])}"\nprint("ok")\n'
)
POEM = "three small boats\nset out at night\none struck a rock\ntwo kept the light\n"


def scripted(code_word: str) -> tuple[Story, ...]:
    python = f"{shlex.quote(sys.executable)} -B"
    stream = f"!stream {WORDS} {PAUSE_S}"
    atlas = (
        f"""The check fails. Find out why and mend it.
!think **Running the check first**
!run {python} check.py
!then
!patch
*** Begin Patch
*** Update File: mean.py
@@
-    return sum(values) // len(values)
+    return sum(values) / len(values)
*** End Patch
!then
!run {python} check.py
!then
!say mean() cut the fraction off; it divides exactly now, and the check passes.""",
        f"""Run the check once more and write a long report.
!run {python} check.py
!then
{stream}""",
    )
    birch = (
        f"""Write a word counter, try it, and see whether you can write into the neighbour's repository.
!patch
*** Begin Patch
*** Add File: words.py
+import sys
+
+print(len(open(sys.argv[1]).read().split()), "words")
*** End Patch
!then
!run {python} words.py poem.txt
!then
!run echo broken > ../atlas/mean.py
!then
!say The counter works, and the sandbox kept me out of the neighbour's files.""",
        f"""Count once more and write a long report.
!run {python} words.py poem.txt
!then
{stream}""",
    )
    cedar = (
        f"""Remember the code word {code_word}, and write it down.
!patch
*** Begin Patch
*** Add File: notes.md
+code word: {code_word}
*** End Patch
!then
!run sha256sum notes.md
!then
!say I have written down {code_word}.""",
        f"""Look at the notes and write a long report.
!run cat notes.md
!then
{stream}""",
        """Your process was killed. Are the notes and our conversation still there?
!run cat notes.md
!then
!stream 24 0.02""",
    )
    return (
        Story("atlas", {"mean.py": MEAN, "check.py": CHECK}, atlas),
        Story("birch", {"poem.txt": POEM}, birch),
        Story("cedar", {"README.md": "A repository with notes.\n"}, cedar, proof=code_word),
    )


def natural(code_word: str) -> tuple[Story, ...]:
    long = (
        "Then write about 400 words, in plain prose, about what a good test is. Use no tools for that part."
    )
    return (
        Story(
            "atlas",
            {"mean.py": MEAN, "check.py": CHECK},
            (
                f"Run `{sys.executable} check.py`, mend mean.py so that it passes, and run it again.",
                f"Run `{sys.executable} check.py` once more. {long}",
            ),
        ),
        Story(
            "birch",
            {"poem.txt": POEM},
            (
                f"Write words.py, which prints how many words a file has, and run it with {sys.executable} on poem.txt.",
                f"Run it once more. {long}",
            ),
        ),
        Story(
            "cedar",
            {"README.md": "A repository with notes.\n"},
            (
                f"Remember the code word {code_word}. Write the file notes.md with the text `notes` and show it with cat.",
                f"Show notes.md with cat. {long}",
                "Which code word did I give you at the beginning? Answer with one short sentence that contains it.",
            ),
            proof=code_word,
        ),
    )
