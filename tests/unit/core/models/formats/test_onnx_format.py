"""ONNX files: what a graph's inputs take and its outputs mean, what is refused before onnxruntime sees it, conversion."""

import io
import json
import math
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from joblib.externals.loky import get_reusable_executor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.formats import get_format
from tasks.core.models.model import LoadedModel, input_frame, predict, unregistered
from tasks.core.models.model_version import InputColumn, InputSchema, Signature

pytestmark = pytest.mark.extras
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
HERE = pathlib.Path(__file__).parents[4] / "fixtures/onnx"
XY = pd.DataFrame({"x": [0.0, 1.0, -2.0], "y": [1.0, 1.0, 0.5]})


@pytest.fixture(scope="module")
def onnx_format():
    return get_format("onnx")


def value(name, kind=FLOAT, shape=("rows", 2)):
    return helper.make_tensor_value_info(name, kind, shape)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs, outputs, **attributes)


def constant(name, values, kind=FLOAT):
    array = np.array(values, dtype=object if kind == onnx.TensorProto.STRING else None)
    return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())


def graph(nodes, inputs, outputs, constants=(), *, opset=17, domains=(), functions=(), **metadata):
    """A model's bytes."""
    made = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, list(constants)),
        opset_imports=[
            helper.make_opsetid("", opset),
            *[helper.make_opsetid(domain, 1) for domain in ("ai.onnx.ml", *domains)],
        ],
        functions=list(functions),
    )
    made.ir_version = 8
    helper.set_model_props(made, {key: json.dumps(found) for key, found in metadata.items()})
    return made.SerializeToString()


def linear(end=(), out="z", shape=("rows", 2), **metadata):
    """z = (x + 2y, 3x), and what is made of it."""
    weights = constant("weights", [[1.0, 3.0], [2.0, 0.0]])
    return graph(
        [node("MatMul", ["xy", "weights"], ["z"]), *end],
        [value("xy")],
        [value(out, shape=shape)],
        [weights],
        **metadata,
    )


def refused(onnx_format, data, match, allowed=()):
    for use in (lambda given: onnx_format.load(given, allowed), onnx_format.types_to_accept):
        with pytest.raises(ModelBlocked, match=match) as caught:
            use(data)
    return str(caught.value)


# -- what PyTorch exports -------------------------------------------------------------------------------------------


def test_what_pytorch_exported_scores_as_pytorch_did(onnx_format):
    said = json.loads((HERE / "pytorch_classifier.json").read_text())
    data = (HERE / "pytorch_classifier.onnx").read_bytes()
    rows = pa.table(
        said["columns"], schema=pa.schema([("kind", pa.string()), ("x", pa.float64()), ("y", pa.float64())])
    )
    kind = InputColumn(name="kind", type="string", encoding="category", categories=("cold", "hot"))
    numbers = [InputColumn(name=name, type="float64") for name in ("x", "y")]
    model = onnx_format.load(data, ())
    assert model.feature_names_in_.tolist() == ["kind", "x", "y"]
    assert model.classes_.tolist() == [False, True]
    frame = input_frame(rows, InputSchema(columns=(kind, *numbers)))
    np.testing.assert_allclose(model.predict_proba(frame), said["probabilities"], atol=1e-6)
    assert model.predict(frame).tolist() == [late > 0.5 for _, late in said["probabilities"]]


def test_the_exported_file_says_what_made_it():
    model = onnx.load(HERE / "pytorch_classifier.onnx")
    notes = {entry.key: entry.value for entry in model.metadata_props}
    said = json.loads((HERE / "pytorch_classifier.json").read_text())
    assert model.producer_name == "pytorch"
    assert {name: notes[name] for name in said["versions"]} == said["versions"]
    assert (HERE / notes["made_by"].rpartition("/")[2]).exists()


# -- what outputs mean ----------------------------------------------------------------------------------------------


def test_a_softmax_makes_probabilities_of_classes_from_0(onnx_format):
    model = onnx_format.load(linear([node("Softmax", ["z"], ["p"])], "p"), ())
    assert model.classes_.tolist() == [0, 1]
    # z of the rows is (2, 0), (3, 3) and (-1, -6): 1 / (1 + exp(z1 - z0)) by hand.
    expected = [1 / (1 + math.exp(-2)), 0.5, 1 / (1 + math.exp(-5))]
    np.testing.assert_allclose(model.predict_proba(XY)[:, 0], expected, rtol=1e-6)
    assert model.predict(XY).tolist() == [0, 0, 0]
    assert not hasattr(model, "transform")


@pytest.mark.parametrize("wrap", ["Identity", "Flatten"])
def test_a_softmax_is_seen_behind_what_only_changes_the_shape(onnx_format, wrap):
    model = onnx_format.load(linear([node("Softmax", ["z"], ["s"], axis=1), node(wrap, ["s"], ["p"])], "p"), ())
    assert model.classes_.tolist() == [0, 1]


def test_a_sigmoid_of_one_value_is_the_probability_of_the_second_class(onnx_format):
    single = constant("w", [[1.0], [0.0]])
    nodes = [node("MatMul", ["xy", "w"], ["z"]), node("Sigmoid", ["z"], ["p"])]
    for shape in (["rows", 1], ["rows"]):
        wanted = (
            [*nodes[:1], node("Sigmoid", ["z"], ["s"]), node("Squeeze", ["s", "axis"], ["p"])]
            if len(shape) == 1
            else nodes
        )
        axis = constant("axis", [1], onnx.TensorProto.INT64)
        model = onnx_format.load(graph(wanted, [value("xy")], [value("p", shape=shape)], [single, axis]), ())
        p = np.array([1 / (1 + math.exp(-x)) for x in XY.x])
        np.testing.assert_allclose(model.predict_proba(XY), np.column_stack([1 - p, p]), atol=1e-6)
        assert model.predict(XY).tolist() == [0, 1, 0]


def test_classes_are_named_by_the_metadata(onnx_format):
    model = onnx_format.load(linear([node("Softmax", ["z"], ["p"])], "p", classes=["no", "yes"]), ())
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.predict(XY).tolist() == ["no", "no", "no"]


def test_what_is_no_softmax_is_not_taken_for_probabilities(onnx_format):
    for end, shape in (
        ([node("Identity", ["z"], ["p"])], ("rows", 2)),
        ([node("Softmax", ["z"], ["p"], axis=0)], ("rows", 2)),  # Over the rows.
        ([node("Sigmoid", ["z"], ["p"])], ("rows", 2)),  # Of several labels, each with its own.
        ([node("Softmax", ["z"], ["s"]), node("Log", ["s"], ["p"])], ("rows", 2)),
    ):
        model = onnx_format.load(linear(end, "p", shape), ())
        assert not hasattr(model, "predict_proba")
        assert not hasattr(model, "classes_")
        assert model.transform(XY).shape == (3, 2)


def test_scores_that_the_metadata_calls_classes_are_refused_with_the_values(onnx_format):
    model = onnx_format.load(linear(classes=["no", "yes"]), ())
    with pytest.raises(
        ValueError, match=r"'z' holds no probabilities: row 0 is \[2\.0, 0\.0\], .*softmax must be a part"
    ):
        model.predict_proba(XY)
    with pytest.raises(ValueError, match="'z' has 2 columns for 3 classes"):
        onnx_format.load(linear(classes=[1, 2, 3]), ()).predict_proba(XY)


@pytest.mark.parametrize("classes", [["a", "a"], [1, "a"], [[1]], {}, "late", 5, [], [1.5, 2.5], None])
def test_classes_that_are_no_list_of_names_are_refused(onnx_format, classes):
    with pytest.raises(ModelBlocked, match="its metadata 'classes' must be a JSON list of different names"):
        onnx_format.load(linear(classes=classes), ())


def test_a_matrix_is_what_it_transforms_to_and_a_column_what_it_predicts(onnx_format):
    model = onnx_format.load(linear(), ())
    np.testing.assert_array_equal(model.transform(XY), [[2.0, 0.0], [3.0, 3.0], [-1.0, -6.0]])
    signature = Signature(
        inputs=InputSchema(columns=tuple(InputColumn(name=name, type="float64") for name in "xy")),
        outputs={"second": Prediction(method="transform", class_=1)},
    )
    got = predict(LoadedModel(unregistered(signature), model), pa.table({"x": [1.0], "y": [1.0]}), signature.outputs)
    assert got.to_pydict() == {"second": [3.0]}
    one = constant("w", [[1.0], [2.0]])
    for shape in (("rows", 1), ("rows", None)):
        single = graph([node("MatMul", ["xy", "w"], ["z"])], [value("xy")], [value("z", shape=shape)], [one])
        assert onnx_format.load(single, ()).predict(XY).tolist() == [2.0, 3.0, -1.0]


def test_labels_alone_are_predicted(onnx_format):
    nodes = [node("ArgMax", ["xy"], ["label"], axis=1, keepdims=0)]
    data = graph(nodes, [value("xy")], [value("label", onnx.TensorProto.INT64, ["rows"])])
    model = onnx_format.load(data, ())
    assert model.predict(XY).tolist() == [1, 0, 1]
    assert not hasattr(model, "predict_proba")


def test_a_label_beside_values_needs_names_for_them(onnx_format):
    """Beside a label, classes may be called anything: 0 to k-1 would be a guess."""
    nodes = [node("Softmax", ["xy"], ["p"]), node("ArgMax", ["xy"], ["label"], axis=1, keepdims=0)]
    outputs = [value("label", onnx.TensorProto.INT64, ["rows"]), value("p")]
    model = onnx_format.load(graph(nodes, [value("xy")], outputs), ())
    assert model.predict(XY).tolist() == [1, 0, 1]
    assert not hasattr(model, "predict_proba")
    named = onnx_format.load(graph(nodes, [value("xy")], outputs, classes=[False, True]), ())
    assert named.predict(XY).tolist() == [True, False, True]
    assert named.predict_proba(XY)[1].tolist() == [0.5, 0.5]


def test_several_outputs_of_values_are_refused(onnx_format):
    data = graph([node("Neg", ["xy"], ["a"]), node("Abs", ["xy"], ["b"])], [value("xy")], [value("a"), value("b")])
    with pytest.raises(ModelBlocked, match=r"its outputs are 'a' .*, 'b' .*; one of values, one of labels, or both"):
        onnx_format.load(data, ())


RNG = np.random.default_rng(3)
NUMBERS = pd.DataFrame({"x": RNG.normal(size=60), "y": RNG.normal(size=60)})


@pytest.mark.parametrize("zipmap", [True, False, "columns"])
@pytest.mark.parametrize("labels", [["b", "a"], [7, 5], ["b", "a", "c"]])
def test_classifiers_as_skl2onnx_exports_them(onnx_format, zipmap, labels):
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    truth = np.array(labels)[np.arange(60) % len(labels)]
    for estimator in (RandomForestClassifier(5, random_state=0), LogisticRegression()):
        estimator.fit(NUMBERS, truth)
        made = to_onnx(
            estimator, initial_types=[("X", FloatTensorType([None, 2]))], options={id(estimator): {"zipmap": zipmap}}
        ).SerializeToString()
        if zipmap == "columns":
            # An output a class: their names are the only tie between them.
            with pytest.raises(ModelBlocked, match="its outputs are"):
                onnx_format.load(made, ())
            continue
        model = onnx_format.load(made, ())
        assert model.predict(NUMBERS).tolist() == estimator.predict(NUMBERS).tolist()
        if hasattr(model, "predict_proba"):
            assert model.classes_.tolist() == estimator.classes_.tolist()
            np.testing.assert_allclose(model.predict_proba(NUMBERS), estimator.predict_proba(NUMBERS), atol=1e-6)
        else:
            # The file names no classes for these: its label was chosen from a list of its own.
            assert (zipmap, type(estimator)) == (False, LogisticRegression)


# -- what inputs take -----------------------------------------------------------------------------------------------

KINDS = {
    "text": (onnx.TensorProto.STRING, pd.Series(["a", np.nan, "c"], dtype="str"), ["a", "", "c"]),
    "kind": (
        onnx.TensorProto.STRING,
        pd.Series(pd.Categorical(["b", None, "a"], categories=["b", "a"])),
        ["b", "", "a"],
    ),
    "code": (FLOAT, pd.Series(pd.Categorical(["b", None, "a"], categories=["b", "a"])), [0.0, -1.0, 1.0]),
    "whole_code": (onnx.TensorProto.INT64, pd.Series(pd.Categorical(["b", None], categories=["a", "b"])), [1, -1]),
    "real": (FLOAT, pd.Series([0.5, np.nan, np.inf]), [0.5, np.nan, np.inf]),
    "double": (onnx.TensorProto.DOUBLE, pd.Series([0.1, np.nan]), [0.1, np.nan]),
    "count": (onnx.TensorProto.INT64, pd.Series([2**60 + 1, -3]), [2**60 + 1, -3]),
    "whole": (onnx.TensorProto.INT32, pd.Series([1.0, 2.0]), [1, 2]),
    "flag": (onnx.TensorProto.BOOL, pd.Series([1.0, 0.0]), [True, False]),
    "sure": (FLOAT, pd.Series([True, False]), [1.0, 0.0]),
    "mixed": (FLOAT, np.array([1, None, True], dtype=object), [1.0, np.nan, 1.0]),
}


def identity(onnx_format, *columns):
    """A model of one tensor a column, whose output is the first of them."""
    nodes = [node("Identity", [columns[0][0]], ["out"])]
    inputs = [value(name, kind, ["rows", 1]) for name, kind in columns]
    return onnx_format.load(graph(nodes, inputs, [value("out", columns[0][1], ["rows", 1])]), ())


@pytest.mark.parametrize("name", KINDS)
def test_a_column_enters_its_tensor(onnx_format, name):
    kind, column, expected = KINDS[name]
    model = identity(onnx_format, (name, kind), ("other", FLOAT))
    frame = pd.DataFrame({"other": 0.0, name: column})
    np.testing.assert_array_equal(model.predict(frame), expected)
    assert model.feature_names_in_.tolist() == [name, "other"]
    assert model.n_features_in_ == 2


@pytest.mark.parametrize(
    ("kind", "column", "says"),
    [
        (onnx.TensorProto.INT64, [1.0, np.nan], "input 'x' is nan in a row, and the model takes int64"),
        (onnx.TensorProto.INT64, [1.5, 1.0], "input 'x' is 1.5 in a row"),
        (onnx.TensorProto.INT8, [1, 300], "input 'x' is 300 in a row, and the model takes int8"),
        (onnx.TensorProto.UINT64, [1, -1], "input 'x' is -1 in a row, and the model takes uint64"),
        (onnx.TensorProto.BOOL, [1.0, np.nan], "input 'x' is nan in a row, and the model takes bool"),
        (onnx.TensorProto.BOOL, [1.0, 2.0], "input 'x' is 2.0 in a row"),
        (FLOAT, [1.0, 1e300], r"input 'x' is 1e\+300 in a row, and the model takes float32"),
        (FLOAT, ["a", "b"], "and the model takes numbers there"),
        (FLOAT, pd.to_datetime(["2024-01-01", "2024-01-02"]), "datetime64.*, and the model takes numbers there"),
        (onnx.TensorProto.STRING, [1.0, 2.0], "input 'x' is no text, and the model takes text there"),
    ],
)
def test_a_value_that_would_not_be_the_same_is_refused(onnx_format, kind, column, says):
    model = identity(onnx_format, ("x", kind), ("other", FLOAT))
    with pytest.raises(ValueError, match=says):
        model.predict(pd.DataFrame({"other": 0.0, "x": column}))


def test_columns_are_held_against_the_names_that_the_model_has(onnx_format):
    by_name = identity(onnx_format, ("x", FLOAT), ("y", FLOAT))
    np.testing.assert_array_equal(by_name.predict(XY[["y", "x"]]), XY.x)
    for frame in (XY[["x"]], XY.assign(z=1.0), XY.rename(columns={"y": "Y"}), XY.to_numpy()):
        with pytest.raises(ValueError, match=r"the model takes the columns \['x', 'y'\], and is given"):
            by_name.predict(frame)
    in_order = onnx_format.load(linear(features=["x", "y"]), ())
    assert in_order.feature_names_in_.tolist() == ["x", "y"]
    np.testing.assert_array_equal(in_order.transform(XY), in_order.transform(XY.to_numpy()))
    with pytest.raises(ValueError, match=r"takes the columns \['x', 'y'\], in this order, and is given \['y', 'x'\]"):
        in_order.transform(XY[["y", "x"]])


def test_a_matrix_without_names_takes_as_many_columns_as_it_has(onnx_format):
    model = onnx_format.load(linear(), ())
    assert model.n_features_in_ == 2
    assert not hasattr(model, "feature_names_in_")
    for frame in (XY[["x"]], XY.assign(z=1.0).to_numpy()):
        with pytest.raises(ValueError, match=r"the model takes 2 columns, and is given [13]"):
            model.transform(frame)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([value("xy", shape=[1, 2])], "is made for exactly 1 rows; export it with a first dimension that is left open"),
        ([value("xy", shape=["rows", 2, 2])], "is a .* of shape"),
        ([value("xy", shape=[])], "is a .* of shape"),
        ([value("xy"), value("z")], r"it has 2 inputs, and \['xy', 'z'\] take several columns"),
        ([value("xy", onnx.TensorProto.BFLOAT16)], r"tensor\(bfloat16\)"),
    ],
)
def test_inputs_that_are_no_rows_of_columns_are_refused(onnx_format, inputs, says):
    out = onnx.ValueInfoProto(name="out", type=inputs[0].type)
    data = graph([node("Identity", ["xy"], ["out"])], inputs, [out])
    with pytest.raises(ModelBlocked, match=says):
        onnx_format.load(data, ())


# -- what reaches out, or is no model -------------------------------------------------------------------------------


def outside(location="weights.bin", name="weights"):
    tensor = constant(name, [[1.0, 3.0], [2.0, 0.0]])
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, text in (("location", location), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return tensor


def _in_branch(made):
    branch = helper.make_graph([node("Constant", [], ["c"], value=outside())], "b", [], [value("c")])
    made.graph.node.append(node("If", ["xy"], ["i"], then_branch=branch, else_branch=branch))


def _in_function(made):
    body = [node("Constant", [], ["c"], value=outside())]
    made.functions.append(helper.make_function("own", "F", ["a"], ["c"], body, []))


HIDES = {
    "initializer": lambda made: made.graph.initializer[0].CopyFrom(outside()),
    "memory": lambda made: made.graph.initializer[0].CopyFrom(outside("*/_ORT_MEM_ADDR_/*")),
    "only_named": lambda made: made.graph.initializer[0].external_data.add(key="location"),
    "sparse": lambda made: made.graph.sparse_initializer.add().values.CopyFrom(outside()),
    "attribute": lambda made: made.graph.node.append(node("Constant", [], ["c"], value=outside())),
    "subgraph": _in_branch,
    "function": _in_function,
    "training": lambda made: made.training_info.add().algorithm.initializer.append(outside()),
}


@pytest.mark.parametrize("place", HIDES)
def test_tensors_outside_of_the_file_are_refused_wherever_they_hide(onnx_format, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.ones(4, "float32").tobytes())
    made = onnx.load_from_string(linear())
    HIDES[place](made)
    message = refused(onnx_format, made.SerializeToString(), "keeps tensors outside of itself")
    assert "Nothing outside of it was read" in message
    assert "external_data=False" in message


def test_operators_that_only_a_library_knows_are_refused_for_good(onnx_format):
    data = graph([node("System", ["xy"], ["z"], domain="os")], [value("xy")], [value("z")], domains=["os"])
    assert onnx_format.types_in(data) == ["os.System"]
    message = refused(onnx_format, data, r"only a library beside onnxruntime knows: os\.System", allowed=["os.System"])
    assert "no library is loaded for it" in message
    # The same, in a function, in a branch, and as a standard's name that no standard has.
    function = helper.make_function(
        "own", "F", ["a"], ["b"], [node("Op", ["a"], ["b"], domain="evil")], [helper.make_opsetid("evil", 1)]
    )
    call = [node("F", ["xy"], ["z"], domain="own")]
    refused(
        onnx_format,
        graph(call, [value("xy")], [value("z")], domains=["own", "evil"], functions=[function]),
        r"evil\.Op",
    )
    branch = helper.make_graph([node("Op", ["xy"], ["c"], domain="evil")], "b", [], [value("c")])
    nodes = [node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch)]
    yes = constant("yes", True, onnx.TensorProto.BOOL)
    refused(onnx_format, graph(nodes, [value("xy")], [value("z")], [yes], domains=["evil"]), r"evil\.Op")
    refused(onnx_format, graph([node("Nope", ["xy"], ["z"])], [value("xy")], [value("z")]), "can be read here")


def test_operators_beside_the_standard_need_a_persons_word(onnx_format):
    gelu = [node("Gelu", ["xy"], ["z"], domain="com.microsoft")]
    data = graph(gelu, [value("xy")], [value("z")], domains=["com.microsoft"])
    assert onnx_format.types_to_accept(data) == ["com.microsoft.Gelu"]
    for allowed in ((), ["Gelu"], ["com.microsoft"], ["com.microsoft.Gelu2"]):
        with pytest.raises(ModelBlocked, match=r"on no allow-list: com\.microsoft\.Gelu"):
            onnx_format.load(data, allowed)
    model = onnx_format.load(data, ["com.microsoft.Gelu"])
    # x times the normal distribution's share below x.
    expected = [0.0, 0.5 * (1 + math.erf(1 / math.sqrt(2))), -1 * (1 + math.erf(-2 / math.sqrt(2)))]
    np.testing.assert_allclose(model.transform(XY)[:, 0], expected, atol=1e-6)


def test_types_in_are_the_operators(onnx_format):
    data = linear([node("Softmax", ["z"], ["p"])], "p")
    assert onnx_format.types_in(data) == ["ai.onnx.MatMul", "ai.onnx.Softmax"]
    assert onnx_format.types_to_accept(data) == []


def function(name, *calls):
    """A function of its own, that calls others one after the other."""
    names = ["a", *(f"v{number}" for number in range(len(calls) - 1)), "b"]
    nodes = [
        node(call, [names[place]], [names[place + 1]], domain="" if call == "Neg" else "own")
        for place, call in enumerate(calls)
    ]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, imports)


def with_functions(called, *functions):
    call = [node(called, ["xy"], ["z"], domain="own")]
    return graph(call, [value("xy")], [value("z")], domains=["own"], functions=functions)


def test_functions_of_its_own_are_fine_while_they_come_to_an_end(onnx_format):
    data = with_functions("Twice", function("Once", "Neg"), function("Twice", "Once", "Once"))
    assert onnx_format.types_in(data) == ["ai.onnx.Neg"]
    np.testing.assert_array_equal(onnx_format.load(data, ()).transform(XY), XY)
    refused(onnx_format, with_functions("F", function("F", "G"), function("G", "F")), "call each other in a circle")
    refused(onnx_format, with_functions("F", function("F", "F")), "call each other in a circle")
    # 64 lines that would be 2 to the 30th nodes.
    bomb = [function("F0", "Neg", "Neg"), *(function(f"F{n}", f"F{n - 1}", f"F{n - 1}") for n in range(1, 30))]
    refused(onnx_format, with_functions("F29", *bomb), "come to over 1,000,000 nodes")


def test_a_name_that_is_no_text_is_a_blocked_model(onnx_format):
    data = (HERE / "pytorch_classifier.onnx").read_bytes()
    assert data.count(b"rows") > 2
    with pytest.raises(ModelBlocked, match="not an onnx file that can be read here: UnicodeDecodeError"):
        onnx_format.load(data.replace(b"rows", b"\xff\xfe\xfdX"), ())


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, b"not a model", b"\x08\x08", b"ORTM" * 10, pickle.dumps({}), b"PK\x03\x04"]
)
def test_what_is_no_onnx_file_is_a_blocked_model(onnx_format, data):
    refused(onnx_format, data, "not an onnx file that can be read here")


def test_an_opset_that_is_not_known_yet_is_explained(onnx_format):
    with pytest.raises(ModelBlocked, match=r"not an onnx file that can be read here: .*[Oo]pset"):
        onnx_format.load(linear(opset=99), ())


def test_no_truncated_or_changed_file_does_more_than_be_refused(onnx_format):
    data = (HERE / "pytorch_classifier.onnx").read_bytes()
    rng = np.random.default_rng(7)
    changed = [data[:length] for length in rng.integers(0, len(data), 40)]
    changed += [data[:at] + bytes([rng.integers(256)]) + data[at + 1 :] for at in rng.integers(0, len(data), 150)]
    # In a process of its own: what kills it must not pass for a success.
    script = (
        "import pickle, sys, numpy as np, pandas as pd\n"
        "from tasks.core.errors import ModelBlocked\n"
        "from tasks.core.models.formats import get_format\n"
        "rows = pd.DataFrame(np.eye(3), columns=['kind', 'x', 'y'])\n"
        "for data in pickle.load(sys.stdin.buffer):\n"
        "    try: model = get_format('onnx').load(data, ())\n"
        "    except ModelBlocked: continue\n"
        "    try: model.predict(rows)\n"
        "    except Exception: pass\n"
        "print('all')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(changed), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"all\n"), done.stderr[-2000:]


def test_what_is_loaded_is_what_was_looked_at(onnx_format, monkeypatch):
    """Fields that this onnx does not know, and onnxruntime might, do not reach it."""
    runtime = sys.modules["tasks.core.models.formats.onnx_estimator"]._runtime
    seen = []
    session = runtime.InferenceSession
    monkeypatch.setattr(
        runtime, "InferenceSession", lambda data, *rest, **named: seen.append(data) or session(data, *rest, **named)
    )
    # Field 999 of the outermost message, with three bytes.
    unknown = bytes([0xBA, 0x3E, 3]) + b"abc"
    onnx_format.load(linear() + unknown, ())
    assert onnx.load_from_string(seen[0]) == onnx.load_from_string(linear())
    assert b"abc" not in seen[0]


# -- the same bits --------------------------------------------------------------------------------------------------


def _child_scores(data, rows):
    return get_format("onnx").load(data, ()).predict_proba(rows)


def test_any_batch_and_any_process_gives_the_same_bits(onnx_format):
    """On one thread; with two, a forest's sums come in another order, and probabilities were off by 1e-7."""
    rows = pd.DataFrame(RNG.normal(size=(500, 4)), columns=list("abcd"))
    forest = RandomForestClassifier(40, random_state=0).fit(rows, rows.a > 0)
    data = onnx_format.dump(forest, schema(rows))
    model = onnx_format.load(data, ())
    whole = model.predict_proba(rows)
    for size in (1, 7, 100):
        parts = [model.predict_proba(rows.iloc[at : at + size]) for at in range(0, 500, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
    child = get_reusable_executor(max_workers=1, env={"OMP_NUM_THREADS": "2"}).submit(_child_scores, data, rows)
    np.testing.assert_array_equal(child.result(timeout=120), whole)
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict_proba(rows), whole)


# -- conversion -----------------------------------------------------------------------------------------------------


def schema(frame, **types):
    kinds = {"float64": "float64", "int64": "int64", "bool": "bool", "str": "string"}
    return InputSchema(
        columns=tuple(
            InputColumn(
                name=name,
                type=types.get(name, kinds.get(str(dtype), "float64")),
                nullable=str(dtype) in ("float64", "str"),
            )
            for name, dtype in frame.dtypes.items()
        )
    )


FRAME = pd.DataFrame(
    {
        "carrier": pd.array([["AA", "UA", "Ünited"][i % 3] for i in range(400)], dtype="str"),
        "distance": np.where(np.arange(400) % 50 == 7, np.nan, RNG.normal(900, 400, 400)),
        "hour": RNG.integers(0, 24, 400),
        "is_weekend": np.arange(400) % 7 > 4,
    }
)
LATE = (FRAME.hour + RNG.normal(0, 6, 400) > 15).to_numpy()
ENCODED = ColumnTransformer(
    [
        ("one_hot", OneHotEncoder(handle_unknown="ignore"), ["carrier", "hour"]),
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["distance"]),
    ],
    remainder="passthrough",
)
CODES = ColumnTransformer(
    [("codes", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["carrier"])],
    remainder="passthrough",
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(ENCODED, LogisticRegression()).fit(FRAME, LATE),
        lambda: make_pipeline(ENCODED, LogisticRegression()).fit(FRAME, np.where(LATE, "late", "on time")),
        lambda: make_pipeline(ENCODED, RandomForestClassifier(20, random_state=0)).fit(FRAME, FRAME.hour % 3),
        lambda: make_pipeline(CODES, SimpleImputer(), RandomForestClassifier(21, random_state=0)).fit(FRAME, LATE),
        lambda: make_pipeline(ENCODED, LinearRegression()).fit(FRAME, FRAME.hour * 2.0),
        lambda: make_pipeline(ENCODED, RandomForestRegressor(20, random_state=0)).fit(FRAME, FRAME.hour * 2.0),
    ],
)
def test_scikit_learn_models_are_converted_with_their_categories(onnx_format, make):
    estimator = make()
    data = onnx_format.dump(estimator, schema(FRAME))
    assert onnx_format.dump(estimator, schema(FRAME)) == data
    model = onnx_format.load(data, ())
    unseen = FRAME.assign(carrier=pd.array(["ZZ"] * 400, dtype="str"))
    for rows in (FRAME, unseen):
        if hasattr(estimator, "predict_proba"):
            np.testing.assert_allclose(model.predict_proba(rows), estimator.predict_proba(rows), atol=1e-5)
            assert model.predict(rows).tolist() == estimator.predict(rows).tolist()
            assert model.classes_.tolist() == estimator.classes_.tolist()
        else:
            np.testing.assert_allclose(model.predict(rows), estimator.predict(rows), rtol=1e-5, atol=1e-5)


def test_a_model_whose_first_step_takes_a_matrix_is_converted_with_the_names_of_its_columns(onnx_format):
    numbers = FRAME[["hour", "is_weekend"]]
    forest = RandomForestClassifier(5, random_state=0).fit(numbers, LATE)
    model = onnx_format.load(onnx_format.dump(forest, schema(numbers)), ())
    assert model.feature_names_in_.tolist() == ["hour", "is_weekend"]
    np.testing.assert_allclose(model.predict_proba(numbers), forest.predict_proba(numbers), atol=1e-6)
    with pytest.raises(ValueError, match="in this order"):
        model.predict_proba(numbers[["is_weekend", "hour"]])
    text = FRAME[["carrier"]].assign(other=FRAME["carrier"])
    encoded = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(text, LATE)
    model = onnx_format.load(onnx_format.dump(encoded, schema(text)), ())
    np.testing.assert_allclose(model.predict_proba(text), encoded.predict_proba(text), atol=1e-6)
    with pytest.raises(ModelBlocked, match="the Pipeline cannot be converted to ONNX: "):
        onnx_format.dump(make_pipeline(OneHotEncoder(), LogisticRegression()).fit(FRAME, LATE), schema(FRAME))


def test_a_model_without_names_is_converted_to_one_tensor(onnx_format):
    array = NUMBERS.to_numpy()
    estimator = LogisticRegression().fit(array, array[:, 0] > 0)
    inputs = schema(NUMBERS).model_copy(update={"container": "numpy"})
    model = onnx_format.load(onnx_format.dump(estimator, inputs), ())
    np.testing.assert_allclose(model.predict_proba(array), estimator.predict_proba(array), atol=1e-6)
    assert not hasattr(model, "feature_names_in_")


def test_what_cannot_be_converted_is_told_in_one_paragraph(onnx_format):
    boosted = make_pipeline(CODES, HistGradientBoostingClassifier(max_iter=3)).fit(FRAME, LATE)
    with pytest.raises(ModelBlocked) as caught:
        onnx_format.dump(boosted, schema(FRAME))
    message = str(caught.value)
    assert message.startswith("the Pipeline cannot be converted to ONNX: ")
    assert "\n" not in message
    assert len(message) < 700
    with pytest.raises(ModelBlocked, match="'day' is date, and ONNX has no such tensor"):
        onnx_format.dump(LinearRegression(), InputSchema(columns=(InputColumn(name="day", type="date"),)))
    with pytest.raises(ModelBlocked, match="the types of its columns are not given"):
        onnx_format.dump(LinearRegression())


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_missing_is_explained(monkeypatch, package):
    for name in [name for name in sys.modules if name.startswith("tasks.core.models.formats.onnx_")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DefinitionError, match=rf"needs the package '{package}', .*pip install 'lamplighter\[onnx\]'"):
        get_format("onnx")


def test_bytes_may_come_from_anywhere(onnx_format):
    buffer = io.BytesIO(linear())
    assert onnx_format.as_kept(buffer.getvalue()) == ("onnx", linear())
