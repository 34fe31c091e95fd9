"""The command line as a person and as a script meet it: exit codes, one paragraph an error, JSON."""

import json
import subprocess
import sys

import pytest

from tests.flows.conftest import DAY, readings

pytestmark = pytest.mark.usefixtures("world")


def test_published_is_0_and_says_so_in_one_line(lamplighter):
    code, out, _ = lamplighter("score", "readings", "--as-of", DAY)

    assert code == 0
    assert out.startswith(f"readings {DAY}: published. 200 of 200 rows scored, 0 quarantined. Run ")
    assert lamplighter("score", "readings", "--as-of", DAY)[0] == 0


def test_blocked_is_3_with_one_paragraph_and_no_traceback(lamplighter, world):
    world.write_rows(readings().assign(kind="lukewarm"))

    code, out, err = lamplighter("score", "readings", "--as-of", DAY)

    assert (code, out) == (3, "")
    (paragraph,) = err.strip().splitlines()
    assert paragraph.startswith("lamplighter: 200 of 200 rows")
    assert "Nothing was published" in paragraph
    assert f"Next: lamplighter show readings --as-of {DAY}" in paragraph
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("score", "nothing", "--as-of", DAY), "there is no job 'nothing'"),
        (("score", "reading", "--as-of", DAY), "did you mean 'readings'?"),
        (("score", "readings", "--as-of", "2024-5-1"), "give as_of in the form 2013-07-01"),
        (("score", "readings", "--as-of", "../../etc"), "is not a window of this job"),
        (("score", "../readings", "--as-of", DAY), "there is no job"),
        (("show", "readings", "--as-of", "2020-01-01"), "has no run"),
    ],
)
def test_usage_and_definition_errors_are_2(lamplighter, arguments, says):
    code, _, err = lamplighter(*arguments)

    assert code == 2
    assert says in err


def test_failure_is_1(lamplighter, world):
    (world.folder / "data/a.parquet").write_bytes(b"not parquet")

    code, _, err = lamplighter("score", "readings", "--as-of", DAY)

    assert code == 1
    assert "a.parquet" in err


def test_json_for_machines(lamplighter, world):
    code, out, _ = lamplighter("score", "readings", "--as-of", DAY, "--json")
    assert code == 0
    assert json.loads(out)["manifest"]["rows"]["scored"] == 200

    world.write_rows(readings().assign(kind="lukewarm"))
    code, out, _ = lamplighter("score", "readings", "--as-of", DAY, "--rescore", "why not", "--json")
    said = json.loads(out)
    assert code == 3
    assert said["error"]["kind"] == "Blocked"
    assert said["manifest"]["verdict"] == "published"

    assert [run["verdict"] for run in json.loads(lamplighter("runs", "readings", "--json")[1])] == [
        "published",
        "blocked",
    ]
    assert json.loads(lamplighter("show", "readings", "--as-of", DAY, "--json")[1])["verdict"] == "blocked"
    assert json.loads(lamplighter("check", "--json")[1]) == [{"job": "readings", "problem": None}]


def test_show_tells_what_readers_see_when_the_last_run_was_blocked(lamplighter, world):
    lamplighter("score", "readings", "--as-of", DAY)
    world.write_rows(readings().assign(kind="lukewarm"))
    lamplighter("score", "readings", "--as-of", DAY, "--rescore", "new feed")

    _, out, _ = lamplighter("show", "readings", "--as-of", DAY)

    assert f"readings {DAY}: blocked" in out
    assert f"Readers see run {world.published().run_id}" in out


def test_check_names_every_wrong_file(lamplighter, world):
    text = world.job_file.read_text()
    (world.job_file.parent / "broken.yaml").write_text(text.replace("job: readings", "job: broken") + "colour: red\n")

    code, out, _ = lamplighter("check")

    assert code == 2
    assert "'colour' is not known" in " ".join(out.split())


def test_help_loads_nothing_heavy():
    heavy = ("prefect", "pandas", "pyarrow", "sklearn", "great_expectations", "numpy")
    code = f"import sys; sys.argv = ['lamplighter', '--help']\nfrom flows.cli import main\ntry: main()\nexcept SystemExit: pass\nprint([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_promote_rollback_and_history_tell_who_when_and_why(lamplighter, world):
    from tasks.core.definitions.modelling import Prediction
    from tests.flows.conftest import as_table, logistic_model, register

    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(
        world.lake,
        "readings",
        logistic_model(),
        {"kind": "string", "x": "float64", "y": "float64"},
        outputs,
        as_table(readings()),
    )
    assert json.loads(lamplighter("history", "readings", "--json")[1])["aliases"] == {"production": 2}

    code, out, _ = lamplighter("rollback", "readings", "--reason", "version 2 is worse at night")
    assert (code, "production of readings is version 1 again" in out) == (0, True)

    code, out, _ = lamplighter("promote", "readings", "--version", "2", "--reason", "the night was mended")
    assert code == 0
    said = json.loads(lamplighter("history", "readings", "--json")[1])
    assert said["aliases"] == {"production": 2}
    assert [event["reason"] for event in said["events"]][-2:] == ["version 2 is worse at night", "the night was mended"]
    before = json.loads(lamplighter("history", "readings", "--at", "2020-01-01", "--json")[1])
    assert before == {"aliases": {}, "events": []}


def test_what_the_load_gate_refuses_cannot_be_promoted(lamplighter, world):
    model = world.folder / "lake/models/readings/versions/0001/model.joblib"
    model.write_bytes(model.read_bytes() + b"!")

    code, _, err = lamplighter("promote", "readings", "--version", "1", "--reason", "why not", "--alias", "challenger")

    assert code == 3
    assert "SHA-256" in err
    assert json.loads(lamplighter("history", "readings", "--json")[1])["aliases"] == {"production": 1}


def test_nothing_to_roll_back_to(lamplighter):
    code, _, err = lamplighter("rollback", "readings", "--reason", "panic")
    assert code == 2
    assert "none to go back to" in err
