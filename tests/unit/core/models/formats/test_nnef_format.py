"""NNEF archives become ONNX, in memory: outputs worked out by hand, and archives that mean harm."""

import gzip
import io
import math
import struct
import sys
import tarfile

import numpy as np
import pytest

from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.formats import get_format

pytestmark = pytest.mark.extras
pytest.importorskip("nnef")
pytest.importorskip("onnxruntime")

GRAPH = """version 1.0;

graph network(columns) -> (probability)
{
    columns = external<scalar>(shape = [1, 2]);
    weights = variable<scalar>(shape = [1, 2], label = 'layer/weights');
    bias = variable<scalar>(shape = [1, 1], label = 'layer/bias');
    product = matmul(columns, weights, transposeB = true);
    score = add(product, bias);
    probability = sigmoid(score);
}
"""
ROWS = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, -3.0]])
# 1 / (1 + exp(-(2x - y + 0.5))) by hand.
LATE = [1 / (1 + math.exp(-score)) for score in (0.5, 1.5, 7.5)]


@pytest.fixture(scope="module")
def nnef():
    return get_format("nnef")


def dat(shape, values):
    """A tensor's file, by the specification: a header of 128 bytes, and the values."""
    extents = [*shape, *[0] * (8 - len(shape))]
    header = struct.pack("<4B2I8I2I", 0x4E, 0xEF, 1, 0, 4 * len(values), len(shape), *extents, 32, 0)
    return header.ljust(128, b"\0") + struct.pack(f"<{len(values)}f", *values)


FILES = {
    "graph.nnef": GRAPH.encode(),
    "layer/weights.dat": dat([1, 2], [2.0, -1.0]),
    "layer/bias.dat": dat([1, 1], [0.5]),
}


def archive(files, mode="w:gz", **special):
    """A tar of these files, and of entries that are none: a TarInfo each."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, parts in special.items():
            entry = tarfile.TarInfo(f"{name}.dat")
            for key, value in parts.items():
                setattr(entry, key, value)
            tar.addfile(entry)
    return packed.getvalue()


def refused(nnef, data, match):
    with pytest.raises(ModelBlocked, match=match) as caught:
        nnef.as_kept(data)
    assert str(caught.value).startswith("the model's file is not an nnef file that can be read here")
    for use in (nnef.types_in, nnef.types_to_accept, lambda found: nnef.load(found, ())):
        with pytest.raises(ModelBlocked, match=match):
            use(data)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("folder", ["", "./", "network/"])
def test_a_network_is_kept_as_onnx_and_scores_as_it_does_by_hand(nnef, mode, folder):
    data = archive({f"{folder}{name}": content for name, content in FILES.items()}, mode)
    kept, content = nnef.as_kept(data)
    assert kept == "onnx"
    assert nnef.as_kept(data)[1] == content
    for model in (get_format("onnx").load(content, ()), nnef.load(data, ())):
        np.testing.assert_allclose(model.predict_proba(ROWS)[:, 1], LATE, rtol=1e-6)
        np.testing.assert_allclose(model.predict_proba(ROWS[:1])[:, 1], LATE[:1], rtol=1e-6)
        assert model.predict(ROWS).tolist() == [1, 1, 1]
    assert nnef.types_in(data) == ["ai.onnx.Add", "ai.onnx.Gemm", "ai.onnx.Sigmoid"]
    assert nnef.types_to_accept(data) == []


def test_a_graph_without_a_sigmoid_predicts_its_value(nnef):
    graph = GRAPH.replace("sigmoid(score)", "copy(score)")
    model = nnef.load(archive({**FILES, "graph.nnef": graph.encode()}), ())
    np.testing.assert_allclose(model.predict(ROWS), [0.5, 1.5, 7.5])
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "its archive holds graph.nnef 0 times"),
        ({"a/graph.nnef": b"", "b/graph.nnef": b""}, "its archive holds graph.nnef 2 times"),
        ({"graph.nnef": GRAPH.encode()}, "there is no 'layer/weights.dat' in the archive"),
        ({**FILES, "../evil.dat": b""}, r"'\.\./evil.dat' leads out of it"),
        ({**FILES, "/etc/evil.dat": b""}, "'/etc/evil.dat' leads out of it"),
        ({**FILES, "layer/../../evil.dat": b""}, "leads out of it"),
        ({**FILES, "./graph.nnef": GRAPH.encode()}, "'graph.nnef' stands in it twice"),
        ({**FILES, "graph.nnef": b""}, "Parse error"),
        ({**FILES, "graph.nnef": b"\xff\xfe"}, "UnicodeDecodeError"),
        ({**FILES, "graph.nnef": GRAPH.replace("sigmoid", "system").encode()}, "undefined operation 'system'"),
        (
            {**FILES, "graph.nnef": GRAPH.replace("layer/bias", "../../../etc/passwd").encode()},
            "there is no '../../../etc/",
        ),
        ({**FILES, "graph.nnef": GRAPH.replace("[1, 1]", "[9, 9]").encode()}, r"has the shape \[1, 1\], not \[9, 9\]"),
        (
            {**FILES, "graph.nnef": GRAPH.replace("[1, 1]", "[" * 10**6).encode()},
            "more than 50 brackets stand in each other",
        ),
        ({**FILES, "layer/bias.dat": b""}, "ValueError|struct|not enough"),
        ({**FILES, "layer/bias.dat": b"not a tensor" * 20}, "not a valid NNEF file"),
        ({**FILES, "layer/bias.dat": dat([2**31, 2**31], [0.5])}, "OverflowError"),
        ({**FILES, "layer/bias.dat": dat([1, 1], [0.5])[:-2]}, "ValueError|buffer"),
    ],
)
def test_archives_that_hold_no_network_are_refused(nnef, files, says):
    refused(nnef, archive(files), says)


@pytest.mark.parametrize(
    "entry",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "graph.nnef"},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5},
        {"type": tarfile.FIFOTYPE},
    ],
)
def test_links_and_devices_are_refused(nnef, entry):
    refused(nnef, archive(FILES, link=entry), "'link.dat' is a link or another thing that is no plain file")


def test_bombs_are_refused_before_they_go_off(nnef, monkeypatch):
    # Two megabytes of zeros in two kilobytes: with the limit that there is it takes half a GiB.
    monkeypatch.setattr("tasks.core.models.formats.nnef_format._MOST_BYTES", 1_000_000)
    refused(nnef, archive({**FILES, "zeros.dat": bytes(2_000_000)}), "unpacks to more than 1,000,000 bytes")
    refused(nnef, archive({**FILES, "zeros.dat": bytes(2_000_000)}, "w"), "holds more than 1,000,000 bytes")
    refused(nnef, gzip.compress(gzip.compress(bytes(2_000_000))), "its archive: ")
    sparse = {
        "size": 2**40,
        "pax_headers": {"GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,0", "GNU.sparse.name": "s.dat"},
    }
    refused(nnef, archive(FILES, sparse=sparse), "its archive: ")
    monkeypatch.setattr("tasks.core.models.formats.nnef_format._MOST_FILES", 3)
    refused(nnef, archive({**FILES, "more.dat": b""}), "or than 3 files")
    # A terabyte that a few letters ask for.
    constant = GRAPH.replace(
        "bias = variable<scalar>(shape = [1, 1], label = 'layer/bias')",
        "bias = constant<scalar>(shape = [1, 100000000000], value = [0.5])",
    )
    refused(nnef, archive({**FILES, "graph.nnef": constant.encode()}), "its constants have more than")


@pytest.mark.parametrize(
    "data",
    [b"", b"not an archive", b"\x1f\x8b", gzip.compress(b""), archive(FILES)[:-40], archive(FILES, "w")[:700]],
    ids=["empty", "words", "a magic number alone", "gzip of nothing", "cut gzip", "cut tar"],
)
def test_what_is_no_archive_is_a_blocked_model(nnef, data):
    refused(nnef, data, "its archive")


def test_a_scikit_learn_model_is_not_written_as_nnef(nnef):
    with pytest.raises(ModelBlocked, match="a dict is not written as NNEF"):
        nnef.dump({})


def test_a_package_that_is_missing_is_explained(monkeypatch):
    monkeypatch.delitem(sys.modules, "tasks.core.models.formats.nnef_format", raising=False)
    for name in [name for name in sys.modules if name == "nnef" or name.startswith("nnef.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DefinitionError, match=r"needs the package 'nnef', .*pip install 'lamplighter\[nnef\]'"):
        get_format("nnef")
