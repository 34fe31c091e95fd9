"""The geometry of broad charts, by hand: a box of 1000 by 100 over the units."""

import datetime as dt
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.monitoring.records import Alarm, Monitored, WindowPerformance
from tasks.core.pages import WindowPoint, broad
from tasks.core.pages.broad import Axis, Spell
from tasks.core.pages.charts import Scale
from tasks.core.pages.time_axis import MOST_UNITS, axis_of, spells, version_word
from tasks.core.runs.manifest import RowCounts

FOUR = Axis(("a", "b", "c", "d"), ("a.html", None, "c.html", None))
TEN = broad.Upright(Scale(0.0, 10.0, 100.0, 0.0), (0.0, 10.0))


def days(count, first=dt.date(2013, 7, 1)):
    return tuple((first + dt.timedelta(days=i)).isoformat() for i in range(count))


def axis(units):
    return Axis(tuple(units), (None,) * len(units))


def point(as_of, **changes):
    return WindowPoint(as_of, "published", RowCounts(), **changes)


def look(**changes):
    values = {"job": "j", "at": dt.datetime(2013, 8, 1, tzinfo=dt.UTC), "as_of": "2013-08-01"}
    return Monitored(**values | changes)


def alarm(onset, until=None):
    return Alarm(kind="drifted", onset=onset, until=until, reason="")


# What is drawn


def test_a_line_is_lifted_where_nothing_is_known_and_one_alone_is_a_dot():
    assert broad.line(FOUR, [10, 0, None, 5], TEN) == "M125 0L375 100M875 50h.01"


def test_a_staircase_goes_on_while_its_height_does():
    assert broad.level(FOUR, [5, 5, None, 0], TEN) == "M0 50h250h250M750 100h250"


def test_dots_and_whiskers_stand_in_the_middle_of_their_unit():
    assert broad.dots(FOUR, [5, None, None, 0], TEN) == "M125 50h.01M875 100h.01"
    assert broad.whiskers(FOUR, [2, None, 3, 0], [4, 5, 3, 10], TEN) == "M125 80V60M875 100V0"


def test_a_band_is_one_outline_over_neighbours():
    assert (
        broad.band(FOUR, [2, 2, None, 0], [4, 6, 7, 10], TEN) == "M0 80V60H250V40H500V80H250H0zM750 100V0H1000V100H750z"
    )


def test_parts_stand_upon_one_another():
    assert broad.stacked(axis("ab"), [[5, None], [2, 3]], TEN) == (
        "M0 100V50H500V100H0z",
        "M0 50V30H500V70H1000V100H500V50H0z",
    )


def test_what_is_beyond_the_axis_is_drawn_at_its_end():
    assert broad.line(axis("ab"), [1e9, -1e9], TEN) == "M250 0L750 100"


def test_a_scale_has_round_ends_and_one_of_nothing_is_still_one():
    assert broad.upright([0.62, 0.78, None]).ticks[0] == 0.6
    assert broad.upright([]).ticks[0] <= 0 < broad.upright([]).ticks[-1]


def test_a_hit_leads_to_its_unit_and_one_of_a_group_to_the_newest_that_has_a_page():
    assert [(one.x, one.href, one.title) for one in broad.hits(FOUR, ["1", "2", "3", "4"])] == [
        (0, "a.html", "1"),
        (250, None, "2"),
        (500, "c.html", "3"),
        (750, None, "4"),
    ]
    many = Axis(tuple(map(str, range(240))), tuple(f"{i}.html" for i in range(240)))
    found = broad.hits(many, [str(i) for i in range(240)])
    assert len(found) == broad.MOST_HITS
    assert (found[0].title, found[0].href) == ("0\n1", "1.html")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30))
def test_whatever_the_figures_nothing_is_drawn_that_is_no_number(values):
    y, some = broad.upright(values), axis([str(i) for i in range(len(values))])
    drawn = [broad.line(some, values, y), broad.dots(some, values, y), broad.level(some, values, y)]
    drawn += [broad.band(some, values, values, y), *broad.stacked(some, [values, values], y)]
    assert not any(word in path for path in drawn for word in ("nan", "inf", "None"))


# What is written on the axis


def test_half_a_year_of_days_is_marked_by_its_months():
    marks = axis(days(184)).ticks()
    assert [one.label for one in marks] == ["Jul 2013", "Aug", "Sep", "Oct", "Nov", "Dec"]
    assert marks[1].at == pytest.approx(31 / 184 * 100)


def test_a_month_of_which_only_its_end_is_seen_has_no_name():
    assert [one.label for one in axis(days(90, dt.date(2013, 6, 29))).ticks()] == ["Jul", "Aug", "Sep"]


def test_few_units_are_named_the_last_always_and_some_only_where_there_is_room():
    marks = axis(days(30)).ticks()
    assert marks[-1].label == "2013-07-30"
    assert not marks[-1].is_minor
    assert any(one.is_minor for one in marks)
    assert axis(()).ticks() == ()


# The axis of a job


def test_a_missed_day_has_its_place_and_longer_windows_have_no_gaps():
    found = axis_of(None, [point("2013-07-01", href="1"), point("2013-07-02", href="2"), point("2013-07-05", href="5")])
    assert found.units == days(5)
    assert found.hrefs == ("1", "2", None, None, "5")
    weeks = [point(one) for one in ("2013-07-01", "2013-07-08", "2013-07-22")]
    assert axis_of(None, weeks).units == ("2013-07-01", "2013-07-08", "2013-07-22")


def test_windows_of_an_hour_share_the_unit_of_their_day():
    hours = [
        point(f"2013-07-0{day}T{hour:02d}Z", unit=f"2013-07-0{day}", href=f"{day}-{hour}")
        for day in (1, 2)
        for hour in (3, 4)
    ]
    found = axis_of(None, hours)
    assert (found.units, found.hrefs) == (days(2), ("1-4", "2-4"))


def test_of_many_units_the_newest_are_shown():
    assert axis_of(None, [point(one) for one in days(500)]).units == days(500)[-MOST_UNITS:]
    assert len(axis_of(None, [point("0001-01-01"), point("0001-01-02"), point("9999-12-31")]).units) <= MOST_UNITS


def test_a_version_is_marked_where_it_begins():
    windows = tuple(
        WindowPerformance(
            as_of=one, unit=one, run_id="", model=f"m/{version:04d}", labels_as_of=one, rows=1, labelled=1
        )
        for one, version in zip(days(3), (1, 1, 2), strict=True)
    )
    assert axis_of(look(windows=windows), []).versions == ((2, "version 2"),)
    assert version_word("no number") == "no number"


@pytest.mark.parametrize(
    ("onset", "until", "expected"),
    [
        ("2013-07-02", "2013-07-03", [(1, 2)]),
        ("2013-07-02", None, [(1, 3)]),
        ("2013-06-01", "2013-07-01", [(0, 0)]),
        ("2013-06-01", "2013-06-02", []),
        ("2013-08-01", None, []),
    ],
)
def test_an_alarm_shades_its_days(onset, until, expected):
    assert [(one.first, one.last) for one in spells(axis(days(4)), [alarm(onset, until)], "drifted")] == expected
    assert spells(axis(days(4)), [alarm(onset, until)], "degraded") == []


def test_a_shade_covers_its_units_whole():
    assert [(one.x, one.width) for one in broad.shades(FOUR, [Spell(1, 2)])] == [(250, 500)]


def test_neighbours_in_a_row_of_ticks_do_not_touch():
    for count in (1, 2, 7, 40, 61, 62, 184, 400):
        places = [one.at for one in axis(days(count)).ticks()]
        assert all(after - before > 6 for before, after in itertools.pairwise(places))
