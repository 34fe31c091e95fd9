"""What is run as code lies where this user alone may write, or nowhere that lasts."""

import os
import stat

import pytest

from tasks.core.storage.private import private_file


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(path):
    path.write_bytes(b"made")


def refuse(path):
    raise AssertionError(f"{path} is made again")


def test_is_made_once_for_this_user_alone(home):
    with private_file("a.so", write) as path:
        assert path == home / ".cache/lamplighter/a.so"
        assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"made", 0o700)
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    with private_file("a.so", refuse) as path:
        assert path.read_bytes() == b"made"
    assert [one.name for one in path.parent.iterdir()] == ["a.so"]


@pytest.mark.parametrize("how", ["others may write it", "it is a link", "it is a folder's link"])
def test_what_another_could_have_put_there_is_made_anew(home, how):
    folder = home / ".cache/lamplighter"
    folder.mkdir(parents=True, mode=0o700)
    (home / "theirs").write_bytes(b"theirs")
    if how == "others may write it":
        (folder / "a.so").write_bytes(b"theirs")
        (folder / "a.so").chmod(0o722)
    elif how == "it is a link":
        (folder / "a.so").symlink_to(home / "theirs")
    else:
        (folder / "a.so").symlink_to(home)
    with private_file("a.so", write) as path:
        assert path.read_bytes() == b"made"
        assert not path.is_symlink()
    assert (home / "theirs").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("name", "mode"), [(".cache/lamplighter", 0o777), (".cache/lamplighter", 0o770), (".cache", 0o777)]
)
def test_a_folder_that_others_may_write_keeps_nothing(home, name, mode):
    (home / ".cache/lamplighter").mkdir(parents=True, mode=0o700)
    (home / name).chmod(mode)
    (home / ".cache/lamplighter/a.so").write_bytes(b"theirs")
    with private_file("a.so", write) as path:
        assert path.read_bytes() == b"made"
        assert not path.is_relative_to(home)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.parent.exists()


def test_a_home_that_cannot_be_had_keeps_nothing(home, monkeypatch):
    (home / "file").write_text("")
    monkeypatch.setenv("HOME", str(home / "file"))
    with private_file("a.so", write) as path:
        assert path.read_bytes() == b"made"
    assert not path.exists()


def test_what_fails_leaves_nothing(home):
    def fail(path):
        path.write_bytes(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError), private_file("a.so", fail):
        pass
    assert os.listdir(home / ".cache/lamplighter") == []
