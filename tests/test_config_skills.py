"""Which SKILL.md files count, and what is told of them."""

from __future__ import annotations

import os

import msgspec
import pytest

from config.skills import SkillSwitch, find_skills


@pytest.fixture
def places(tmp_path):
    """The home, the project with its git root, a folder in it, and the user's own home."""
    for name in ("home/skills", "project/.git", "project/sub", "user"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def write(path, name="", text="", **fields):
    path.mkdir(parents=True, exist_ok=True)
    lines = [f"{key}: {value}" for key, value in ({"name": name} if name else {}).items()]
    lines += [f"{key}: {value}" for key, value in fields.items()]
    file = path / "SKILL.md"
    file.write_text(text or "---\n" + "\n".join(lines) + "\n---\nDo it.\n")
    return file


def find(places, cwd="project/sub", **options):
    return find_skills(
        str(places / "home"), str(places / cwd), environ={"HOME": str(places / "user")}, **options
    )


def names(skills):
    return [(skill.metadata.scope, skill.metadata.name) for skill in skills.found]


def test_every_folder_up_to_the_root_and_both_homes_are_searched(places):
    write(places / "project/.agents/skills/root", "root", description="d")
    write(places / "project/sub/.agents/skills/sub", "sub", description="d")
    write(places / "project/sub/.codex/skills/codex", "codex", description="d")
    write(places / "project/.codex/skills/parents", "parents", description="d")
    write(places / ".agents/skills/outside", "outside", description="d")
    write(places / "home/skills/mine", "mine", description="d")
    write(places / "user/.agents/skills/yours", "yours", description="d")
    write(places / "home/skills/.system/theirs", "theirs", description="d")
    assert names(find(places)) == [
        ("repo", "codex"),
        ("repo", "root"),
        ("repo", "sub"),
        ("user", "mine"),
        ("user", "yours"),
        ("system", "theirs"),
    ]
    assert ("repo", "parents") in names(find(places, "project"))


def test_skills_are_found_six_folders_deep_and_not_in_hidden_ones(places):
    deep = places / "home/skills/1/2/3/4/5/6"
    write(deep, "six", description="d")
    write(deep / "7", "seven", description="d")
    write(places / "home/skills/.hidden", "hidden", description="d")
    assert names(find(places)) == [("user", "six")]


def test_a_file_reached_twice_counts_once_under_its_real_path(places):
    file = write(places / "elsewhere/ext", "ext", description="d")
    (places / "home/skills/a").symlink_to(file.parent)
    (places / "home/skills/b").symlink_to(file.parent)
    (places / "home/skills/loop").symlink_to(places / "home")
    skills = find(places)
    assert [skill.metadata.path for skill in skills.found] == [str(file)]
    assert skills.by_path(str(places / "home/skills/b/SKILL.md")) is skills.found[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no frontmatter", "missing YAML frontmatter delimited by ---"),
        ("---\nname: x\n---\n", "missing field `description`"),
        ("---\nname: [x\n---\n", "missing field `description`"),
        (
            f"---\nname: {'n' * 65}\ndescription: d\n---\n",
            "invalid name: exceeds maximum length of 64 characters",
        ),
    ],
)
def test_what_is_no_skill_is_told_with_its_reason(places, text, problem):
    file = write(places / "home/skills/x", text=text)
    skills = find(places)
    assert skills.found == ()
    assert [(error.path, error.message) for error in skills.problems] == [(str(file), problem)]


def test_a_name_comes_from_the_folder_and_a_broken_yaml_still_has_its_lines(places):
    write(places / "home/skills/noname", text="---\ndescription: >\n  folded\n  text\n---\n")
    write(places / "home/skills/colon", text="---\nname: colon\ndescription: use it: always\n---\n")
    found = find(places).found
    assert [(s.metadata.name, s.metadata.description) for s in found] == [
        ("colon", "use it: always"),
        ("noname", "folded text"),
    ]


def test_what_a_client_shows_is_taken_from_the_agents_file(places):
    file = write(places / "home/skills/x", "x", description="d", metadata="{short-description: short}")
    (file.parent / "agents").mkdir()
    (file.parent / "agents/openai.yaml").write_text(
        "interface: {display_name: X!, icon_small: ./a.svg, icon_large: ../../secret.png}\n"
        "dependencies: {tools: [{type: env_var, value: TOKEN, description: t}]}\n"
        "policy: {allow_implicit_invocation: false}\n"
    )
    skills = find(places)
    assert msgspec.to_builtins(skills.found[0].metadata) == {
        "name": "x",
        "description": "d",
        "shortDescription": "short",
        "interface": {
            "displayName": "X!",
            "shortDescription": None,
            "iconSmall": str(file.parent / "a.svg"),
            "iconLarge": None,
            "iconSmallUrl": None,
            "iconLargeUrl": None,
            "brandColor": None,
            "defaultPrompt": None,
        },
        "dependencies": {"tools": [{"type": "env_var", "value": "TOKEN", "description": "t"}]},
        "path": str(file),
        "scope": "user",
        "enabled": True,
        "pluginId": None,
    }
    assert skills.offered() == []


def test_a_switch_turns_a_skill_off_but_leaves_it_in_the_list(places):
    file = write(places / "home/skills/x", "x", description="d")
    write(places / "home/skills/y", "y", description="d")
    switches = [SkillSwitch(path=str(file), enabled=False), SkillSwitch(name="y", enabled=False)]
    skills = find(places, switches=switches)
    assert [skill.metadata.enabled for skill in skills.found] == [False, False]
    assert skills.offered() == []
    assert skills.by_name("x") is None


def test_two_of_a_name_are_never_guessed_between(places):
    write(places / "home/skills/x", "same", description="d")
    write(places / "project/.agents/skills/x", "same", description="d")
    assert find(places).by_name("same") is None


def test_a_pipe_and_an_unreadable_folder_harm_nothing(places):
    (places / "home/skills/pipe").mkdir()
    os.mkfifo(places / "home/skills/pipe/SKILL.md")
    (places / "home/skills/file").write_text("no folder")
    assert find(places).found == ()
