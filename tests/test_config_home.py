from __future__ import annotations

import stat

import pytest

from config.errors import HomeError
from config.home import find_home


def test_our_variable_wins_over_the_peers_and_empty_ones_do_not_count(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    environ = {"BULKHEAD_HOME": str(ours), "CODEX_HOME": str(theirs), "HOME": str(tmp_path)}
    assert find_home(environ) == str(ours)
    assert find_home({**environ, "BULKHEAD_HOME": ""}) == str(theirs)


def test_the_default_is_made_for_its_owner_only(tmp_path):
    home = find_home({"HOME": str(tmp_path), "CODEX_HOME": ""})
    assert home == str(tmp_path / ".codex")
    assert stat.S_IMODE((tmp_path / ".codex").stat().st_mode) == 0o700
    assert find_home({"HOME": str(tmp_path)}) == home


@pytest.mark.parametrize("variable", ["BULKHEAD_HOME", "CODEX_HOME"])
def test_a_named_home_must_be_a_directory_that_is_there(tmp_path, variable):
    missing = tmp_path / "missing"
    with pytest.raises(HomeError, match=f'{variable} points to "{missing}", but that path does not exist'):
        find_home({variable: str(missing)})
    assert not missing.exists()
    missing.write_text("")
    with pytest.raises(HomeError, match="is not a directory"):
        find_home({variable: str(missing)})


def test_a_default_that_cannot_be_made_says_why(tmp_path):
    (tmp_path / ".codex").write_text("")
    with pytest.raises(HomeError, match=r"cannot make the home directory .*\.codex"):
        find_home({"HOME": str(tmp_path)})
