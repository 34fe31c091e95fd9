"""A model that another interpreter holds: what crosses the border, and what becomes of a child that dies or never ends.

The other interpreter is this very one: that its environment is another, tests/integration/test_other_environment.py shows.
"""

import datetime as dt
import decimal
import gc
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression

from tasks.core.definitions.column_types import SIMPLE_TYPES
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ModelBlocked, WorkerError
from tasks.core.models.elsewhere import estimator as elsewhere
from tasks.core.models.elsewhere.estimator import Interpreter, find_interpreter, packages_of, types_to_accept_elsewhere
from tasks.core.models.formats.joblib_format import FORMAT
from tasks.core.models.model import (
    expected_outputs,
    load_model,
    open_content,
    predict,
    score_with_bisection,
    unregistered,
)
from tasks.core.models.model_version import Candidate, InputColumn, InputSchema, Signature
from tasks.core.models.prediction import LoadedModel, PredictRaised
from tasks.core.models.registry import Registry
from tasks.core.storage import Lake
from tasks.core.workers import Workers, peak_memory_bytes
from tests.lake_tools import Child
from tests.unit.core.models import strange_models
from tests.unit.core.models.strange_models import TYPE, Everything, Strange
from tests.unit.core.models.test_model import EVERY_INPUT, EVERY_ROW, inputs

# No extra is needed, but a minute or two: `make test` is to stay short.
pytestmark = pytest.mark.extras

NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
HERE = Interpreter("here", sys.executable)
X, Y = inputs(x="float64"), {"y": Prediction()}
THREE = pa.table({"x": [1.0, 2.0, 4.0]})
ROOT = pathlib.Path(__file__).parents[5]


def opened(model, schema=X, outputs=Y, interpreter=HERE, **options):
    """The model as this very interpreter holds it, in another process."""
    allowed = (TYPE, f"{strange_models.__name__}.Everything")
    signature = Signature(inputs=schema, outputs=outputs)
    return open_content(unregistered(signature), FORMAT.dump(model), allowed, interpreter=interpreter, **options)


def gone(pid):
    """Whether no such process runs; one that ended and was not yet asked for its end counts as gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# -- what crosses -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything():
    return opened(Everything(), EVERY_INPUT, {"told": Prediction(type="string")})


def test_columns_of_every_type_arrive_as_they_left(everything):
    local = LoadedModel(everything.version, Everything())
    outputs = everything.version.outputs
    for rows in (EVERY_ROW, EVERY_ROW.slice(1, 1), EVERY_ROW.slice(0, 0), EVERY_ROW.take([2, 0, 1, 1])):
        assert predict(everything, rows, outputs).equals(predict(local, rows, outputs))
    (batch,) = EVERY_ROW.to_batches()
    chunked = pa.concat_tables([EVERY_ROW.slice(0, 1), EVERY_ROW.slice(1)])
    more = EVERY_ROW.append_column("unused", pa.array([b"a", b"b", None])).select([-1, *range(len(EVERY_ROW.columns))])
    for rows in (batch, batch.slice(1), chunked, more):
        assert predict(everything, rows, outputs).equals(predict(local, pa.table(rows), outputs))


def column_values(column):
    """Any values of a column, nulls among them where it takes nulls."""
    kind = column.arrow_type
    if pa.types.is_string(kind):
        values = st.text(max_size=5) | st.sampled_from(["a", "b", "zz"])
    elif pa.types.is_boolean(kind):
        values = st.booleans()
    elif pa.types.is_integer(kind):
        values = st.integers(-100, 100)
    elif pa.types.is_floating(kind):
        values = st.floats(width=32)
    elif pa.types.is_decimal(kind):
        values = st.integers(-999_999, 999_999).map(lambda cents: decimal.Decimal(cents) / 100)
    elif pa.types.is_date(kind):
        values = st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1))
    else:
        zone = st.just(dt.UTC) if kind.tz else st.none()
        values = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1), timezones=zone)
    return values | st.none() if column.nullable else values


ROWS = st.lists(st.tuples(*(column_values(column) for column in EVERY_INPUT.columns)), max_size=4)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_any_values_arrive_as_they_left(everything, drawn):
    columns = zip(*drawn, strict=True) if drawn else [()] * len(EVERY_INPUT.columns)
    rows = pa.table(
        [pa.array(values, field.type) for values, field in zip(columns, EVERY_INPUT.arrow_schema, strict=True)],
        schema=EVERY_INPUT.arrow_schema,
    )
    local = LoadedModel(everything.version, Everything())
    assert predict(everything, rows, everything.version.outputs).equals(
        predict(local, rows, everything.version.outputs)
    )


def test_scores_are_the_very_bytes_of_a_model_that_is_loaded_here():
    random = np.random.default_rng(3)
    table = pa.table({name: random.normal(size=50_000) for name in "ab"})
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0)
    model.fit(table.to_pandas(), table["a"].to_numpy() + random.normal(size=50_000) > 0)
    outputs = {"p": Prediction(method="predict_proba", class_=True), "score": Prediction(method="decision_function")}
    there = opened(model, inputs(a="float64", b="float64"), outputs)
    # More than a pipe holds, many times over, each way.
    assert predict(there, table, outputs).equals(predict(LoadedModel(there.version, model), table, outputs))


def test_a_batch_of_ten_million_rows():
    x = np.arange(10_000_000, dtype="float64")
    got = predict(opened(Strange()), pa.table({"x": x}), Y)
    np.testing.assert_array_equal(got["y"].to_numpy(), x * 2)


def test_no_rows_ask_nobody():
    there = opened(Strange("die"))
    assert predict(there, THREE.slice(0, 0), Y).schema == pa.schema([("y", pa.float64())])


def test_what_the_libraries_of_the_other_side_warn_of_and_are_is_known():
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    there = opened(model, inputs("numpy", x="float64"))
    here = LoadedModel(there.version, model)
    assert there.warnings == ()
    assert there.libraries["python"] == ".".join(map(str, sys.version_info[:3]))
    assert there.libraries["scikit-learn"] == __import__("sklearn").__version__
    assert predict(there, THREE, Y).equals(predict(here, THREE, Y))


# -- what is raised there is raised here --------------------------------------------------------------------------------


def test_what_the_model_raises_costs_rows_and_not_the_child():
    there = opened(Strange("raise"))
    with pytest.raises(PredictRaised, match=r"^ValueError: cannot score xxx.*\.\.\.$"):
        predict(there, THREE, Y)
    child = there.processes
    scored, kept, rejected = score_with_bisection(there, THREE, np.arange(3), Y)
    assert (scored.num_rows, len(kept), len(rejected), there.processes) == (0, 0, 3, child)


def test_outputs_that_cannot_be_published_are_refused_as_here():
    there = opened(Strange())
    with pytest.raises(ModelBlocked, match=r"is a Strange, which has no predict_proba; it has predict"):
        predict(there, THREE, {"p": Prediction(method="predict_proba", class_=1)})
    with pytest.raises(ModelBlocked, match="1 of 3 values are missing, NaN or infinite"):
        predict(there, pa.table({"x": [1.0, math.nan, 2.0]}), Y)
    assert predict(there, THREE, Y)["y"].to_pylist() == [2.0, 4.0, 8.0]


def test_running_out_of_memory_there_is_not_the_rows_fault():
    with pytest.raises(MemoryError, match="all gone"):
        score_with_bisection(opened(Strange("run_out_of_memory")), THREE, np.arange(3), Y)


def test_types_are_allowed_there_by_the_same_list(tmp_path):
    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'marker'}",)

    for model, allowed, says in ((Strange(), (), TYPE), (Hostile(), ("posix.system",), "posix.system")):
        with pytest.raises(ModelBlocked, match=f"names what is on no allow-list: {says}"):
            open_content(unregistered(Signature(inputs=X, outputs=Y)), FORMAT.dump(model), allowed, interpreter=HERE)
    assert not (tmp_path / "marker").exists()


def test_what_must_be_allowed_there_can_be_asked_for():
    assert types_to_accept_elsewhere(HERE, "joblib", FORMAT.dump([Strange(), LinearRegression()])) == [TYPE]
    with pytest.raises(ModelBlocked, match="not a joblib file that can be read here"):
        types_to_accept_elsewhere(HERE, "joblib", b"nonsense")


# -- a child that prints, reads, hangs, dies ---------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["print", "read"])
def test_standard_output_and_input_are_not_the_models(what, capfd):
    there = opened(Strange(what))
    for _ in range(3):
        assert predict(there, THREE, Y)["y"].to_pylist() == [2.0, 4.0, 8.0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("exit", "exit code 7; its last words: these are my last words"),
        ("end_the_program", "exit code 3"),
        ("die", "signal SIGKILL"),
        ("crash", "signal SIGSEGV"),
    ],
)
def test_a_child_that_dies_is_an_error_that_says_how(what, how):
    there = opened(Strange(what))
    with pytest.raises(WorkerError) as caught:
        predict(there, THREE, Y)
    assert "the interpreter here" in caught.value.failed
    assert f"was to score 3 rows with the model to be registered died: {how}" in caught.value.failed
    assert "Complete batches are kept. Next: look for a lack of memory" in str(caught.value)


def test_a_child_that_died_is_started_again_for_the_next_batch(tmp_path):
    there = opened(Strange("die_once", str(tmp_path / "told")))
    with pytest.raises(WorkerError, match="SIGKILL"):
        predict(there, THREE, Y)
    assert predict(there, THREE, Y)["y"].to_pylist() == [2.0, 4.0, 8.0]


def test_a_child_that_died_while_it_waited_costs_nothing():
    there = opened(Strange())
    (child,) = there.processes
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert predict(there, THREE, Y)["y"].to_pylist() == [2.0, 4.0, 8.0]
    assert there.processes != (child,)


@pytest.mark.parametrize("what", ["hang", "hold_the_interpreter"])
def test_a_child_that_does_not_answer_in_time_is_ended(what, tmp_path):
    there = opened(Strange(what, str(tmp_path / "told")), timeout_seconds=3)
    (child,) = there.processes
    started = time.monotonic()
    with pytest.raises(WorkerError, match=r"did not score 3 rows with .* within 3 s, and its process was ended"):
        predict(there, THREE, Y)
    assert time.monotonic() - started < 20
    assert gone(child)


def test_a_child_of_the_child_that_holds_its_pipes_keeps_nobody_waiting(tmp_path):
    there = opened(Strange("leave_a_child", str(tmp_path / "told")), timeout_seconds=60)
    started = time.monotonic()
    with pytest.raises(WorkerError, match="exit code 5"):
        predict(there, THREE, Y)
    assert time.monotonic() - started < 20
    _, grandchild = (tmp_path / "told").read_text().split()
    until(lambda: gone(grandchild))


def test_an_interrupt_ends_the_child_and_what_it_started(tmp_path, monkeypatch):
    there = opened(Strange("hang_with_a_child", str(tmp_path / "told")))
    (child,) = there.processes
    waited = elsewhere.ChildProcess._wait

    def interrupted(process, pipe, event, deadline):
        if pipe == process._answers:
            until(lambda: (tmp_path / "told").exists() and len((tmp_path / "told").read_text().split()) == 2)
            raise KeyboardInterrupt
        waited(process, pipe, event, deadline)

    monkeypatch.setattr(elsewhere.ChildProcess, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict(there, THREE, Y)
    _, grandchild = (tmp_path / "told").read_text().split()
    until(lambda: gone(child) and gone(grandchild))


def test_a_model_that_nobody_holds_any_more_leaves_no_process_and_no_pipe():
    pipes = len(os.listdir("/proc/self/fd"))
    there = opened(Strange())
    (child,) = there.processes
    assert not gone(child)
    del there
    gc.collect()
    until(lambda: gone(child) and len(os.listdir("/proc/self/fd")) <= pipes)


_HOLDS_ONE = """
import sys, time
from tests.unit.core.models.elsewhere.test_elsewhere import *
there = opened(Strange(sys.argv[1], sys.argv[2]))
print(*there.processes, flush=True)
if sys.argv[1] == "hang":
    predict(there, THREE, Y)
time.sleep(600)
"""


@pytest.mark.parametrize("what", ["nothing", "hang"])
def test_a_child_does_not_outlive_a_run_that_was_killed(what, tmp_path):
    program = [sys.executable, "-c", _HOLDS_ONE, what, str(tmp_path / "told")]
    with Child(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        child = int(run.stdout.readline())
        if what == "hang":
            until((tmp_path / "told").exists)
        assert not gone(child)
        run.kill()
    until(lambda: gone(child))


def test_threads_are_those_of_the_worker_that_holds_it(tmp_path):
    told = tmp_path / "told"
    Workers(2, timeout_seconds=120).call("a batch", _tell_threads, str(told))
    limits = set(told.read_text().split()[1].split(","))
    assert limits == {f"OMP_NUM_THREADS={os.cpu_count() // 2 or 1}", f"OPENBLAS_NUM_THREADS={os.cpu_count() // 2 or 1}"}


def _tell_threads(told):
    predict(opened(Strange("tell_threads", told)), THREE, Y)


def test_the_memory_of_the_child_counts():
    there = opened(Strange())
    predict(there, pa.table({"x": np.zeros(5_000_000)}), Y)
    (child,) = there.processes
    (line,) = [each for each in pathlib.Path(f"/proc/{child}/status").read_text().splitlines() if "VmHWM" in each]
    known = int(line.split()[1]) * 1024
    assert known > 100_000_000
    assert peak_memory_bytes(child) >= known


# -- the registry's name for it -----------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path):
    return Registry(Lake(tmp_path / "lake"))


def registered(registry, model, interpreter="other", expected=None, **parts):
    signature = Signature(inputs=inputs("numpy", x="float64"), outputs=Y, interpreter=interpreter)
    candidate = Candidate(
        model_bytes=FORMAT.dump(model),
        signature=signature,
        profile={},
        benchmark={},
        probe=THREE,
        expected=expected_outputs(model, signature, THREE) if expected is None else expected,
        **parts,
    )
    return registry.register("late", candidate, at=NOON, actor="ann")


LINE = LinearRegression().fit([[0.0], [1.0]], [0.0, 3.0])


def test_a_version_is_loaded_by_the_interpreter_that_it_names(registry, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", sys.executable)
    version = registered(registry, LINE, environment={"scikit-learn": "1.2.3"})
    there = load_model(registry, version, snapshot_schema=THREE.schema)
    assert there.processes
    assert there.warnings == (
        f"the model was registered with scikit-learn 1.2.3, and is scored with {there.libraries['scikit-learn']}",
    )
    assert predict(there, THREE, Y)["y"].to_pylist() == pytest.approx([3.0, 6.0, 12.0])
    # Without a name it is loaded here; the name is part of the digest.
    plain = registered(registry, LINE, interpreter=None)
    assert load_model(registry, plain).processes == ()
    assert plain.digest != version.digest


def test_the_gate_is_the_same_there(registry, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_OTHER", sys.executable)
    wrong = registered(registry, LINE, expected=pa.table({"y": [3.0, 6.0, 12.5]}))
    with pytest.raises(
        ModelBlocked, match=r"does not score its probe rows as it did: 'y' of probe row 2 comes out as 1[12]"
    ):
        load_model(registry, wrong)
    changed = registered(registry, LINE)
    path = registry.lake.path("models/late/versions/0002/model.joblib")
    path.write_bytes(FORMAT.dump(LinearRegression()))
    with pytest.raises(ModelBlocked, match=r"model\.joblib was changed"):
        load_model(registry, changed)


def test_an_interpreter_that_is_not_set_up_here_says_which_variable(registry, monkeypatch):
    monkeypatch.delenv("LAMPLIGHTER_PYTHON_OTHER", raising=False)
    version = registered(registry, LINE)
    with pytest.raises(ModelBlocked) as caught:
        load_model(registry, version)
    assert str(caught.value) == (
        f"{registry.lake.path('models/late/versions/0001/model.joblib')}: late version 1 must be loaded by the interpreter "
        "'other', and this machine does not say where that is. No row was scored. Next: set LAMPLIGHTER_PYTHON_OTHER to "
        "the path of its Python, in the environment or in .env."
    )


def test_it_is_found_in_the_file_env_too(tmp_path, monkeypatch):
    monkeypatch.delenv("LAMPLIGHTER_PYTHON_OTHER", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LAMPLIGHTER_PYTHON_OTHER=/there/bin/python\n")
    assert find_interpreter("other") == Interpreter("other", "/there/bin/python")


_SHEBANG = "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (None, "could not be started: No such file or directory"),
        ("not a program", "could not be started: Exec format error"),
        (f"{_SHEBANG}echo I am no Python; exit 4", "could not be started: exit code 4; its last words: I am no Python"),
        (f"{_SHEBANG}kill -9 $$", "could not be started: signal SIGKILL"),
        # What it is given is told as JSON in its last argument: the pipe that it answers by, among others.
        (
            (
                f"#!{sys.executable}\nimport json, os, sys, time\n"
                "os.write(json.loads(sys.argv[-1])['answers'], b'these are no messages of yours')\ntime.sleep(60)"
            ),
            "could not be started: b'these ar'",
        ),
    ],
)
def test_what_is_no_python_is_told_in_one_paragraph(program, says, tmp_path):
    path = tmp_path / "python"
    if program is not None:
        path.write_text(program)
        path.chmod(0o755)
    with pytest.raises(ModelBlocked, match="must be the path of a Python") as caught:
        opened(Strange(), interpreter=Interpreter("other", str(path)))
    assert caught.value.failed.startswith(f"the interpreter other ({path}) {says}")


def test_a_folder_and_a_program_that_may_not_run_are_told(tmp_path):
    (tmp_path / "python").write_text("")
    for path in (tmp_path, tmp_path / "python"):
        with pytest.raises(ModelBlocked, match="could not be started: Permission denied"):
            opened(Strange(), interpreter=Interpreter("other", str(path)))


@pytest.fixture
def bare(tmp_path):
    """An environment of this Python without any package."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    return Interpreter("bare", str(tmp_path / "bare/bin/python"))


def test_what_is_missing_there_is_told_with_the_command_that_installs_it(bare, registry, monkeypatch):
    monkeypatch.setenv("LAMPLIGHTER_PYTHON_BARE", bare.python)
    version = registered(
        registry, LINE, "bare", environment={"scikit-learn": "1.7.2", "numpy": "2.3.1", "prefect": "3.8"}
    )
    with pytest.raises(ModelBlocked) as caught:
        load_model(registry, version)
    assert caught.value.failed.endswith(f"the interpreter bare ({bare.python}) lacks numpy, pandas, pyarrow, pydantic")
    assert caught.value.next_step == (
        f"{bare.python} -m pip install 'joblib>=1.6' numpy==2.3.1 'pandas>=2.2' pyarrow 'pydantic>=2.12' "
        "scikit-learn==1.7.2 scipy"
    )
    with pytest.raises(ModelBlocked, match="lacks numpy"):
        packages_of(bare)


def with_packages(bare, *left_out):
    """Gives it the packages of this environment, but for some."""
    (site,) = pathlib.Path(bare.python).parents[1].glob("lib/python*/site-packages")
    for folder in {pathlib.Path(each.__file__).parents[1] for each in (np, pa)}:
        for path in folder.iterdir():
            if not path.name.lower().replace("-", "_").startswith(left_out) and not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return bare


def test_a_package_of_the_format_that_is_missing_there_is_told(bare):
    with_packages(bare, "sklearn", "scikit_learn", "_distutils", "__editable__", "lamplighter", "_editable")
    with pytest.raises(ModelBlocked, match=r"lacks scikit-learn.*pip install .* scikit-learn scipy"):
        opened(LINE, inputs("numpy", x="float64"), interpreter=bare)
    # Nor does it need it for a model that does not.
    assert predict(opened(Strange(), interpreter=bare), THREE, Y)["y"].to_pylist() == [2.0, 4.0, 8.0]


def test_a_package_that_is_broken_there_is_told(bare, tmp_path):
    with_packages(bare, "pydantic", "lamplighter")
    (site,) = (tmp_path / "bare").glob("lib/python*/site-packages")
    (site / "pydantic.py").write_text("raise ImportError('pydantic is of another time')")
    with pytest.raises(ModelBlocked, match="cannot run Lamplighter's part: ImportError: pydantic is of another time"):
        opened(Strange(), interpreter=bare)


def test_a_child_needs_none_of_what_only_the_parent_needs(bare):
    """Prefect, Great Expectations and settings stay here: an old environment holds a model's own libraries."""
    needed = (
        "numpy",
        "pandas",
        "pyarrow",
        "pydantic",
        "joblib",
        "cloudpickle",
        "annotated_types",
        "typing",
        "dateutil",
        "six",
    )
    packages = {path.name for path in pathlib.Path(np.__file__).parents[1].iterdir()}
    others = tuple(name.lower().replace("-", "_") for name in packages if not name.startswith(needed))
    assert predict(opened(Strange(), interpreter=with_packages(bare, *others)), THREE, Y)["y"].to_pylist() == [2, 4, 8]


def test_packages_are_those_of_the_other_environment(bare):
    with_packages(bare, "scikit_learn", "sklearn")
    found = packages_of(bare)
    assert found["numpy"] == np.__version__
    assert "scikit-learn" not in found
    assert packages_of(HERE)["scikit-learn"] == __import__("sklearn").__version__


def test_a_variable_of_our_environment_does_not_reach_into_the_other(bare, tmp_path, monkeypatch):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow/pydantic.py").write_text("raise ImportError('that of our environment')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    assert predict(opened(Strange()), THREE, Y)["y"].to_pylist() == [2.0, 4.0, 8.0]


def test_every_simple_type_of_output_comes_back(tmp_path):
    for name in ("float32", "int8", "int64", "string"):
        got = predict(opened(Strange()), THREE, {"y": Prediction(type=name)})
        assert got.schema.field("y").type == SIMPLE_TYPES[name]
    assert InputColumn(name="x", type="float64") in InputSchema(columns=X.columns).columns
