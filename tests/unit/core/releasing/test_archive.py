"""The release's file: what is packed comes out, the same each time, and nothing else is ever let in."""

import gzip
import hashlib
import io
import struct
import tarfile
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import ReleaseRefused
from tasks.core.releasing.archive import pack, unpack

FILES = [("release.json", b"{}\n"), ("model/a b.bin", bytes(range(256)) * 5), ("sample/empty", b"")]


def anything(_name, _size):
    """Expects whatever comes."""


def unpacked(data, expect=anything):
    return list(unpack(data, where="x.tar.gz", expect=expect))


def in_gzip(tar: bytes) -> bytes:
    """As a release is packed, around whatever tar: somebody hostile can do that too."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(tar) + deflate.flush() + struct.pack("<LL", zlib.crc32(tar), len(tar) & 0xFFFFFFFF)
    return b"\x1f\x8b\x08\x10\0\0\0\0\0\xffsha256 " + hashlib.sha256(body).hexdigest().encode() + b"\0" + body


def tar_of(*members: tuple[tarfile.TarInfo, bytes], form=tarfile.USTAR_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def member(name: str, **changes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in {"mode": 0o644, **changes}.items():
        setattr(info, key, value)
    return info


def test_what_is_packed_comes_out_and_the_same_files_give_the_same_bytes():
    data = pack(FILES)
    assert unpacked(data) == FILES
    assert pack(FILES) == data


def test_tools_that_everybody_has_unpack_it():
    data = pack(FILES)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        assert [one.name for one in archive] == [name for name, _ in FILES]
        assert archive.extractfile("model/a b.bin").read() == FILES[1][1]
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode) for one in archive} == {(0, 0, 0, "", 0o644)}
    assert len(gzip.decompress(data)) % 512 == 0


def test_every_byte_counts():
    data = pack(FILES)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(ReleaseRefused):
            unpacked(bytes(changed))


@pytest.mark.parametrize("cut", [0, 1, 9, 50, 80, 90, -9, -8, -1])
def test_a_file_that_is_cut_short_is_refused(cut):
    with pytest.raises(ReleaseRefused):
        unpacked(pack(FILES)[:cut])


def test_what_is_appended_is_refused():
    with pytest.raises(ReleaseRefused, match=r"x\.tar\.gz was changed, or cut short"):
        unpacked(pack(FILES) + b"\0")


@given(st.binary(max_size=3000))
def test_of_noise_nothing_comes_but_a_refusal(noise):
    for data in (noise, in_gzip(noise)):
        with pytest.raises(ReleaseRefused):
            unpacked(data)


HOSTILE = {
    "../out": "a path that leads out of the release",
    "a/../../out": "a path that leads out of the release",
    "a/./b": "a path that leads out of the release",
    "..": "a path that leads out of the release",
    "/etc/passwd": "no path that a release may have",
    "a//b": "no path that a release may have",
    "a\\b": "no path that a release may have",
    "a\nb": "no path that a release may have",
    "C:x": "no path that a release may have",
    " a": "a path that leads out of the release",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_path_that_leads_elsewhere_is_refused(name):
    with pytest.raises(ReleaseRefused) as caught:
        unpacked(in_gzip(tar_of((member(name), b"x"))))
    assert repr(name) in str(caught.value)
    assert HOSTILE[name] in str(caught.value)
    assert "Nothing of it was used, and nothing was changed." in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.DIRTYPE, "a folder"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.CONTTYPE, "no plain file"),
        (tarfile.AREGTYPE, "no plain file"),
        (tarfile.XHDTYPE, "no plain file"),
        (tarfile.GNUTYPE_LONGNAME, "no plain file"),
        (tarfile.GNUTYPE_SPARSE, "no plain file"),
    ],
)
def test_what_is_no_plain_file_is_refused(kind, said):
    info = member("model/x", type=kind, linkname="/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else "")
    with pytest.raises(ReleaseRefused, match=said):
        unpacked(in_gzip(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024)))


@pytest.mark.parametrize(
    "changes", [{"mode": 0o4755}, {"uid": 1}, {"gid": 1}, {"mtime": 1}, {"uname": "root"}, {"linkname": "x"}]
)
def test_a_header_that_says_more_than_name_and_size_is_refused(changes):
    with pytest.raises(ReleaseRefused, match="the header of 'model/x'"):
        unpacked(in_gzip(tar_of((member("model/x", **changes), b"x"))))


def test_other_forms_of_tar_are_refused():
    long = member("model/" + "x" * 200)
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with pytest.raises(ReleaseRefused):
            unpacked(in_gzip(tar_of((long, b"x"), form=form)))
    with pytest.raises(ReleaseRefused, match="cannot stand in a release"):
        pack([("x" * 300, b"")])


def test_what_follows_the_end_or_hides_in_the_padding_is_refused():
    tar = gzip.decompress(pack(FILES[:1]))
    for hidden, said in ((tar + bytes(512), "goes on after its end"), (tar[:-1] + b"x", "goes on after its end")):
        with pytest.raises(ReleaseRefused, match=said):
            unpacked(in_gzip(hidden))
    padded = bytearray(tar)
    padded[1000] = 1
    with pytest.raises(ReleaseRefused, match="followed by what does not belong to it"):
        unpacked(in_gzip(bytes(padded)))


def test_a_bomb_is_refused_before_it_is_decompressed():
    size = 1 << 28
    info = member("release.json")
    info.size = size
    bomb = in_gzip(info.tobuf(tarfile.USTAR_FORMAT) + bytes(size) + bytes(1024))
    assert len(bomb) < 1 << 19

    def expect(name, said):
        if said > 1000:
            raise ReleaseRefused(f"{name} is too large")

    tracemalloc.start()
    with pytest.raises(ReleaseRefused, match="too large"):
        unpacked(bomb, expect)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_gzip_as_others_write_it_is_no_release():
    with pytest.raises(ReleaseRefused, match="no release of Lamplighter, or was compressed anew"):
        unpacked(gzip.compress(gzip.decompress(pack(FILES))))
