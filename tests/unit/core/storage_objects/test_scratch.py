"""What is appended to lies on this machine: looked for where only this user can have put it, and for such keys alone."""

import pytest

from tasks.core.errors import LakeError

pytestmark = pytest.mark.extras

KEY = "w/scratch/parts/07"


def test_a_file_of_this_machine_never_stands_for_an_object(lake):
    lake.append(KEY, b"ours")
    for key in ("w/manifest.json", "w/batches/1"):
        at = lake._scratch / key
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(b"planted")
        assert not lake.exists(key)
        lake.write_bytes(key, b"object")
        assert (lake.read_bytes(key), lake.size_bytes(key), lake.read_range(key, 0, 3)) == (b"object", 6, b"obj")
    (lake._scratch / "w/planted").write_bytes(b"")
    assert lake.names("w") == ["batches", "manifest.json"]
    with pytest.raises(ValueError, match="is no key that is appended to"):
        lake.append("w/manifest.json", b"")


@pytest.mark.parametrize("key", [KEY, "w/scratch/followers", "w/batches/000001.asked"])
def test_scratch_that_others_may_write_is_not_looked_at(lake, key):
    lake.append(key, b"1")
    assert lake.read_bytes(key) == b"1"
    own, folder = lake._scratch.parent, key.rpartition("/")[0]
    own.chmod(0o777)
    assert not lake.exists(key)
    assert lake.names(folder) == []
    for use in (lake.read_bytes, lake.size_bytes, lambda one: lake.read_range(one, 0, 1)):
        with pytest.raises(LakeError):
            use(key)
    with pytest.raises(LakeError, match="is not this user's alone"):
        lake.append(key, b"2")
    lake.remove("w")
    own.chmod(0o700)
    assert lake.read_bytes(key) == b"1"
    lake.remove("w")
    assert not lake.exists(key)


@pytest.mark.parametrize("link", ["", "w", "w/scratch"])
def test_a_link_is_not_followed(lake, tmp_path, link):
    lake.append(KEY, b"1")
    victim = tmp_path / "victim"
    (lake._scratch / link).rename(victim)
    (lake._scratch / link).symlink_to(victim)
    before = sorted(victim.rglob("*"))
    assert not lake.exists(KEY)
    lake.remove(KEY)
    with pytest.raises(LakeError, match="or holds a link"):
        lake.append(KEY, b"2")
    lake.remove("w/scratch")
    lake.remove("w")
    assert sorted(victim.rglob("*")) == before
