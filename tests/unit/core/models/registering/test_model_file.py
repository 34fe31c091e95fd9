"""A model's file is told by its ending and only listed; what must be accepted is said, line by line."""

import hashlib
import io
import os
import pickle

import joblib
import numpy as np
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from tasks.core.definitions.modelling import ModelChoice
from tasks.core.errors import DefinitionError, ModelBlocked
from tasks.core.models.registering.model_file import allow_lines, read_model_file, refuse_unaccepted

MODEL = LogisticRegression().fit([[0.0], [1.0]], [0, 1])


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


class Named:
    """A class whose file says that it is called something else."""

    def __init__(self, called):
        self.called = called

    def dumped(self):
        data = pickle.dumps(Named, protocol=4)
        short = b"\x8c" + bytes([len("Named")]) + b"Named"
        assert short in data
        called = self.called.encode()
        return data[:2] + data[11:].replace(short, b"\x8c" + bytes([len(called)]) + called)


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "model.PKL", "model.pickle", "my model.joblib"])
def test_the_ending_says_the_format(tmp_path, name):
    joblib.dump(MODEL, tmp_path / name)
    file = read_model_file(str(tmp_path / name))
    assert (file.came_as, file.format, file.path) == ("joblib", "joblib", str(tmp_path / name))
    assert file.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert file.content == (tmp_path / name).read_bytes()
    assert file.types_to_accept() == []


def test_a_path_is_relative_to_where_the_command_is_typed(tmp_path, monkeypatch):
    (tmp_path / "below").mkdir()
    joblib.dump(MODEL, tmp_path / "model.joblib")
    monkeypatch.chdir(tmp_path / "below")
    assert read_model_file("../model.joblib").format == "joblib"


@pytest.mark.parametrize(
    ("name", "format_name", "says"),
    [
        ("nothing.joblib", "", "there is no file .*nothing.joblib"),
        (
            "model.h5",
            "",
            r"'model.h5' does not say by its ending which format it is; there are: joblib, .*give --format",
        ),
        ("model", "", "'model' does not say by its ending"),
        ("model.h5", "keras", "'keras' is not a model format; there are: "),
        ("folder", "joblib", "could not read .*folder: Is a directory"),
    ],
)
def test_what_is_no_models_file_is_said(tmp_path, name, format_name, says):
    for there in ("model.h5", "model"):
        (tmp_path / there).write_bytes(b"?")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DefinitionError, match=says):
        read_model_file(str(tmp_path / name), format_name)


def test_another_formats_file_is_blocked_when_it_is_listed(tmp_path):
    (tmp_path / "model.joblib").write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(ModelBlocked, match="not a joblib file that can be read here"):
        read_model_file(str(tmp_path / "model.joblib")).types_to_accept()


def test_listing_runs_nothing_and_what_nobody_can_allow_is_refused_for_good(tmp_path):
    marker = tmp_path / "marker"
    joblib.dump([np.arange(3), MODEL, Hostile(marker)], tmp_path / "model.joblib")
    file = read_model_file(str(tmp_path / "model.joblib"))
    with pytest.raises(ModelBlocked, match=r"Nobody can allow posix\.system: do not trust this file"):
        file.types_to_accept()
    assert not marker.exists()


@pytest.mark.parametrize("name", ["x\n    - evil.Type", "two words", "É:b", "<lambda>"])
def test_a_name_that_no_yaml_can_hold_is_refused_for_good(tmp_path, name):
    """A person is shown lines to paste: a file must not write lines of its own there."""
    (tmp_path / "model.pkl").write_bytes(Named(name).dumped())
    with pytest.raises(ModelBlocked, match="the model's file names what no job can") as caught:
        read_model_file(str(tmp_path / "model.pkl")).types_to_accept()
    assert "\n" not in str(caught.value)


def test_what_must_be_accepted_is_told_in_both_ways():
    refuse_unaccepted(["a.B"], ["a.B", "c.D"])
    with pytest.raises(ModelBlocked, match=r"nobody has accepted: a\.B, c\.D.*--allow a\.B --allow c\.D") as caught:
        refuse_unaccepted(["a.B", "c.D", "e.F"], ["e.F"])
    assert "listed and not loaded, and nothing was registered" in str(caught.value)
    said = yaml.safe_load("\n".join(allow_lines(["a.B", "c.D"])))
    assert ModelChoice(name="late", **said["model"]).allowed_types == ("a.B", "c.D")


@pytest.mark.extras
def test_a_folder_is_a_model_of_a_format_whose_models_are_folders(tmp_path):
    pytest.importorskip("nnef")
    folder = tmp_path / "network.nnef"
    folder.mkdir()
    graph = "version 1.0;\ngraph network(x) -> (y) { x = external<scalar>(shape = [1, 2]); y = sigmoid(x); }\n"
    (folder / "graph.nnef").write_text(graph)
    file = read_model_file(str(folder))
    assert (file.came_as, file.format) == ("nnef", "onnx")
    assert read_model_file(str(folder)).content == file.content
    (folder / "weights.dat").symlink_to("/dev/zero")
    with pytest.raises(DefinitionError, match=r"weights\.dat is a link"):
        read_model_file(str(folder))


def test_bytes_are_read_once(tmp_path):
    joblib.dump(MODEL, tmp_path / "model.joblib")
    file = read_model_file(str(tmp_path / "model.joblib"))
    (tmp_path / "model.joblib").write_bytes(b"something else")
    assert joblib.load(io.BytesIO(file.content)).coef_.tolist() == MODEL.coef_.tolist()
