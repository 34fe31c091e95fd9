"""The Prefect UI in a real browser, on a real server and worker: what a person fills in, sees, repeats and stops."""

import contextlib
import io
import pathlib
import shutil
import subprocess
import time

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.core.definitions.modelling import Prediction
from tests.flows.conftest import DAY, as_table, make_project, readings, register
from tests.integration.conftest import LAMPLIGHTER, served, wait_for
from tests.integration.prefect_browser import ENDED, Browser
from tests.integration.told_model import TYPE, Told

pytestmark = pytest.mark.extras

NEXT_DAY = "2024-05-02"
PAGES = "http://127.0.0.1:8090"
STOP_SECONDS = 15 + 15  # What is promised, and a margin for a machine that does other things too.


@pytest.fixture(scope="module")
def world(tmp_path_factory, prefect_server):
    """The job `readings`, of which one day is broken; and `slow`, in four batches, whose model does as it is told."""
    made = make_project(tmp_path_factory.mktemp("ui") / "project")
    made.change_job(description="How hot each sensor gets.", owner="network-operations")
    slow = yaml.safe_load(made.job_file.read_text()) | {
        "job": "slow",
        "model": {"name": "slow", "allowed_types": [TYPE]},
    }
    slow["limits"] |= {"batch_rows": 50, "workers": 2, "batch_timeout_seconds": 300}
    del slow["suite"]
    made.job_file.with_name("slow.yaml").write_text(yaml.safe_dump(slow, sort_keys=False))
    for day in (DAY, NEXT_DAY):
        rows = readings(200, day).assign(x=np.arange(200, dtype=float))
        if day == NEXT_DAY:
            rows.loc[:59, "kind"] = "lukewarm"
        made.write_rows(rows, f"{day}.parquet")
    (made.folder / "told").mkdir()
    (made.folder / "told/what").write_text("")
    sample = as_table(readings(20).assign(x=-np.arange(1.0, 21.0)))
    outputs = {"probability": Prediction(method="predict_proba", class_=1)}
    register(made.lake, "slow", Told(made.folder / "told"), {"x": "float64"}, outputs, sample)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with served(prefect_server, made, elsewhere, by_prefect=False, LAMPLIGHTER_PAGES_URL=PAGES) as worker:
        yield made
        assert worker.poll() is None


@pytest.fixture
def tell(world):
    """Tells the model what to do, and forgets who scored what until now."""

    def told(what):
        (world.folder / "told/log").write_text("")
        (world.folder / "told/what").write_text(what)

    yield told
    told("")


def of_project(world):
    """The processes that run this project's flows and what these have started; the worker is none of them."""
    found, ours = set(), f"LAMPLIGHTER_PROJECT={world.folder}".encode()
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        # It may end while one looks.
        with contextlib.suppress(OSError):
            is_worker = b"worker\0start" in (folder / "cmdline").read_bytes()
            if ours in (folder / "environ").read_bytes().split(b"\0") and not is_worker:
                found.add(int(folder.name))
    return found


def snapshot_files(world, as_of):
    """The files that hold the window's pulled rows: name, place on the disk and time of writing."""
    folder = world.folder / f"lake/runs/slow/as_of={as_of}"
    found = [(path, path.stat()) for path in folder.glob("*/snapshot*")]
    assert found
    return sorted((path.name, stat.st_ino, stat.st_mtime_ns) for path, stat in found)


def published(world, as_of):
    """The files that readers see of the window, with their bytes."""
    folder = world.folder / f"lake/predictions/slow/as_of={as_of}"
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def scored(world):
    """From which rows on batches were scored, and in which processes, since the model was told something."""
    lines = [line.split() for line in (world.folder / "told/log").read_text().splitlines()]
    return sorted(int(first) for first, _ in lines), {int(process) for _, process in lines}


@pytest.fixture
def ui(browser, world, prefect_server):
    opened = Browser(browser, prefect_server.url)
    try:
        yield opened
        assert opened.asked_elsewhere == []
    finally:
        opened.context.close()
        opened.api.close()


def test_a_run_from_the_form_to_the_report(ui):
    ui.open_form("score/readings")
    assert ui.value("job") == "readings"
    assert ui.value("as_of") == "scheduled"
    for name in ("job", "as_of", "rescore", "from_snapshot", "only_if_changed", "accept", "reason", "dry_run"):
        assert len(ui.field(name).inner_text()) > len(name) + 40, f"nothing says what {name} is"
    ui.keep("form")
    ui.fill(as_of=DAY)
    run_id = ui.submitted_run()

    run = ui.ended(run_id)
    assert (run["name"], run["state"]["name"]) == (f"readings {DAY}", "Published"), run["state"]
    ui.see("Published", f"readings {DAY}", "job:readings", "owner:network-operations", "model:readings/0001")
    ui.keep("published")
    ui.tab("Task Runs")
    ui.see("Validate batch 1 of 1", "Score batch 1 of 1", "Publish the predictions", "Write the report")
    ui.tab("Artifacts")
    ui.see("readings-report", "readings-figures", "readings-page", f"readings {DAY}: rows scored")
    ui.keep("artifacts")
    ui.page.get_by_text("readings-report", exact=True).click()
    ui.page.wait_for_url("**/artifacts/artifact/*")
    ui.see(f"Published: readings {DAY}", "rows scored", "200")
    link = ui.page.get_by_role("link", name="The report of this window").first
    assert link.get_attribute("href") == f"{PAGES}/readings/as_of={DAY}.html"
    ui.keep("report")


def test_a_wrong_window_is_refused_in_the_form_before_a_run_starts(ui):
    before = ui.runs_count()
    ui.open_form("score/readings")
    for wrong in ("yesterday", "2024-13-01", "01.05.2024"):
        ui.fill(as_of=wrong)
        ui.submit()
        ui.field("as_of").get_by_text(f"'{wrong}' does not match").wait_for()
    ui.field("as_of").scroll_into_view_if_needed()
    ui.keep("refused")
    assert ui.runs_count() == before


def test_a_choice_a_number_and_a_reason_are_refused_in_the_form(ui):
    before = ui.runs_count()
    ui.open_form("promote/promote")
    ui.fill(model="readings", version="0", reason="no")
    ui.submit()
    ui.field("version").get_by_text("0 is less than the minimum of 1").wait_for()
    ui.field("reason").get_by_text("'no' is too short").wait_for()
    ui.field("alias").get_by_text("production", exact=True).last.wait_for()
    ui.field("model").scroll_into_view_if_needed()
    ui.keep("promote")
    assert ui.runs_count() == before


def test_no_deployment_takes_a_wrong_parameter(ui):
    """By the server itself: a script that asks it is refused as the form is."""
    before = ui.runs_count()
    for one in ui.api.post("/deployments/filter", json={"limit": 200}).raise_for_status().json():
        for name, schema in one["parameter_openapi_schema"]["properties"].items():
            refused = ui.try_to_run(one, **{name: wrong_for(schema)})
            assert refused.status_code == httpx.codes.CONFLICT, f"{one['name']} takes a wrong {name}"
        refused = ui.try_to_run(one, asof=DAY)
        assert refused.status_code == httpx.codes.CONFLICT, f"{one['name']} takes an unknown name"
        assert one["parameter_openapi_schema"]["additionalProperties"] is False
    assert ui.runs_count() == before


def wrong_for(schema):
    return {"integer": -1, "boolean": "maybe", "array": "all of it"}.get(schema.get("type"), "Not a word! " * 100)


def test_a_blocked_window_says_what_is_wrong_and_what_to_do_without_a_traceback(ui):
    ui.open_form("score/readings")
    ui.fill(as_of=NEXT_DAY)
    run = ui.ended(ui.submitted_run())
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Blocked"), run["state"]
    assert "60 of 200 rows" in run["state"]["message"]
    ui.see("Blocked", f"readings {NEXT_DAY}")
    said = ui.logs(run["id"])
    assert any("Blocked: 60 of 200 rows" in line for line in said)
    assert not any("Traceback" in line or "NoneType" in line for line in said), said
    ui.page.get_by_text("Blocked: 60 of 200 rows").first.scroll_into_view_if_needed()
    ui.keep("blocked")
    ui.tab("Artifacts")
    ui.page.get_by_text("readings-report", exact=True).click()
    ui.page.wait_for_url("**/artifacts/artifact/*")
    ui.see(f"Blocked: readings {NEXT_DAY}", "Next:")


def rows_of(files):
    (content,) = files.values()
    return pd.read_parquet(io.BytesIO(content)).sort_values("sensor", ignore_index=True)


def is_scored_right(files):
    """One file, with a row for each of the two hundred, and the odds of row x are x / (1 + x)."""
    numbers = np.arange(200.0)
    return np.array_equal(rows_of(files)["probability"], numbers / (1 + numbers))


@pytest.mark.slow
def test_retry_goes_on_from_what_is_complete(ui, world, tell):
    """Three of four batches are scored when a child dies in the fourth."""
    tell("die 150")
    ui.open_form("score/slow")
    ui.fill(as_of=DAY)
    run = ui.ended(ui.submitted_run())
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Failed"), run["state"]
    assert "died" in run["state"]["message"]
    assert 150 in scored(world)[0]
    pulled = snapshot_files(world, DAY)
    done = set(scored(world)[0]) & {0, 50, 100}
    ui.keep("failed")

    tell("")
    ui.page.reload()
    ui.page.get_by_role("button", name="Retry").click()
    ui.page.get_by_text("will be run again").wait_for()
    ui.page.get_by_role("button", name="Retry").last.click()
    run = ui.ended(run["id"], attempt=2)
    assert (run["state"]["name"], run["run_count"]) == ("Published", 2), run["state"]
    assert not done & set(scored(world)[0])
    assert scored(world)[0] == sorted({0, 50, 100, 150} - done)
    assert snapshot_files(world, DAY) == pulled
    assert is_scored_right(published(world, DAY))
    ui.see("Published")


def test_cancel_stops_a_run_at_once_and_leaves_no_half_state(ui, world, tell, prefect_server, tmp_path):
    kept = pathlib.Path(shutil.copytree(world.folder / "lake", tmp_path / "lake"))
    tell("wait 100")
    ui.open_form("score/slow")
    ui.fill(as_of=NEXT_DAY)
    run_id = ui.submitted_run()

    def has_begun():
        state = ui.run(run_id)["state"]
        assert state["type"] not in ENDED, state
        return len(scored(world)[0]) == 4

    wait_for(has_begun, seconds=300, what="two batches to be scored, and two to be begun")
    ui.see("Running", "Score the batches (2 shards): begins")
    ui.keep("running")
    ui.tab("Task Runs")
    ui.see("Score batches 1, 3 of 4", "Score batches 2, 4 of 4")
    processes = of_project(world)
    assert scored(world)[1] <= processes

    ui.page.get_by_role("button", name="Cancel", exact=True).first.click()
    ui.page.get_by_role("button", name="Confirm").click()
    asked_at = time.monotonic()
    wait_for(lambda: not processes & of_project(world), seconds=STOP_SECONDS, what="the run's processes to end")
    ended_seconds = time.monotonic() - asked_at
    run = ui.ended(run_id)
    print(f"processes gone after {ended_seconds:.1f} s, Cancelled after {time.monotonic() - asked_at:.1f} s")
    assert run["state"]["type"] == "CANCELLED", run["state"]
    wait_for(lambda: not of_project(world), seconds=30, what="what Prefect itself started to end")
    ui.see("Cancelled")
    ui.keep("cancelled")
    assert published(world, NEXT_DAY) == {}

    tell("")
    ui.open_form("score/slow")
    ui.fill(as_of=NEXT_DAY)
    run = ui.ended(ui.submitted_run())
    assert run["state"]["name"] == "Published", run["state"]
    assert scored(world)[0] == [100, 150]
    resumed = published(world, NEXT_DAY)
    assert is_scored_right(resumed)
    table, other = rows_of(resumed), rows_of(published_elsewhere(world, prefect_server, kept, NEXT_DAY))
    # The instant of each one's own pull is all that differs.
    pd.testing.assert_frame_equal(table.drop(columns="scored_at"), other.drop(columns="scored_at"))


def published_elsewhere(world, server, lake, as_of):
    """The file that a run writes into another lake, which nobody stops."""
    variables = {"LAMPLIGHTER_PROJECT": str(world.folder), "LAMPLIGHTER_LAKE": str(lake)}
    command = [LAMPLIGHTER, "score", "slow", "--as-of", as_of]
    subprocess.run(command, env=server.environment | variables, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return {path.name: path.read_bytes() for path in lake.glob(f"predictions/slow/as_of={as_of}/*")}
