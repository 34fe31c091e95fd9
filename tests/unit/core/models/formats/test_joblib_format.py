"""A joblib file runs nothing that is on no allow-list. Whatever is attempted here would leave a marker file."""

import bz2
import collections
import contextlib
import functools
import gzip
import io
import lzma
import os
import pickle
import subprocess
import sys
import threading
import zlib

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from joblib.numpy_pickle_compat import NDArrayWrapper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, SplineTransformer, StandardScaler
from sklearn.utils.validation import check_array

from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models import formats
from tasks.core.models.formats import allow_list, format_names, get_format
from tasks.core.models.formats.joblib_format import FORMAT


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


class Hostile:
    """Touches a file as soon as it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def joblib_bytes(value, **options):
    file = io.BytesIO()
    joblib.dump(value, file, **options)
    return file.getvalue()


def refused(data, marker, match=None, allowed=()):
    """The message of the refusal; nothing ran, neither in loading nor in listing."""
    with pytest.raises(ModelBlocked, match=match) as caught:
        FORMAT.load(data, allowed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "system", lambda command: pytest.fail(f"ran {command}"))
        with contextlib.suppress(ModelBlocked):
            FORMAT.types_in(data)
    assert not marker.exists()
    return str(caught.value)


# -- where a hostile object may hide --------------------------------------------------------------------------------


class Tagged(np.ndarray):
    """A subclass of ndarray, which joblib leaves to pickle."""


def mapped(tmp_path):
    array = np.memmap(tmp_path / "array.bin", dtype="float64", mode="w+", shape=(50,))
    array[:] = 1.5
    return array


ARRAYS = {
    "floats": lambda _: np.linspace(0, 1, 1000),
    "fortran": lambda _: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "strided": lambda _: np.arange(100)[::3],
    "integers": lambda _: np.arange(7, dtype="int8"),
    "booleans": lambda _: np.array([True, False]),
    "no_rows": lambda _: np.empty((0, 3)),
    "zero_dimensional": lambda _: np.array(3.0),
    "text": lambda _: np.array(["a", "bcd"]),
    "dates": lambda _: np.array(["2013-07-01"], dtype="datetime64[us]"),
    "structured": lambda _: np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "aligned": lambda _: np.zeros(3, dtype=np.dtype([("a", "i1"), ("b", "f8")], align=True)),
    "big_endian": lambda _: np.arange(5, dtype=">i4"),
    "objects": lambda _: np.array(["a", None, 2.5], dtype=object),
    "object_fields": lambda _: np.array([(1, "x")], dtype=[("a", "i4"), ("b", "O")]),
    "objects_in_objects": lambda _: np.array([np.array([None, "a"], dtype=object), 1], dtype=object),
    "matrix": lambda _: np.asmatrix(np.eye(2)),
    "masked": lambda _: np.ma.masked_array([1.0, 2.0], mask=[True, False]),
    "subclass": lambda _: np.arange(4).view(Tagged),
    "mapped": mapped,
    "sparse": lambda _: scipy.sparse.random(20, 20, density=0.1, random_state=0, format="csr"),
    "frame": lambda _: pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]}),
    "model": lambda _: LogisticRegression().fit([[0.0], [1.0]], [0, 1]),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@pytest.mark.parametrize("position", ["first", "last", "between", "inside"])
@pytest.mark.parametrize("kind", ARRAYS)
def test_a_hostile_object_beside_any_array_is_refused(kind, position, tmp_path, marker):
    array, hostile = ARRAYS[kind](tmp_path), Hostile(marker)
    held = {
        "first": [hostile, array],
        "last": [array, hostile],
        "between": [array, hostile, array],
        "inside": [array, np.array([None, hostile], dtype=object), array],
    }[position]
    assert "posix.system" in refused(joblib_bytes(held), marker)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda hostile: hostile,
        lambda hostile: {"key": hostile},
        lambda hostile: (1, (2, hostile)),
        lambda hostile: LogisticRegression(C=hostile),
        lambda hostile: make_pipeline(StandardScaler(), FunctionTransformer(func=hostile)),
        lambda hostile: np.array([[hostile]], dtype=object),
        lambda hostile: np.array([(1, hostile)], dtype=[("a", "i4"), ("b", "O")]),
        lambda hostile: np.array([np.array([np.array([hostile], dtype=object), 1], dtype=object), 1], dtype=object),
        lambda hostile: [np.arange(3), np.array([None], dtype=object), {"deep": [np.array([hostile], dtype=object)]}],
        lambda hostile: collections.OrderedDict(a=np.arange(3), b=hostile),
        lambda hostile: np.ma.masked_array(np.array([hostile], dtype=object), mask=[False]),
        lambda hostile: pd.Series([hostile], dtype=object),
        lambda hostile: functools.partial(print, hostile),
    ],
)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_hostile_object_inside_anything_is_refused(wrap, protocol, marker):
    data = joblib_bytes(wrap(Hostile(marker)), protocol=protocol)
    assert "posix.system" in refused(data, marker)
    assert "posix.system" in FORMAT.types_in(data)


def test_the_attack_works_on_plain_joblib(marker):
    # Else the tests above would prove nothing.
    joblib.load(io.BytesIO(joblib_bytes([np.arange(3), Hostile(marker)])))
    assert marker.exists()


@pytest.mark.parametrize("compress", ["zlib", "gzip", "bz2", "lzma", "xz", 0, 3, ("gzip", 9)])
def test_compressed_files_are_refused_and_loaded_alike(compress, marker):
    assert "posix.system" in refused(joblib_bytes([np.arange(9), Hostile(marker)], compress=compress), marker)
    loaded = FORMAT.load(joblib_bytes({"a": np.arange(9)}, compress=compress))
    assert loaded["a"].tolist() == list(range(9))


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_a_truncated_compressed_file_is_refused(pack, marker):
    refused(pack(joblib_bytes(np.arange(1000)))[:-20], marker, match="decompressed|cannot|can be read")


def test_a_file_mapped_into_memory_is_read_like_any_other(tmp_path, marker):
    path = tmp_path / "model.joblib"
    joblib.dump([mapped(tmp_path), Hostile(marker)], path)
    refused(path.read_bytes(), marker)
    joblib.dump({"a": mapped(tmp_path)}, path)
    loaded = FORMAT.load(path.read_bytes())["a"]
    assert type(loaded) is np.ndarray
    assert loaded.tolist() == [1.5] * 50


# -- files made by hand ---------------------------------------------------------------------------------------------


def calls(module, name, *arguments):
    """A pickle, as joblib would read it, that calls module.name(*arguments)."""

    class Call:
        def __reduce__(self):
            return stand_in, arguments

    def stand_in(): ...

    stand_in.__module__, stand_in.__qualname__, stand_in.__name__ = __name__, "stand_in", "stand_in"
    globals()["stand_in"] = stand_in
    try:
        data = pickle.dumps(Call(), protocol=4)
    finally:
        del globals()["stand_in"]
    return _renamed(data, f"{__name__}", module).replace(*_short("stand_in", name))


def _short(old, new):
    return b"\x8c" + bytes([len(old)]) + old.encode(), b"\x8c" + bytes([len(new)]) + new.encode()


def _renamed(data, old, new):
    assert _short(old, new)[0] in data
    # Without a frame, whose length would be wrong now.
    return data[:2] + data[11:].replace(*_short(old, new))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "getoutput"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "__import__"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("importlib", "import_module"),
        ("sklearn.base", "os.system"),
        ("sklearn.pipeline", "sys.modules"),
        ("sklearn.ensemble._base", "np.load"),
        ("sklearn.linear_model._logistic", "numbers.sys"),
        ("sklearn.linear_model._logistic", "LogisticRegression.__init__"),
        ("sklearn.utils._testing", "TempMemmap"),
        ("sklearn.utils", "Bunch"),
        ("sklearn.ensemble._forest", "Parallel"),
        ("sklearn.linear_model._logistic", "Integral"),
        ("sklearn.datasets._base", "load_files"),
        ("sklearn.tree._export", "_DOTTreeExporter"),
        ("sklearn.utils.parallel", "Parallel"),
        ("sklearn.ensemble._forest", "_generate_sample_indices"),
        ("numpy", "load"),
        ("numpy", "f2py.os.system"),
        ("numpy", "fromfile"),
        ("numpy", "void"),
        ("joblib", "load"),
        ("joblib.memory", "Memory"),
        ("joblib.numpy_pickle", "load"),
        ("joblib.numpy_pickle_compat", "NDArrayWrapper"),
        ("joblib.numpy_pickle_compat", "ZNDArrayWrapper"),
        ("pandas", "read_pickle"),
        ("operator", "attrgetter"),
        ("types", "FunctionType"),
        ("code", "InteractiveInterpreter"),
        ("no.such.module", "thing"),
    ],
)
def test_names_that_are_on_no_list_are_refused(module, name, marker):
    data = calls(module, name, f"touch {marker}")
    assert "Nothing in the file was run" in refused(data, marker)
    shown = {"__builtin__": "builtins"}.get(module, module)
    assert f"{shown}.{name}" in refused(data, marker)


def test_a_module_is_not_even_imported_before_its_name_is_allowed(tmp_path, monkeypatch, marker):
    (tmp_path / "booby_trap.py").write_text(
        f"import pathlib; pathlib.Path({str(marker)!r}).touch()\nclass Model: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    refused(calls("booby_trap", "Model"), marker)
    assert "booby_trap" not in sys.modules
    FORMAT.load(calls("booby_trap", "Model"), ["booby_trap.Model"])
    assert marker.exists()


@pytest.mark.parametrize("name", ["os.system", "posix.system", "builtins.eval", "subprocess.Popen", "shutil.rmtree"])
def test_nobody_can_allow_what_runs_anything(name, marker):
    module, _, attribute = name.rpartition(".")
    message = refused(calls(module, attribute, f"touch {marker}"), marker, allowed=[name])
    assert "Nobody can allow" in message


def test_the_oldest_instructions_are_refused(marker):
    refused(b"(cos\nsystem\nS'touch " + str(marker).encode() + b"'\no.", marker)  # OBJ
    refused(b"(S'touch " + str(marker).encode() + b"'\nios\nsystem\n.", marker)  # INST
    refused(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.", marker)  # GLOBAL of protocol 0
    refused(b"(S'1'\nibuiltins\nint\n.", marker, match="no current Python")
    refused(b"\x80\x02\x82\x01.", marker, match="no current Python")  # EXT1
    refused(b"\x80\x02Pid\n.", marker, match="cannot|can be read|persistent")  # PERSID


def test_what_stands_behind_the_end_is_refused(marker):
    good, hostile = joblib_bytes(LogisticRegression()), joblib_bytes(Hostile(marker))
    refused(good + hostile, marker, match="behind the model's end")
    refused(hostile + good, marker)


def test_an_old_wrapper_cannot_read_another_file(tmp_path, marker):
    # joblib 0.9's wrapper would np.load(allow_pickle=True) a file beside the model.
    np.save(tmp_path / "beside.npy", np.array([Hostile(marker)], dtype=object), allow_pickle=True)
    data = pickle.dumps(NDArrayWrapper(str(tmp_path / "beside.npy"), np.ndarray), protocol=4)
    refused(data, marker, match="NDArrayWrapper")
    refused(data, marker, allowed=["joblib.numpy_pickle_compat.NDArrayWrapper"])


def test_a_memory_map_cannot_create_a_file(marker):
    # numpy.memmap(path, mode="w+") writes. The name is known, for joblib writes it; what it stands for is not.
    class Creates:
        def __reduce__(self):
            return np.memmap, (str(marker), "uint8", "w+", 0, (10,))

    refused(pickle.dumps(Creates(), protocol=4), marker)


def test_raw_bytes_cannot_pass_for_objects(marker):
    class Forged:
        def __reduce__(self):
            return np.ndarray, ((1,), np.dtype(object), bytearray(b"\x10" * 8))

    for forged in (Forged(), np.array([Forged()], dtype=object)):
        refused(joblib_bytes(forged), marker, match="numpy.ndarray called")
    arguments = _opcodes(((1,), "O", bytearray(8)))
    refused(b"\x80\x05cnumpy\nndarray\n" + arguments + b"\x81.", marker, match="numpy.ndarray called")  # NEWOBJ
    refused(b"\x80\x05cnumpy\nndarray\n" + arguments + b"}\x92.", marker, match="numpy.ndarray called")  # NEWOBJ_EX


def _opcodes(value):
    """What pushes a value, as a part of a pickle."""
    return pickle.dumps(value, protocol=3)[2:-1]


DTYPE = b"cnumpy\ndtype\n"


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("O8", (3, "|", None, None, None, -1, -1, 0)),  # Objects, and a flag that says there are none.
        ("V8", (3, "|", None, ("a",), {"a": (np.dtype("i8"), 0)}, 8, 1, 0)),
        ("f8", (3, "<", None, None, None, 1, 1, 63)),
        ("U2", (3, "<", None, None, None, 4000, 4, 8)),
        ("V16", (3, "|", (np.dtype("f8"), (2,)), None, None, 16_000, 8, 0)),
        ("M8", (4, "<", None, None, None, -1, -1, 0, (None, (b"us", 25, 1, 1)))),
    ],
)
def test_a_type_is_made_anew_from_its_parts(code, state):
    data = b"\x80\x05" + DTYPE + _opcodes((code, False, True)) + b"R" + _opcodes(state) + b"b."
    made = FORMAT.load(data)
    parts = {"U2": "<U2", "V8": [("a", "i8")], "V16": ("f8", (2,)), "M8": "M8[25us]"}
    honest = np.dtype(parts.get(code, code))
    assert (made, made.itemsize, made.flags) == (honest, honest.itemsize, honest.flags)


@pytest.mark.parametrize(
    "state",
    [
        (3, "|", None, ("a",), {"a": (np.dtype("f8"), 100)}, 8, 1, 16),  # A field behind the end.
        (3, "|", None, ("a",), {"a": (np.dtype("f8"), -8)}, 8, 1, 16),
        (3, "|", None, ("a",), {}, 8, 1, 16),
        (3, "|", None, None, None),
        (3,),
        "nonsense",
        None,
    ],
)
def test_a_type_whose_parts_do_not_fit_is_refused(state, marker):
    data = b"\x80\x05" + DTYPE + _opcodes(("V8", False, True)) + b"R" + _opcodes(state) + b"b."
    refused(data, marker, match="can be read")


def test_a_type_cannot_change_after_it_was_made(marker):
    # Fields of objects, laid over what was read as bytes.
    plain = _opcodes((3, "|", None, None, None, 8, 1, 0))
    fields = _opcodes((3, "|", None, ("a",), {"a": (np.dtype("f8"), 0)}, 8, 1, 16))
    made = b"\x80\x05" + DTYPE + _opcodes(("V8", False, True)) + b"R" + plain + b"b"
    refused(made + fields + b"b.", marker, match="a change of")
    # The same through the dict that the type was made with: it is not the type's own.
    shared = {"a": (np.dtype("f8"), 0)}
    kept = (3, "|", None, ("a",), shared, 8, 1, 16)
    data = pickle.dumps([shared, kept], protocol=3)
    loaded = FORMAT.load(data)
    assert loaded[0] is loaded[1][4]


@pytest.mark.parametrize("code", ["T", "T16", "f8,O", "object", "(2,)O", "O8\n", "", 5, None])
def test_a_type_without_a_plain_code_is_refused(code, marker):
    refused(b"\x80\x05" + DTYPE + _opcodes((code, False, True)) + b"R.", marker, match="numpy.dtype of")


def test_arrays_cannot_share_or_change_each_others_memory(marker):
    array = np.arange(4.0)
    shares = b"\x80\x05cnumpy._core.numeric\n_frombuffer\n" + _opcodes((array, np.dtype("f8"), (4,), "C")) + b"R."
    refused(shares, marker, match="shares the memory")
    changes = b"\x80\x05" + _opcodes(array) + _opcodes((1, (1,), np.dtype("f8"), False, bytes(8))) + b"b."
    refused(changes, marker, match="a change of an array that is in use")
    scalar = (np.dtype([("a", "O")]), np.arange(1.0))
    refused(
        b"\x80\x05cnumpy._core.multiarray\nscalar\n" + _opcodes(scalar) + b"R.",
        marker,
        match="a numpy scalar with fields",
    )


def test_an_array_of_objects_is_as_long_as_it_says(marker):
    # numpy does not count, and would take what lies behind the list for objects.
    empty = pickle.dumps(np.empty(0, dtype=object), protocol=3)[2:]
    empty = empty[: empty.index(b"R") + 1]  # _reconstruct(ndarray, (0,), b"b")
    for state in ((1, (31,), np.dtype(object), False, ["a", "b"]), ((31,), np.dtype(object), False, ["a", "b"])):
        refused(b"\x80\x05" + empty + _opcodes(state) + b"b.", marker, match="fewer objects")
    whole = FORMAT.load(b"\x80\x05" + empty + _opcodes((1, (2,), np.dtype(object), False, ["a", "b"])) + b"b.")
    assert whole.tolist() == ["a", "b"]


def test_what_is_checked_is_what_is_called_with(marker):
    # args[0] of this dict is harmless, and its first key, which a call would take, is not.
    arguments = _opcodes({np.ndarray: 1, 0: check_array})
    refused(b"\x80\x05cfunctools\npartial\n" + arguments + b"R.", marker, match="no tuple")


def test_an_encoding_cannot_be_chosen():
    data = b"\x80\x05c_codecs\nencode\n" + _opcodes(("abc\xe9", "rot13")) + b"R."
    assert FORMAT.load(data) == b"abc\xe9"


def test_a_class_cannot_be_changed_by_a_file(marker):
    push = b"\x80\x05csklearn.linear_model._logistic\nLogisticRegression\n"
    refused(push + _opcodes((None, {"predict": 5})) + b"b.", marker, match="a change of '.*LogisticRegression' itself")
    assert callable(LogisticRegression.predict)


def test_partial_holds_only_what_scikit_learn_puts_there(marker):
    refused(joblib_bytes(functools.partial(np.ndarray, dtype=object)), marker, match="functools.partial of")
    refused(joblib_bytes(np.array([functools.partial(int, 1)], dtype=object)), marker, match="functools.partial of")
    # Made of what is allowed, and then changed.
    made = b"\x80\x05cfunctools\npartial\n" + _opcodes((check_array,)) + b"R"
    refused(made + _opcodes((np.ndarray, (), {}, {})) + b"b.", marker, match="functools.partial of ndarray")


def test_a_wrapper_cannot_lie_about_its_type(marker):
    # Objects hidden behind the claim that an array has none, and the other way round.
    data = joblib_bytes([np.array([Hostile(marker)], dtype=object)])
    refused(data.replace(b"\x8c\x02O8", b"\x8c\x02f8"), marker)
    refused(joblib_bytes([np.arange(3.0), Hostile(marker)]).replace(b"\x8c\x02f8", b"\x8c\x02O8"), marker)


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"not a model", b"\x00" * 100, b"x\x9c", b"BZh9", b"\x1f\x8b", b"ZF0x5"]
)
def test_what_is_no_joblib_file_is_a_blocked_model(data, marker):
    refused(data, marker, match="not a joblib file that can be read|no allow-list")


@pytest.mark.parametrize("length", [1, 10, 100, 500])
def test_a_truncated_file_is_a_blocked_model(length, marker):
    data = FORMAT.dump(RandomForestClassifier(n_estimators=2, random_state=0).fit([[0.0], [1.0]], [0, 1]))
    refused(data[:-length], marker, match="not a joblib file that can be read")


def test_no_byte_that_is_changed_runs_anything(marker):
    rng = np.random.default_rng(7)
    data = bytearray(joblib_bytes([np.arange(20.0), np.array(["a", Hostile(marker)], dtype=object), Hostile(marker)]))
    for position in rng.integers(0, len(data), 300):
        changed = bytes(data[:position]) + bytes([rng.integers(256)]) + bytes(data[position + 1 :])
        with pytest.raises(ModelBlocked):
            FORMAT.load(changed)
    assert not marker.exists()


# -- what does load -------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {
        "a": RNG.normal(size=120),
        "b": RNG.normal(size=120),
        "text": pd.array([["x", "y", None][i % 3] for i in range(120)], dtype="str"),
        "kind": pd.Categorical([["p", "q"][i % 2] for i in range(120)]),
    }
)
NUMBERS, LABELS = FRAME[["a", "b"]], (FRAME.a > 0).to_numpy()
ENCODED = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
        ("one_hot", OneHotEncoder(handle_unknown="ignore"), ["text"]),
        ("ordinal", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["kind"]),
    ]
)
MODELS = {
    "boosted": lambda: make_pipeline(ENCODED, HistGradientBoostingClassifier(max_iter=3)).fit(FRAME, LABELS),
    "boosted_categories": lambda: HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype").fit(
        FRAME[["a", "kind"]], LABELS
    ),
    "boosted_poisson": lambda: HistGradientBoostingRegressor(max_iter=3, loss="poisson").fit(NUMBERS, LABELS * 1.0),
    "logistic": lambda: make_pipeline(ENCODED, LogisticRegression()).fit(FRAME, LABELS),
    "isotonic": lambda: CalibratedClassifierCV(
        FrozenEstimator(LogisticRegression().fit(NUMBERS, LABELS)), method="isotonic"
    ).fit(NUMBERS, LABELS),
    "sigmoid": lambda: CalibratedClassifierCV(
        FrozenEstimator(make_pipeline(ENCODED, LogisticRegression()).fit(FRAME, LABELS)), method="sigmoid"
    ).fit(FRAME, LABELS),
    "clusters": lambda: KMeans(3, n_init=1, random_state=0).fit(NUMBERS),
    "anomalies": lambda: IsolationForest(n_estimators=5, random_state=0).fit(NUMBERS),
    "forest": lambda: RandomForestClassifier(n_estimators=3, random_state=0).fit(NUMBERS, LABELS),
    "gradient": lambda: GradientBoostingRegressor(n_estimators=3, random_state=0).fit(NUMBERS, LABELS * 1.0),
    "neighbours": lambda: KNeighborsClassifier().fit(NUMBERS, LABELS),
    "chain": lambda: make_pipeline(FunctionTransformer(np.exp), SplineTransformer(), SelectKBest(k=3), Ridge()).fit(
        NUMBERS, LABELS
    ),
}


def scores(model):
    frame = FRAME[list(model.feature_names_in_)]
    method = next(
        getattr(model, name) for name in ("predict_proba", "score_samples", "predict") if hasattr(model, name)
    )
    return method(frame)


@pytest.mark.parametrize("name", MODELS)
def test_models_load_without_a_word_from_a_person_and_score_the_same(name):
    model = MODELS[name]()
    data = FORMAT.dump(model)
    assert FORMAT.dump(model) == data
    assert FORMAT.types_to_accept(data) == []
    np.testing.assert_array_equal(scores(FORMAT.load(data)), scores(model))


def test_arrays_come_back_as_they_were(tmp_path):
    for kind in (
        "floats",
        "fortran",
        "integers",
        "no_rows",
        "zero_dimensional",
        "text",
        "dates",
        "structured",
        "objects",
    ):
        array = ARRAYS[kind](tmp_path)
        loaded = FORMAT.load(FORMAT.dump([array, "end"]))
        np.testing.assert_array_equal(loaded[0], array)
        assert (loaded[0].dtype, loaded[1]) == (array.dtype, "end")


def test_the_bytes_do_not_depend_on_the_process():
    script = (
        "import hashlib, numpy as np, pandas as pd\n"
        "from sklearn.compose import ColumnTransformer\n"
        "from sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import OneHotEncoder\n"
        "from tasks.core.models.formats.joblib_format import FORMAT\n"
        "frame = pd.DataFrame({'a': np.arange(40.0), 'b': ['x', 'y'] * 20})\n"
        "encode = ColumnTransformer([('b', OneHotEncoder(), ['b'])], remainder='passthrough')\n"
        "model = make_pipeline(encode, RandomForestClassifier(3, random_state=0)).fit(frame, frame.a > 20)\n"
        "print(hashlib.sha256(FORMAT.dump(model)).hexdigest())\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


class OurTransformer:
    """A type of the job's own, that no list knows."""


def test_a_type_of_the_jobs_own_loads_once_it_is_allowed_by_its_exact_name(marker):
    data = joblib_bytes([OurTransformer(), np.arange(3)])
    ours = f"{OurTransformer.__module__}.OurTransformer"
    assert FORMAT.types_to_accept(data) == [ours]
    assert ours in refused(data, marker)
    refused(
        data,
        marker,
        allowed=["OurTransformer", f"{ours}X", OurTransformer.__module__, f"{OurTransformer.__module__}.*"],
    )
    sys.modules.setdefault(OurTransformer.__module__, sys.modules[__name__])
    assert type(FORMAT.load(data, [ours])[0]).__name__ == "OurTransformer"


def test_types_in_lists_every_name_once_and_in_order():
    data = FORMAT.dump([LogisticRegression(), np.arange(3), np.array([StandardScaler()], dtype=object)])
    assert FORMAT.types_in(data) == [
        "joblib.numpy_pickle.NumpyArrayWrapper",
        "numpy._core.multiarray._reconstruct",
        "numpy.dtype",
        "numpy.ndarray",
        "sklearn.linear_model._logistic.LogisticRegression",
        "sklearn.preprocessing._data.StandardScaler",
    ]


def test_a_name_that_moved_in_another_version_is_explained(marker):
    message = refused(calls("sklearn.ensemble._no_such_module", "Forest"), marker)
    assert "sklearn.ensemble._no_such_module.Forest, which is not here" in message
    assert "register the model again" in message


def test_what_a_notebook_or_a_script_defines_is_in_no_file(marker):
    for module in ("__main__", "__mp_main__"):
        message = refused(calls(module, "Cyclic"), marker, allowed=[f"{module}.Cyclic"])
        assert "the model's file names Cyclic of __main__: what was written in a notebook" in message
        assert "Next: move Cyclic into a module of the project, such as ours/features.py" in message


def test_what_cloudpickle_saved_holds_code_and_is_told_so(marker):
    cloudpickle = pytest.importorskip("cloudpickle")

    class Within(StandardScaler):
        """Of a function, as a class of a notebook is of __main__: cloudpickle writes all of it."""

    for model in (FunctionTransformer(lambda values: values), make_pipeline(Within(), LogisticRegression())):
        data = cloudpickle.dumps(model)
        message = refused(data, marker, allowed=["cloudpickle.cloudpickle._make_function"])
        assert "the model's file was saved by cloudpickle, which puts code into the file" in message
        assert "save it by joblib.dump" in message
    with pytest.raises(ModelBlocked, match="saved by cloudpickle"):
        FORMAT.types_to_accept(data)


def test_what_no_file_can_hold_by_name_is_a_paragraph_and_never_a_pickling_error():
    class Within:
        """Of a function, and so of no module."""

    for model in (FunctionTransformer(lambda values: values), threading.Lock(), Within()):
        with pytest.raises(ModelBlocked) as told:
            FORMAT.dump(model)
        what = f"the {type(model).__name__} cannot be kept in a joblib file, which holds classes and functions by their names"
        assert what in str(told.value)
        assert "Next: write a lambda, and what is defined within a function or a notebook, as a class" in str(
            told.value
        )


def test_every_exact_name_of_the_default_list_exists_or_is_of_another_version():
    # numpy.core is numpy 1's place for the same two functions; the losses were made so until scikit-learn 1.8.
    elsewhere = ("numpy.core.", "sklearn._loss._loss.__pyx_unpickle_")
    gone = [
        name for name in sorted(allow_list.EXACT) if not name.startswith(elsewhere) and not allow_list.is_allowed(name)
    ]
    assert gone == []
    assert not any(allow_list.is_forbidden(name) for name in allow_list.EXACT)


def test_formats_are_found_by_their_modules():
    assert "joblib" in format_names()
    assert get_format("joblib") is FORMAT
    with pytest.raises(DefinitionError, match=r"'pmml' is not a model format; there are: .*joblib"):
        get_format("pmml")


def test_a_new_format_touches_no_other_file(tmp_path, monkeypatch):
    (tmp_path / "paper_format.py").write_text("import no_such_package_at_all\n")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    assert "paper" in format_names()
    with pytest.raises(
        DefinitionError, match=r"needs the package 'no_such_package_at_all'.*pip install 'lamplighter\[paper\]'"
    ):
        get_format("paper")
