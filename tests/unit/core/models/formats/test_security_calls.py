"""Files of allowed names alone, put together by hand: nothing is called, and no memory read, that a saved model has no need of.

Every file here loaded, or read what it liked, as long as whatever stood on the list of names could be called with anything.
"""

import collections
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.neural_network import MLPRegressor
from sklearn.svm import SVC
from sklearn.utils import Bunch

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats import get_format
from tasks.core.models.formats.joblib_format import FORMAT

REDUCE, NEWOBJ, NEWOBJ_EX, BUILD = b"R", b"\x81", b"\x92", b"b"


def name(full_name):
    module, _, last = full_name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def value(of):
    return pickle.dumps(of, protocol=3)[2:-1]


def pairs(**parts):
    """A dict of what other instructions make."""
    return b"}(" + b"".join(value(key) + part for key, part in parts.items()) + b"u"


def made(full_name):
    return name(full_name) + b")" + NEWOBJ


def several(*parts):
    return b"(" + b"".join(parts) + b"t"


def refused(instructions, match, allowed=()):
    data = b"\x80\x05" + instructions + b"."
    with pytest.raises(ModelBlocked, match=match):
        FORMAT.load(data, allowed)


LINEAR = "sklearn.linear_model._base.LinearRegression"
BUNCH = "sklearn.utils._bunch.Bunch"
ASARRAY = "scipy._lib.array_api_compat.numpy._aliases.asarray"
# What numpy would take for an array of one number at an address.
INTERFACE = value({"shape": (), "typestr": "<i8", "data": (1, False), "version": 3})


@pytest.mark.parametrize(
    ("full_name", "arguments"),
    [
        ("numpy.add", (1, 2)),
        ("numpy.logical_or", (1, 2)),
        ("numpy.int64", (1,)),
        ("numpy.ma.MaskedArray", ([1.0],)),
        (ASARRAY, ([1.0],)),
        ("sklearn.utils.validation.check_array", ([[1.0]],)),
        ("sklearn.metrics._classification.accuracy_score", ([1], [1])),
        ("sklearn.feature_selection._univariate_selection.f_classif", ([[1.0]], [1])),
        ("scipy.sparse._csr.csr_matrix", ([[1.0]],)),
        (LINEAR, ()),
        ("builtins.dict", ([("__array_interface__", 1)],)),
        ("builtins.str", (1,)),
        ("builtins.int", ("1",)),
    ],
)
def test_what_a_model_holds_is_not_called(full_name, arguments):
    refused(name(full_name) + value(arguments) + REDUCE, f"a call of {full_name}")


KEYS = ["__array_interface__", "__array_struct__", "__array__", "__array_ufunc__", "__buffer__", "__dlpack__"]
WAYS = {
    "a state": lambda key: made(LINEAR) + pairs(**{key: INTERFACE}) + BUILD,
    "slots": lambda key: made("sklearn.isotonic.IsotonicRegression") + b"N" + pairs(**{key: INTERFACE}) + b"\x86b",
    "pairs": lambda key: made(LINEAR) + several(several(value(key), INTERFACE)) + BUILD,
    "an item": lambda key: made(BUNCH) + value(key) + INTERFACE + b"s",
    "items": lambda key: made(BUNCH) + b"(" + value(key) + INTERFACE + b"u",
    "the oldest dict": lambda key: b"(" + value(key) + INTERFACE + b"d",
    "keywords": lambda key: name(BUNCH) + b")" + pairs(**{key: INTERFACE}) + NEWOBJ_EX,
    "a numpy text": lambda key: made(BUNCH) + value(np.str_(key)) + INTERFACE + b"s",
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", WAYS)
def test_no_object_says_that_it_is_an_array(way, key):
    refused(WAYS[way](key), "says of itself __")


def test_no_object_says_so_whoever_has_allowed_it():
    refused(WAYS["a state"]("__array_interface__"), "says of itself", allowed=[LINEAR])


@pytest.mark.parametrize("key", ["__class__", "__dict__", "__setstate__", "__sklearn_tags__"])
def test_no_state_has_a_name_that_python_reads(key):
    refused(made(LINEAR) + pairs(**{key: value(1)}) + BUILD, f"says of itself {key}")


def test_the_memory_of_an_address_is_not_read_in_scoring():
    model, other = LogisticRegression().fit([[0.0], [1.0]], [0, 1]), LinearRegression()
    vars(other)["__array_interface__"] = {"shape": (1,), "typestr": "<f8", "data": (1, False), "version": 3}
    model.intercept_ = other
    for use in (FORMAT.load, FORMAT.types_to_accept):
        with pytest.raises(ModelBlocked, match="says of itself __array_interface__"):
            use(FORMAT.dump(model))


def test_a_random_generator_is_made_by_its_own_maker():
    maker = "numpy.random._pickle.__generator_ctor"
    for other in (name("numpy.exp"), name(ASARRAY), name("builtins.str")):
        refused(name(maker) + several(value("MT19937"), other) + REDUCE, "a random generator that is made by")
    refused(name(maker) + several(made(LINEAR)) + REDUCE, "a random generator that is made by")


def test_an_object_with_a_state_is_no_argument():
    refused(name("builtins.frozenset") + several(made(LINEAR)) + REDUCE, "frozenset with a LinearRegression")
    refused(name("sklearn.tree._tree.Tree") + several(made(LINEAR)) + REDUCE, "Tree with a LinearRegression")


def test_a_default_of_a_dict_is_a_class():
    refused(name("collections.defaultdict") + several(name("numpy.exp")) + REDUCE, "defaultdict of what is no class")
    refused(name("collections.OrderedDict") + value(([("__array__", 1)],)) + REDUCE, "made of pairs")


def test_a_class_is_made_without_arguments():
    refused(name("numpy.int64") + value((1,)) + NEWOBJ, "a call of numpy.int64")
    refused(name(BUNCH) + b")" + value({"a": 1}) + NEWOBJ_EX, "a call of")
    refused(made(LINEAR) + b")" + NEWOBJ, "what is no class")
    # Its first number would be asked of an address that is zero.
    refused(made("numpy.random._generator.Generator"), "a call of numpy.random")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_an_object_is_no_other_ones_method():
    """Instructions for lists, sets and states call what has the right name, and a state can put anything there."""
    exp = name("numpy.exp")
    refused(made(LINEAR) + pairs(extend=exp) + BUILD + b"(" + value(1.0) + b"e", "items for a LinearRegression")
    refused(made(LINEAR) + pairs(append=exp) + BUILD + value(1.0) + b"a", "items for a LinearRegression")
    refused(made(LINEAR) + pairs(add=exp) + BUILD + b"(" + value(1.0) + b"\x90", "items for a LinearRegression")
    refused(made(BUNCH) + b"(" + value("append") + exp + b"u" + value(1.0) + b"a", "items for a Bunch")
    refused(value(np.zeros(2)) + value(0) + value(1.0) + b"s", "items for a ndarray")
    refused(made(LINEAR) + made(BUNCH) + BUILD, "a state that is a Bunch")


def test_a_function_is_changed_by_no_file():
    for function in ("sklearn.neighbors._kd_tree.newObj", "numpy.exp", "numpy.random._pickle.__generator_ctor"):
        refused(name(function) + b"N" + pairs(__defaults__=b")") + b"\x86b", "a change of")


# -- arrays ---------------------------------------------------------------------------------------------------------

OBJECTS = value(np.dtype(object))
EMPTY = name("numpy._core.multiarray._reconstruct") + several(name("numpy.ndarray"), value((0,)), value(b"b")) + REDUCE


def array_of(shape, items):
    return EMPTY + several(value(1), shape, OBJECTS, value(False), value(items)) + BUILD


def test_a_shape_is_of_numbers_that_do_not_wrap_around():
    # As numpy counts, 16 times 17 is 16 in eight bits.
    narrow = several(value(np.uint8(16)), value(np.uint8(17)))
    refused(array_of(narrow, list(range(16))), "shape or type is not plain")
    for shape in (value(2), value((-1, -2)), value((True, 2)), value([2])):
        refused(array_of(shape, [1, 2]), "shape or type is not plain")
    assert FORMAT.load(b"\x80\x05" + array_of(value((1, 2)), [1, 2]) + b".").tolist() == [[1, 2]]


def test_the_type_of_an_array_is_a_type():
    said = several(value(1), value((1,)), made(LINEAR), value(False), value(b"12345678"))
    refused(EMPTY + said + BUILD, "shape or type is not plain")
    whole = name("numpy._core.multiarray._reconstruct") + several(name("numpy.ndarray"), value((9,)), value(b"d"))
    refused(whole + REDUCE, "an array that is made with a shape")


def test_a_part_of_a_type_is_a_type():
    state = several(value(3), value("|"), several(made(LINEAR), value((2,))), *[b"N"] * 2, *map(value, (16, 8, 0)))
    refused(
        name("numpy.dtype") + value(("V16", False, True)) + REDUCE + state + BUILD, "a numpy.dtype of what is no type"
    )


WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
WRAPPED = {
    "subclass": name("numpy.ndarray"),
    "shape": value((1,)),
    "order": value("C"),
    "dtype": value(np.dtype("f8")),
    "allow_mmap": value(False),
}


@pytest.mark.parametrize(
    "change",
    [
        # Whoever is asked twice whether there are objects in it can give two answers.
        {"dtype": made("sklearn.model_selection._search.ParameterGrid") + pairs(hasobject=value(0)) + BUILD},
        {"dtype": made("scipy.sparse._csr.csr_matrix")},
        {"dtype": made(WRAPPER)},
        {"dtype": b"N"},
        {"shape": several(value(np.uint8(1)))},
        {"shape": value([1])},
        {"shape": value((-1,))},
        {"order": made(LINEAR)},
        {"read": name("builtins.slice")},
        {"read_array": name("builtins.slice")},
        {"numpy_array_alignment_bytes": value("16")},
    ],
)
def test_the_wrapper_of_an_array_is_what_joblib_writes(change):
    parts = pairs(**{**WRAPPED, **change})
    refused(made(WRAPPER) + parts + BUILD + struct.pack("<d", 1.5), "a joblib array")


def test_the_wrapper_that_joblib_writes_is_read():
    data = b"\x80\x05" + made(WRAPPER) + pairs(**WRAPPED) + BUILD + struct.pack("<d", 1.5) + b"."
    assert FORMAT.load(data).tolist() == [1.5]


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_numpys_functions_are_looked_at_by_the_name_of_either_version(core):
    fields = value((np.dtype([("a", "O")]), b"12345678"))
    refused(name(f"{core}.multiarray.scalar") + fields + REDUCE, "a numpy scalar with fields")
    objects = value((np.dtype(object), b"12345678"))
    refused(name(f"{core}.multiarray.scalar") + objects + REDUCE, "a numpy scalar with fields")
    shared = value((np.arange(1.0), np.dtype("f8"), (1,), "C"))
    refused(name(f"{core}.numeric._frombuffer") + shared + REDUCE, "shares the memory")
    data = name(f"{core}.multiarray.scalar") + value((np.dtype("f8"), struct.pack("<d", 2.5))) + REDUCE
    assert FORMAT.load(b"\x80\x05" + data + b".") == 2.5


# -- what does load -------------------------------------------------------------------------------------------------

X, LABELS = np.random.default_rng(1).normal(size=(40, 3)), [0, 1] * 20
LOADED = {
    "density": lambda: KernelDensity().fit(X),
    "gaussian": lambda: GaussianProcessRegressor(optimizer=None, random_state=np.random.RandomState(1)).fit(X, LABELS),
    "network": lambda: MLPRegressor(hidden_layer_sizes=(3,), max_iter=600, tol=1, random_state=0).fit(X, LABELS),
    "outliers": lambda: LocalOutlierFactor(novelty=True, algorithm="ball_tree").fit(X),
    "hinge": lambda: SGDClassifier().fit(X, LABELS),
    "huber": lambda: SGDClassifier(loss="modified_huber").fit(X, LABELS),
    "support": lambda: SVC().fit(X, LABELS),
    "words": lambda: CountVectorizer().fit(["def __init__ self", "__class__ __dict__"]),
    "random": lambda: [np.random.default_rng(3), np.random.Generator(np.random.Philox(1)), np.random.RandomState(2)],
    "values": lambda: [
        Bunch(a=1), collections.Counter("aab"), collections.deque([1], 3), collections.defaultdict(int, a=1),
        {1}, frozenset("a"), b"", bytearray(b"ab"), slice(1), range(3), 1j, np.float64(2), np.datetime64("2013-07-01", "us"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "protocol"),
    # Of plain values protocol 2 writes Python 2's names, which are on no list.
    [(kind, protocol) for kind in LOADED for protocol in ([0, 1, 2, 5] if kind != "values" else [4, 5])],
)
def test_what_libraries_write_is_read(kind, protocol):
    model = LOADED[kind]()
    for data in (pickle.dumps(model, protocol=protocol), FORMAT.dump(model)):
        assert FORMAT.types_to_accept(data) == []
        loaded = FORMAT.load(data)
        assert type(loaded) is type(model)
        assert "RandomState" in str(model) or str(loaded) == str(model)


# -- skops ----------------------------------------------------------------------------------------------------------


def skops_file(change):
    """A LogisticRegression, of whose attributes the tree says something else."""
    packed = io.BytesIO()
    model = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with (
        zipfile.ZipFile(io.BytesIO(get_format("skops").dump(model))) as old,
        zipfile.ZipFile(packed, "w") as new,
    ):
        for member in old.namelist():
            content = old.read(member)
            if member == "schema.json":
                schema = json.loads(content)
                change(schema["content"]["content"])
                content = json.dumps(schema).encode()
            new.writestr(member, content)
    return packed.getvalue()


def node(loader, content, cls="dict", module="builtins"):
    return {"__class__": cls, "__module__": module, "__loader__": loader, "content": content}


def text(of):
    return node("JsonNode", json.dumps(of), "str")


def as_key(attributes):
    types = node("ListNode", [], "list")
    held = {**node("DictNode", {"__array_interface__": text({})}), "key_types": types}
    attributes["intercept_"] = node("ObjectNode", held, "LinearRegression", "sklearn.linear_model._base")


def as_json(attributes):
    held = text({"__array_interface__": {}})
    attributes["intercept_"] = node("ObjectNode", held, "LinearRegression", "sklearn.linear_model._base")


def as_pairs(attributes):
    pair = node("TupleNode", [text("__array_interface__"), text(1)], "tuple")
    held = node("ListNode", [pair], "list")
    attributes["intercept_"] = node("ObjectNode", held, "LogLink", "sklearn._loss.link")


def padded(attributes):
    attributes["__array_struct__\0"] = text(1)


@pytest.mark.extras
@pytest.mark.parametrize("change", [as_key, as_json, as_pairs, padded])
def test_no_object_of_a_skops_file_says_that_it_is_an_array(change):
    pytest.importorskip("skops")
    skops, data = get_format("skops"), skops_file(change)
    for use in (skops.types_in, skops.types_to_accept, lambda data: skops.load(data, ())):
        with pytest.raises(ModelBlocked, match="says of itself __array"):
            use(data)


@pytest.mark.extras
def test_a_skops_file_whose_objects_say_nothing_is_read():
    pytest.importorskip("skops")
    data = skops_file(lambda attributes: attributes.update(C=text(2.0)))
    assert get_format("skops").load(data, ()).C == 2.0
