"""What holds for every format alike: the load gate's order, and that a mutated version is caught by it."""

import datetime as dt
import sys
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ModelBlocked
from tasks.core.models.formats import format_names, get_format
from tasks.core.models.loading import open_here
from tasks.core.models.model import expected_outputs, load_model
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature
from tasks.core.models.registry import Registry

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
ROWS = pa.table({"origin": ["JFK", "LGA", None, "LGA"], "x": [0.0, 1.0, 2.0, 3.0], "y": [5.0, 0.0, 1.0, 1.0]})
INPUTS = InputSchema(
    columns=(
        InputColumn(name="origin", type="string", encoding="category", categories=("JFK", "LGA")),
        InputColumn(name="x", type="float64"),
        InputColumn(name="y", type="float64"),
    )
)
# 10 x its code (missing is -1) + 100 x + 1000 y, by hand.
EXPECTED = [5000.0, 110.0, 1190.0, 1310.0]
OURS = f"{__name__.rpartition('.')[2]}.UsesCodes"


class UsesCodes:
    """A model of its own kind, that reads the codes of a category, and takes its columns by their places."""

    def predict(self, frame):
        return frame.iloc[:, 0].cat.codes.to_numpy() * 10.0 + frame.iloc[:, 1] * 100.0 + frame.iloc[:, 2] * 1000.0


def as_onnx():
    """The same model, with an operator beside the standard in it: FusedMatMul is the product, times its alpha."""
    helper = pytest.importorskip("onnx").helper
    rows, columns = (helper.make_tensor_value_info(name, 1, ["rows", width]) for name, width in (("y", 1), ("x", 3)))
    weights = helper.make_tensor("w", 1, [3, 1], [10.0, 100.0, 1000.0])
    node = helper.make_node("FusedMatMul", ["x", "w"], ["y"], domain="com.microsoft", alpha=1.0)
    made = helper.make_model(
        helper.make_graph([node], "graph", [columns], [rows], [weights]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )
    made.ir_version = 8
    return made.SerializeToString()


def dumped(name):
    return get_format(name).dump(UsesCodes())


MAKE = {
    "joblib": (lambda: dumped("joblib"), [OURS]),
    "skops": (lambda: dumped("skops"), [OURS]),
    "onnx": (as_onnx, ["com.microsoft.FusedMatMul"]),
}


@dataclass
class Case:
    """A version of this model in one format."""

    registry: Registry
    name: str
    content: bytes
    accepted: list[str]

    def register(self, *, inputs=INPUTS, rows=ROWS, expected=EXPECTED, environment=None):
        signature = Signature(format=self.name, inputs=inputs, outputs={"z": Prediction()})
        candidate = Candidate(
            model_bytes=self.content,
            signature=signature,
            profile={},
            benchmark={},
            probe=rows,
            expected=pa.table({"z": pa.array(expected, pa.float64())}),
            environment=environment,
        )
        return self.registry.register("late", candidate, at=NOON, actor="ann")

    def load(self, version, **options):
        return load_model(self.registry, version, **{"allowed_types": self.accepted, **options})


@pytest.fixture(params=["joblib", *(pytest.param(name, marks=pytest.mark.extras) for name in ("onnx", "skops"))])
def case(request, lake, monkeypatch):
    # The class is found where its name says, however pytest has imported this file.
    monkeypatch.setitem(sys.modules, OURS.partition(".")[0], sys.modules[__name__])
    monkeypatch.setattr(UsesCodes, "__module__", OURS.partition(".")[0])
    if request.param == "skops":
        pytest.importorskip("skops")
    make, accepted = MAKE[request.param]
    return Case(Registry(lake), request.param, make(), accepted)


@pytest.mark.extras
def test_no_format_is_left_out_here():
    # What comes as NNEF is kept as ONNX: no version is ever of that format.
    assert set(format_names()) == {*MAKE, "nnef"}


def test_the_gate_asks_in_its_order(case):
    """All is wrong with this version. Each mended, the next is told."""
    installed = get_format(case.name).packages[0]
    wrong = [value + 1 for value in EXPECTED]
    version = case.register(expected=wrong, environment={installed: "0.1.2"})
    path = case.registry.lake.path(f"models/late/versions/0001/model.{case.name}")
    unfit = pa.schema([("origin", pa.string()), ("x", pa.int64())])

    path.write_bytes(case.content + b"!")
    with pytest.raises(ModelBlocked, match="was changed: its SHA-256 is"):
        case.load(version, allowed_types=(), snapshot_schema=unfit)
    path.write_bytes(case.content)
    with pytest.raises(ModelBlocked, match=f"model.{case.name}: the model's file names what is on no allow-list"):
        case.load(version, allowed_types=(), snapshot_schema=unfit)
    with pytest.raises(ModelBlocked, match=r"'x' is int64 and must be float64; 'y' \(float64\) is missing"):
        case.load(version, snapshot_schema=unfit)
    # The other version of a library is no reason to stop, and is told with what may be its consequence.
    with pytest.raises(
        ModelBlocked, match=rf"does not score its probe rows as it did.*registered with {installed} 0\.1\.2"
    ):
        case.load(version, snapshot_schema=ROWS.schema)
    mended = case.register(environment={installed: "0.1.2"})
    loaded = case.load(mended, snapshot_schema=ROWS.schema)
    assert any(f"registered with {installed} 0.1.2" in remark for remark in loaded.warnings)


def test_what_is_registered_scores_as_worked_out_by_hand(case):
    assert case.load(case.register()).version.version == 1
    assert open_here(case.name, case.content, case.accepted).warnings == ()


def columns(*names, **changes):
    known = {column.name: column for column in INPUTS.columns}
    return InputSchema(columns=tuple(known[name].model_copy(update=changes.get(name, {})) for name in names))


MUTATIONS = {
    "swapped columns": columns("origin", "y", "x"),
    "category first to last": columns("x", "y", "origin"),
    "codes in another order": columns("origin", "x", "y", origin={"categories": ("LGA", "JFK")}),
    "a category before them": columns("origin", "x", "y", origin={"categories": ("EWR", "JFK", "LGA")}),
    "a category renamed": columns("origin", "x", "y", origin={"categories": ("JFK", "EWR")}),
    "no category": columns("origin", "x", "y", origin={"encoding": "plain", "categories": None}),
    "a column less": columns("origin", "x"),
    "a bare array": INPUTS.model_copy(update={"container": "numpy"}),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mutated_signature_is_caught_by_the_probe(case, mutation):
    with pytest.raises(ModelBlocked, match="does not score its probe rows as it did"):
        case.load(case.register(inputs=MUTATIONS[mutation]))


@pytest.mark.parametrize("kind", [pa.float32(), pa.int64(), pa.string(), pa.timestamp("us")])
def test_another_type_in_the_snapshot_is_caught_before_a_row_is_scored(case, kind):
    schema = ROWS.schema.set(1, pa.field("x", kind))
    with pytest.raises(
        ModelBlocked, match="the columns of the snapshot are not those that late version 1 takes: 'x' is"
    ):
        case.load(case.register(), snapshot_schema=schema)


@pytest.mark.parametrize("kind", ["string", "date", "timestamp_naive"])
def test_another_type_in_the_signature_is_caught_by_the_probe(case, kind):
    inputs = columns("origin", "x", "y", x={"type": kind})
    rows = ROWS.set_column(
        1,
        "x",
        pa.array(["0", "1", "2", "3"])
        if kind == "string"
        else ROWS["x"].cast(pa.int32()).cast(pa.date32()).cast(inputs.columns[1].arrow_type),
    )
    with pytest.raises(ModelBlocked, match="does not score its probe rows as it did"):
        case.load(case.register(inputs=inputs, rows=rows))


def test_a_file_that_is_cut_off_or_noise_is_refused(case):
    rng = np.random.default_rng(7)
    model_format = get_format(case.name)
    for broken in (b"", case.content[:-3], case.content[: len(case.content) // 2], rng.bytes(500)):
        for use in (lambda data: model_format.load(data, case.accepted), model_format.types_to_accept):
            with pytest.raises(ModelBlocked):
                use(broken)


@pytest.mark.extras
@pytest.mark.parametrize("name", ["joblib", "onnx", "skops"])
def test_a_format_holds_what_a_scikit_learn_model_scores(name):
    table = pa.table({"x": np.linspace(0, 1, 20), "y": np.linspace(3, 2, 20)})
    inputs = InputSchema(columns=tuple(InputColumn(name=each, type="float64") for each in "xy"))
    model = LinearRegression().fit(table.to_pandas(), np.linspace(0, 5, 20) ** 2)
    signature = Signature(inputs=inputs, outputs={"z": Prediction()})
    model_format = get_format(name)
    copy = model_format.load(model_format.dump(model, inputs), ())
    ours, theirs = (expected_outputs(each, signature, table)["z"].to_numpy() for each in (model, copy))
    np.testing.assert_allclose(theirs, ours, rtol=max(model_format.probe_rtol, 1e-12), atol=1e-5)
