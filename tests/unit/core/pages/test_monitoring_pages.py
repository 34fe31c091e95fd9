"""What the pages say of monitoring: whether something is wrong, what, since when and what to do; and what is not known."""

import re
import xml.etree.ElementTree as ET

import pytest

from tasks.core.monitoring.records import ColumnDrift, DriftPoint, EstimateRecord, Monitored
from tasks.core.pages import IndexPage, WindowMonitoring, render_index, render_window
from tasks.core.runs.manifest import Interval
from tests import monitor_samples as samples
from tests.page_samples import COLUMNS, HOSTILE, Page, failed, manifest, utc, window_page

LOOK, POINTS = samples.monitored(days=60, features=5), samples.points(60)


def look(**changes):
    return LOOK.model_copy(update=changes)


def index(monitored=None, points=None, **changes):
    values = {
        "job": "flight_delays",
        "points": POINTS if points is None else points,
        "columns": COLUMNS,
        "table": "lake/predictions/flight_delays",
        "prediction_name": "probability_late",
        "main_metric": "roc_auc",
        "monitored": monitored,
    }
    return render_index(IndexPage(**values | changes))


def text_of(html):
    return Page(html).text


def heading(html):
    return re.sub("<.*?>", "", re.search("<h1>(.*?)</h1>", html, re.DOTALL)[1])


def board(html):
    """The tiles: name, words and tone."""
    found = re.findall(r'<li class="is-(\w+)"><a.*?<span class="name">(.*?)</span> <b>(.*?)</b>', html)
    return {name: (words, tone) for tone, name, words in found}


# The head


def test_a_quiet_job_is_known_by_its_newest_run():
    windows = (samples.window_performance(57, 60, rows=1_000, labelled=972, without_label=8, awaited=20),)
    html = index(look(windows=windows), samples.points(60, estimates={"roc_auc": samples.around(0.727, 0.04)}))
    assert heading(html) == "Published: 2013-08-29"
    assert board(html) == {
        "Data": ("As usual", "good"),
        "Performance": ("As usual", "good"),
        "Labels": ("97.2 % have come", "good"),
        "Estimate before labels": ("ROC AUC 0.727", "idle"),
    }


def test_an_open_alarm_comes_first_with_its_reason_and_what_to_do():
    html = index(look(alarms=(samples.DRIFTED, samples.DEGRADED)))
    text = text_of(html)
    assert heading(html) == "Performance has degraded since 2013-09-05"
    assert text.index("Since 2013-09-05 fewer flights") < text.index("Next") < text.index("Published: 2013-08-29")
    assert "<code>lamplighter train flight_delays</code>" in html
    assert board(html)["Performance"] == ("Degraded", "bad")
    assert "<title>flight_delays: performance has degraded since 2013-09-05</title>" in html


def test_of_several_alarms_the_gravest_is_told_first():
    html = index(look(alarms=(samples.LATE, samples.DEGRADED)))
    assert heading(html) == "2 alarms are open, the first since 2013-09-05"
    assert text_of(html).index("Performance degraded") < text_of(html).index("Labels late")
    assert board(html)["Labels"] == ("Late", "warn")


def test_a_run_that_failed_comes_before_any_alarm():
    html = index(look(alarms=(samples.DEGRADED,)), samples.points(60, verdict="failed"))
    assert heading(html) == "Failed: 2013-08-29"
    assert "fewer flights were late" in text_of(html)


def test_a_day_beyond_the_line_is_no_alarm_yet_and_not_as_usual_either():
    groups = {"missing": 17.3, "features": 0.4}
    point = DriftPoint(unit="2013-08-29", model=samples.MODEL, statistic=1.5, line=2.4, groups=groups)
    html = index(look(drift=(point,)))
    assert board(html)["Data"] == ("Beyond the line", "warn")
    assert "missing values 17.3 in 2013-08-29: an alarm if it lasts" in text_of(html)
    assert heading(html) == "Published: 2013-08-29"


def test_a_week_that_is_worse_is_no_alarm_yet():
    point = samples.performance_point(57).model_copy(update={"statistic": 0.9, "line": 1.8, "z": {"bias_low": 2.1}})
    assert board(index(look(performance=(point,))))["Performance"] == ("Beyond the line", "warn")


def test_windows_that_nobody_looked_at_yet_are_counted():
    text = text_of(index(look(as_of="2013-08-27")))
    assert "As of 2013-08-27, looked at 2014-01-01 11:00:00 UTC; 2 newer windows not looked at yet." in text


# What is not known is said in one sentence


def test_without_a_look_the_page_says_how_to_have_one():
    text = text_of(index(None))
    assert "Not monitored yet: lamplighter monitor flight_delays looks at drift, performance and labels." in text
    assert "As usual" not in text


def test_without_calibration_labels_or_estimates_each_has_its_sentence():
    nothing = Monitored(job="flight_delays", at=utc(2013, 8, 30), as_of="2013-08-29", model=samples.MODEL)
    text = text_of(index(nothing, samples.points(3, estimates={})))
    assert text.count("This version was registered before alarms were calibrated; train it again to have them.") == 2
    assert "No label has come yet, so nothing can be said of the performance." in text
    assert "Nothing was estimated before labels came" in text
    assert "How often this job alarms while nothing changes is not known." in text


def test_a_job_without_a_query_for_labels_is_told_apart():
    html = index(look(windows=(), performance=()), has_labels=False)
    assert "The job has no query for labels, so nothing can be said of its performance." in text_of(html)
    assert board(html)["Performance"] == ("Not known", "idle")


def test_why_something_is_not_calibrated_is_the_version_s_own_sentence():
    lacks = ("Nothing is calibrated of the performance: of 12 windows 4 had labels.",)
    calibration = samples.CALIBRATION.model_copy(update={"performance": None, "lacks": lacks})
    assert lacks[0] in text_of(index(look(calibration=calibration)))


# The panels


def test_completeness_is_said_with_its_day():
    one = samples.window_performance(0, 60, rows=1_000, labelled=972, without_label=20, awaited=8, corrected=3)
    text = text_of(index(look(windows=(one,))))
    assert (
        "97.2 % of labels, as of 2013-07-04; 20 rows will have none; 8 rows awaited or never came; 3 labels corrected since"
        in text
    )


def test_the_metric_stands_beside_the_benchmark_of_the_version_that_made_it():
    other = {samples.MODEL: samples.BENCHMARK, "flight_delays/0004": {"roc_auc": Interval(value=0.9)}}
    text = text_of(index(look(performance=(), benchmarks=other, model="flight_delays/0004")))
    assert "in 2013-08-26; the benchmark is 0.731 (0.721 to 0.742)" in text


def test_the_bias_stands_beside_the_version_s_own():
    point = samples.performance_point(57).model_copy(update={"figures": {"bias": -0.143}, "usual_bias": 0.021})
    html = index(look(performance=(point,)))
    said = "−0.143 over the newest week: less came true than was predicted; of this version +0.021 is usual"
    assert said in text_of(html)
    assert re.search(r'id="bias".*?class="benchmark-line"', html, re.DOTALL)


def test_another_version_is_marked_where_it_begins():
    windows = [samples.window_performance(i, 60) for i in range(57)]
    windows = [
        one.model_copy(update={"model": "flight_delays/0004"}) if i > 30 else one for i, one in enumerate(windows)
    ]
    html = index(look(windows=tuple(windows), performance=(), drift=()))
    assert html.count("<bdi>version 4</bdi>") == html.count('class="version"') > 0


def test_a_muted_estimate_is_muted_to_the_eye():
    html = index(look(estimates=(samples.MUTED,)))
    assert board(html)["Estimate before labels"] == ("Muted", "warn")
    assert "ROC AUC, estimated before labels: muted" in text_of(html)
    assert 'class="muted-line"' in html
    assert 'class="estimate-line"' not in html
    assert '<span class="chip tone-stop">muted</span>' in html


def test_the_record_of_an_estimate_is_its_count():
    record = EstimateRecord(
        metric="roc_auc", model=samples.MODEL, compared=50, inside=48, p_value=0.9, mean_error=-0.004
    )
    text = text_of(index(look(estimates=(record,))))
    assert "ROC AUC version 3 holds 50 48 96.0 % 95.0 % −0.004" in text


def test_a_cell_that_stands_out_says_what_moved_and_leads_to_its_window():
    moved = ColumnDrift(column="temp", component="missing", value=0.1, z=5.2, reference=0.02, observed=0.12)
    quiet = ColumnDrift(column="humid", component="features", value=0.1, z=0.2)
    point = DriftPoint(unit="2013-08-05", model=samples.MODEL, statistic=2.5, line=2.4, columns=(moved, quiet))
    html = index(look(drift=(point,)))
    cells = re.findall(r'<a href="([^"]*)" tabindex="-1"><rect class="heat-3".*?<title>(.*?)</title>', html)
    assert cells == [("as_of=2013-08-05.html#drift", "temp, 2013-08-05: 5.2: missing 12.0 % against 2.0 %")]
    assert "In the newest block temp (missing 12.0 % against 2.0 %) lies farthest from what is usual." in text_of(html)


def test_a_day_without_a_window_is_a_gap():
    points = [one for one in samples.points(60) if one.as_of != "2013-07-20"]
    html = index(look(windows=(), drift=(), performance=()), points)
    line = re.search(r'id="estimate-0".*?class="estimate-line" d="(.*?)"', html, re.DOTALL)[1]
    assert line.count("M") == 2


def test_alarms_that_ended_are_kept_in_sight():
    text = text_of(index(look(alarms=(samples.DRIFTED,))))
    assert "1 alarm before" in text
    assert "data drifted 2013-07-29 to 2013-08-04" in text
    assert "data 1 (0.6 to 1.9); performance 1 (0.5 to 2.2). Its budget is 2 in all." in text


# Size, structure, and names that want to be more


def test_a_page_of_400_windows_and_40_features_stays_below_two_megabytes_where_all_is_beyond_all():
    columns = tuple(ColumnDrift(column=f"feature_{i:02d}", component="features", value=0.9, z=99.0) for i in range(41))
    found = samples.monitored(days=400, features=1)
    drift = tuple(one.model_copy(update={"columns": columns, "statistic": 99.0}) for one in found.drift)
    html = index(found.model_copy(update={"drift": drift}), samples.points(400))
    assert len(html.encode()) < 2_000_000
    assert "40 of 41 columns are shown" in text_of(html)


def every_page(text="plain"):
    """An index and a window's page in which every name is the text."""
    moved = ColumnDrift(column=text, component="features", value=0.1, z=3.0, explains=True)
    alarm = samples.DEGRADED.model_copy(
        update={"reason": text, "model": text, "next_step": "look", "onset": "2013-07-02"}
    )
    windows = [
        samples.window_performance(
            i, 9, metrics={text: samples.around(0.7, 0.1)}, estimates={text: samples.around(0.7, 0.1)}, model=text
        )
        for i in range(6)
    ]
    found = Monitored(
        job=text,
        at=utc(2013, 8, 30),
        as_of="2013-07-09",
        model=text,
        calibration=samples.CALIBRATION.model_copy(update={"assumptions": (text,)}),
        benchmarks={text: {text: samples.around(0.7, 0.1)}},
        drift=tuple(samples.drift_point(i).model_copy(update={"columns": (moved,), "model": text}) for i in range(9)),
        windows=tuple(windows),
        estimates=(samples.MUTED.model_copy(update={"metric": text, "model": text}),),
        alarms=(alarm, alarm.model_copy(update={"until": "2013-07-05"})),
        notes=(text,),
    )
    window = window_page(manifest(as_of="2013-07-03"), monitoring=WindowMonitoring("2013-07-03", found, windows[2:3]))
    return [index(found, samples.points(9, estimates={}), job=text, prediction_name=text), render_window(window)]


PLAIN = [Page(html).structure for html in every_page()]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_changes_the_words_and_nothing_else(text):
    for html, plain in zip(every_page(text), PLAIN, strict=True):
        assert Page(html).structure == plain
        for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
            ET.fromstring(svg)
        html.encode()


@pytest.mark.parametrize("html", [*every_page(), index(look(alarms=(samples.DRIFTED, samples.LATE)))])
def test_names_are_unique_lead_somewhere_and_every_chart_says_what_it_shows(html):
    page = Page(html)
    names = page.values("id")
    assert len(names) == len(set(names))
    wanted = [one for value in page.values("aria-labelledby") for one in value.split()]
    wanted += [address[1:] for address in page.values("href") if address.startswith("#")]
    assert set(wanted) <= set(names)
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        root = ET.fromstring(svg)
        assert root.get("aria-hidden") == "true" or root.findtext("title").strip()
    assert not re.search(r"\b(None|nan|inf|True|False|Undefined)\b|<tasks", page.text)
    assert not re.search(r"url\(|@import|https?:", html)


# The page of a window


def on_window(monitored, performances=(), record=None, unit="2013-07-27"):
    return text_of(render_window(window_page(record, monitoring=WindowMonitoring(unit, monitored, performances))))


def test_a_window_shows_its_estimate_the_truth_and_the_benchmark():
    figures = {"metrics": {"roc_auc": samples.around(0.7, 0.05)}, "estimates": {"roc_auc": samples.around(0.722, 0.04)}}
    performance = samples.window_performance(26, 60, **figures)
    text = on_window(look(), [performance])
    assert "ROC AUC 0.722 (0.682 to 0.762) 0.700 (0.650 to 0.750) 0.731 (0.721 to 0.742) truth inside" in text


def test_a_window_whose_labels_have_not_come_shows_what_its_run_expected():
    record = manifest(estimates={"roc_auc": Interval(value=0.71, low=0.66, high=0.76)})
    text = on_window(look(), record=record)
    assert "No label of this window has come yet." in text
    assert "ROC AUC 0.710 (0.660 to 0.760) – 0.731 (0.721 to 0.742)" in text


def test_a_window_without_an_estimate_says_why():
    text = on_window(look(), record=manifest(estimate_note="The version has no estimator: it was registered before."))
    assert "Not estimated before labels: The version has no estimator: it was registered before." in text


def test_yesterday_s_figures_stay_beside_today_s():
    days = [
        samples.window_performance(
            26, 60, labels_as_of="2013-07-30", rows=1_000, labelled=900, awaited=100, without_label=0
        ),
        samples.window_performance(
            26, 60, labels_as_of="2013-08-06", rows=1_000, labelled=980, awaited=20, corrected=2, is_final=True
        ),
    ]
    text = on_window(look(), days)
    assert text.index("2013-08-06 980 98.0 %") < text.index("2013-07-30 900 90.0 %")
    assert "98.0 % of labels, as of 2013-08-06; 14 rows will have none; 20 rows never came." in text


def test_a_window_says_how_usual_the_data_of_its_block_were():
    text = on_window(look(), unit="2013-08-01")
    assert "The data of the block that ends here: statistic" in text
    assert "data drifted 2013-07-29 to 2013-08-04" in text
    assert "dest new categories 8.0 %" in text
    assert "stands out" in text


def test_a_window_of_a_job_that_is_not_monitored_says_nothing_of_it():
    assert "How usual" not in text_of(render_window(window_page()))
    assert "how usual its data were" in on_window(look(), record=failed())
