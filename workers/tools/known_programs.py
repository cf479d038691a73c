"""The programs whose effect can be read off their words, and which of their options take a value."""

from __future__ import annotations

__all__ = [
    "AWK_VALUES",
    "FD_VALUES",
    "FIND_ACTS",
    "FIND_NAMES",
    "FORMATTERS",
    "LISTERS",
    "PATTERN_OPTIONS",
    "READERS",
    "SEARCHERS",
    "SILENT",
    "XARGS_VALUES",
]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


SILENT = frozenset({"echo", "printf", "true"})
"""Said in passing: left out beside other commands, unless they feed one."""

FORMATTERS = _names("awk column cut expand fold head less more nl rev sed sort tac tail tee tr uniq wc xargs")
"""Behind a pipe they only change how the output of the main command looks."""

READERS = {
    "bat": _names("-r --line-range -l --language -H --highlight-line --style --theme"),
    "batcat": _names("-r --line-range -l --language -H --highlight-line --style --theme"),
    "cat": _names(""),
    "less": _names("-p -P -x -y -z -j --pattern"),
    "more": _names("-n"),
    "nl": _names("-b -d -f -h -i -l -n -s -v -w"),
    "tac": _names("-s --separator"),
}
"""Programs that show the one file they are given, with those of their options that take a value."""

LISTERS = {
    "du": _names("-d -B -t -X --max-depth --block-size --threshold --exclude"),
    "exa": _names("-L -I -s --level --sort --ignore-glob"),
    "eza": _names("-L -I -s --level --sort --ignore-glob"),
    "ls": _names("-w -I -T --width --ignore --block-size --format --sort --time --time-style"),
    "tree": _names("-L -P -I -o -H -T --filelimit --charset"),
}

_GREP_VALUES = (
    "-A -B -C -m -f --after-context --before-context --context --max-count --include --exclude --exclude-dir"
)
SEARCHERS = {
    "ack": _names(f"{_GREP_VALUES} --type --ignore-dir"),
    "ag": _names(f"{_GREP_VALUES} -G -p --depth --ignore --ignore-dir"),
    "egrep": _names(_GREP_VALUES),
    "fgrep": _names(_GREP_VALUES),
    "grep": _names(f"{_GREP_VALUES} -d -D --color"),
    "pt": _names(_GREP_VALUES),
    "rg": _names(
        f"{_GREP_VALUES} -g -t -T -r -j -M -E -d --glob --iglob --type --type-not --replace --threads --sort --sortr"
        " --max-columns --max-depth --max-filesize --encoding --engine --color --colors --type-add"
    ),
    "rga": _names(f"{_GREP_VALUES} -g -t -T --glob --type"),
}
PATTERN_OPTIONS = ("-e", "--regexp")

FD_VALUES = _names(
    "-e -t -d -E -c -j -o -S -x -X --extension --type --max-depth --min-depth --exclude --color --threads --owner --size"
    " --changed-within --changed-before --exec --exec-batch --base-directory"
)
FIND_NAMES = _names("-name -iname -path -ipath -regex -iregex -wholename -iwholename")
FIND_ACTS = _names("-delete -exec -execdir -ok -okdir -fprint -fprint0 -fprintf -fls")

XARGS_VALUES = _names("-I -n -P -L -d -s -a -E")
AWK_VALUES = _names("-F -v")
