"""Files of models that are small and stand for all the memory there is: refused before it is taken."""

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats import get_format, unpacking

BOMB_BYTES, MOST_BYTES = 32 << 20, 1 << 20
PACKERS = [
    zlib.compress,
    gzip.compress,
    bz2.compress,
    lzma.compress,
    lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
]


@pytest.fixture
def small(monkeypatch):
    """What is always allowed is a megabyte here, and a file's hundredfold is not more."""
    monkeypatch.setattr(unpacking, "_ALWAYS_BYTES", MOST_BYTES)
    monkeypatch.setattr(unpacking, "_TIMES", 1)


def refused(name, data):
    """What is said of the file, by whatever looks into it, and the memory that this took at most."""
    found = get_format(name)
    said = set()
    tracemalloc.start()
    try:
        for use in (found.types_in, found.types_to_accept, lambda data: found.load(data, ())):
            with pytest.raises(ModelBlocked) as error:
                use(data)
            said.add(str(error.value))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (one,) = said
    return one, peak


@pytest.mark.parametrize("pack", PACKERS, ids=["zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_compressed_bomb_is_refused_at_the_limit(small, pack):
    said, peak = refused("joblib", pack(bytes(BOMB_BYTES)))
    assert f"unpacks to more than {MOST_BYTES:,} bytes" in said
    # lzma's own dictionary has eight megabytes.
    assert peak < BOMB_BYTES / 2


@pytest.mark.parametrize("pack", PACKERS, ids=["zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_model_that_packs_well_is_no_bomb(pack):
    """Half a million zeros pack a hundredfold and more: what a model may always have is far above that."""
    model = LogisticRegression().fit(np.eye(2), [0, 1])
    model.coef_ = np.zeros((1, 500_000))
    joblib = get_format("joblib")
    packed = pack(joblib.dump(model))
    assert len(packed) * 100 < model.coef_.nbytes
    assert joblib.load(packed, ()).coef_.shape == (1, 500_000)


def test_a_stream_that_ends_too_early_is_told_as_such():
    with pytest.raises(ModelBlocked, match="cannot be decompressed"):
        get_format("joblib").load(zlib.compress(bytes(1000))[:-6], ())


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 62,), (1 << 30, 1 << 30)])
def test_an_array_is_not_as_large_as_it_says(shape):
    """The room is asked for, and there is none; or it is not touched, and the file ends before."""
    data = get_format("joblib").dump(np.zeros(3))
    told = data.replace(b"K\x03\x85", _tuple(shape), 1)
    assert told != data
    said, peak = refused("joblib", told)
    assert "not a joblib file that can be read here" in said
    assert peak < BOMB_BYTES


def _tuple(shape):
    """As a pickle writes a tuple of one or two large numbers."""
    numbers = b"".join(b"\x8a\x08" + number.to_bytes(8, "little") for number in shape)
    return numbers + (b"\x85" if len(shape) == 1 else b"\x86")


@pytest.mark.extras
@pytest.mark.parametrize("where", ["schema.json", "1.npy"])
def test_a_zip_that_unfolds_is_refused(small, where):
    pytest.importorskip("skops")
    good = get_format("skops").dump(LogisticRegression().fit(np.eye(2), [0, 1]))
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(good)) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content + b" " * BOMB_BYTES if name == where else content)
    said, peak = refused("skops", packed.getvalue())
    assert "unpacks to more than" in said
    assert peak < BOMB_BYTES / 4


@pytest.mark.extras
@pytest.mark.parametrize("schema", ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000])
def test_a_tree_without_an_end_is_refused(schema):
    pytest.importorskip("skops")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", schema)
    skops = get_format("skops")
    for use in (skops.types_in, skops.types_to_accept, lambda data: skops.load(data, ())):
        with pytest.raises(ModelBlocked):
            use(packed.getvalue())
