"""Models that other scikit-learn versions saved, met by the load gate of this one. How they were made stands beside them."""

import joblib
import pytest
import sklearn

from tasks.core.errors import ModelBlocked
from tasks.core.models.formats.joblib_format import FORMAT
from tasks.core.models.model import load_model, predict
from tasks.core.models.registry import Registry
from tests.unit.core.models.other_models import OUTPUTS, expected_of, folder_of, register_other


@pytest.fixture
def registry(lake):
    return Registry(lake)


@pytest.mark.parametrize(
    ("scikit_learn", "name"),
    [
        ("1.7.2", "logistic"),
        ("1.7.2", "boosting"),
        ("1.7.2", "adaboost"),
        ("1.4.2", "logistic"),
    ],
)
def test_one_that_agrees_is_loaded_with_a_warning(registry, scikit_learn, name):
    loaded = load_model(registry, register_other(registry, name, scikit_learn))

    ours, *theirs = loaded.warnings
    assert (
        ours == f"the model was registered with scikit-learn {scikit_learn}, and is scored with {sklearn.__version__}"
    )
    # And what scikit-learn itself says of it.
    assert all("Trying to unpickle estimator" in each and f"from version {scikit_learn}" in each for each in theirs)
    assert theirs
    rows, expected = expected_of(scikit_learn, name)
    assert predict(loaded, rows, OUTPUTS)["probability"].to_pylist() == pytest.approx(
        expected["probability"].to_pylist(), rel=1e-12
    )


def test_one_that_predicts_something_else_is_blocked_with_the_difference(registry):
    version = register_other(registry, "adaboost", "1.4.2")

    with pytest.raises(ModelBlocked) as caught:
        load_model(registry, version)

    assert "does not score its probe rows as it did: 'probability' of probe row" in caught.value.failed
    assert "50 of 50 rows differ" in caught.value.failed
    assert f"the model was registered with scikit-learn 1.4.2, and is scored with {sklearn.__version__}" in str(
        caught.value
    )
    assert caught.value.state == "no row was scored"
    # Nothing but the probe could have told: the file loads, and predicts probabilities.
    assert load_model(registry, version, probe=False).estimator.classes_.tolist() == [0, 1]


@pytest.mark.parametrize("scikit_learn", ["1.7.2", "1.4.2"])
def test_one_that_lacks_what_this_version_looks_for_is_blocked(registry, scikit_learn):
    version = register_other(registry, "imputed", scikit_learn)

    with pytest.raises(
        ModelBlocked, match=r"raised on its own probe rows: AttributeError: 'SimpleImputer'.*'_fill_dtype'"
    ):
        load_model(registry, version)


def test_one_that_names_what_is_no_more_is_blocked(registry):
    version = register_other(registry, "boosting", "1.4.2")

    with pytest.raises(
        ModelBlocked, match=r"model\.joblib: .*needs sklearn\._loss\._loss\.__pyx_unpickle_CyHalfBinomialLoss"
    ):
        load_model(registry, version)


@pytest.mark.parametrize("name", ["CyHalfBinomialLoss", "os", "__builtins__", "__pyx_unpickle_Enum", "marker"])
def test_the_old_module_of_losses_is_never_imported(tmp_path, monkeypatch, name):
    """Whoever can put a file `_loss.py` on the path gains nothing by it."""
    (tmp_path / "_loss.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\nimport os\ndef marker(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    content = b"\x80\x02c_loss\n" + name.encode() + b"\n."

    if name == "CyHalfBinomialLoss":
        assert FORMAT.load(content, ()).__module__ == "sklearn._loss._loss"
    else:
        with pytest.raises(ModelBlocked, match=r"sklearn\._loss\._loss"):
            FORMAT.load(content, ())
    assert not (tmp_path / "marker").exists()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_joblib_itself_cannot_load_what_names_the_old_module_of_losses():
    """Why our reader knows where it went. Should this load one day, its entry among the old modules can go."""
    with pytest.raises(ModuleNotFoundError, match="_loss"):
        joblib.load(folder_of("1.7.2") / "boosting.joblib")
