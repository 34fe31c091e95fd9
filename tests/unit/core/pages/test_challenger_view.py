"""What a window's page says of its challenger: the figures, what became of it, and nothing that is not escaped."""

import re

import pytest

from tasks.core.pages import IndexPage, challenger_sentence, render_index, render_markdown, render_window, summary_rows
from tasks.core.profiles.differences import ColumnDifferences, Move, RowApart
from tasks.core.runs.challenger import Beside
from tasks.core.runs.manifest import RowCounts
from tests.page_samples import APART, COLUMNS, HOSTILE, Page, beside, challenge, manifest, window_page


def text_of(challenger, **changes):
    html = render_window(window_page(challenger=challenger, challengers_table="lake/challengers/f", **changes))
    found = re.search(r'<section id="challenger">.*?</section>', html, re.DOTALL)
    return Page(found[0]).text if found else ""


def test_the_figures_by_name():
    text = text_of(beside())

    for said in (
        "The challenger decides otherwise on 2.0 % of the rows",
        "flight_delays version 4 has scored 1,197 of the same 1,200 rows, after production had published them.",
        "it says how far the two differ, not which is right",
        "It could not score 3 rows: 3 x null_input(temp).",
        "decided otherwise 2.0 % 24 rows",
        "mean difference +0.0200 standard deviation 0.110",
        "highest difference +0.710 lowest -0.300",
        "rank correlation 0.930 Spearman",
        "top tenth replaced 15.0 % of 120 rows",
        "From production to the challenger: 20 rows from at most 0.5 to above 0.5 ; 4 rows from above 0.5 to at most 0.5",
        "carrier flight Production Challenger Difference US 1632 0.120 0.830 +0.710",
        "the table lake/challengers/f",
    ):
        assert said in text
    assert "blocked" not in text


def test_both_distributions_are_in_one_chart_and_said_whose_they_are():
    html = render_window(window_page(challenger=beside()))

    assert "&lt; 10: 40.0 % from the challenger, 25.0 % from production" in html
    text = text_of(beside())
    assert "the challenger production" in text
    assert "Fewer in '≥ 40': 5.0 % against 25.0 %" in text


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"flips": 0}, "The challenger decides otherwise on no row"),
        ({"kind": "class", "flips": 3, "rows": 4}, "The challenger predicts another class for 75.0 % of the rows"),
        ({"kind": "number", "flips": None}, "The challenger lies 0.0200 above production on average"),
        ({"kind": "number", "flips": None, "mean": -3.5}, "The challenger lies 3.50 below production on average"),
        ({"kind": "number", "flips": None, "mean": 0.0}, "The challenger agrees with production on average"),
        ({"rows": 0}, "The challenger has scored no row"),
    ],
)
def test_the_heading_says_what_is_to_be_known(changes, title):
    assert text_of(beside(differences=(APART.model_copy(update=changes),))).startswith(title)


def test_classes_have_no_differences_but_what_they_became():
    rows = (RowApart(key={"id": "7"}, production="cat", challenger="dog"),)
    moves = (Move(production="cat", challenger="dog", rows=1),)
    column = ColumnDifferences(column="animal", kind="class", rows=4, flips=1, moves=moves, largest=rows)

    text = text_of(beside(differences=(column,), distributions=()))

    assert "another class 25.0 % 1 row" in text
    assert "1 row from cat to dog" in text
    assert "Rows whose class differs id Production Challenger 7 cat dog" in text
    assert "mean difference" not in text


def test_of_many_rows_it_is_said_how_many_were_ranked():
    column = APART.model_copy(update={"rows": 12_000_000, "ranked_rows": 1_000_000})

    assert "Spearman, 1,000,000 rows drawn" in text_of(beside(differences=(column,)))


def test_a_failure_is_told_with_the_next_step_and_that_production_stands():
    failed = {"verdict": "failed", "reason": "it died: SIGSEGV", "differences": (), "distributions": ()}

    text = text_of(beside(**failed, next_step="lamplighter challenge a --as-of b"))

    assert text.startswith("The challenger failed Failed flight_delays version 4: it died: SIGSEGV")
    assert "What production published stands, and so does its verdict." in text
    assert text.endswith("Next: lamplighter challenge a --as-of b")


def test_one_that_was_killed_or_never_asked_says_what_to_type():
    for challenger in (beside(verdict="running", differences=(), distributions=()), Beside(None, could=4)):
        text = text_of(challenger)
        assert text.startswith("The challenger has not scored this window")
        assert text.endswith("Next: lamplighter challenge flight_delays --as-of 2013-07-27")


@pytest.mark.parametrize("challenger", [None, Beside(None)])
def test_without_a_challenger_nothing_is_said(challenger):
    assert text_of(challenger) == ""
    assert "challenger" not in render_markdown(manifest(), None, challenger)


def test_one_that_would_have_blocked_production_is_called_so():
    # 5 % of 1,230 distinct rows are 61.5: with the 30 that production has in quarantine, 31 more still pass.
    for unscored, blocks in ((31, False), (32, True)):
        text = text_of(beside(unscored=unscored, scored=1_200 - unscored), quarantine_limit=0.05)
        assert ("it would have blocked the run" in text) is blocks


def test_rows_that_are_no_longer_in_the_table_are_missed():
    assert "Its rows are no longer in the table." in text_of(beside(stands=False))
    assert "no longer in the table" in challenger_sentence(beside(stands=False))


def test_the_one_line_for_the_index_the_artifacts_and_the_command():
    line = (
        "flight_delays version 4 has scored 1,197 of the same 1,200 rows; it decides otherwise on 2.0 % of the rows, "
        "rank correlation 0.930"
    )
    assert challenger_sentence(beside()) == line
    assert {"figure": "challenger", "value": line} in summary_rows(manifest(), beside())
    assert "rank correlation 0.930" in render_markdown(manifest(), None, beside())
    index = Page(render_index(IndexPage("flight_delays", [], COLUMNS, "t", challenger=f"2013-07-27: {line}"))).text
    assert f"Challenger: 2013-07-27: {line} ." in index
    assert challenger_sentence(beside(verdict="failed", reason="why")) == "flight_delays version 4 failed: why"
    assert challenger_sentence(Beside(None, could=4)) == "version 4 has not scored this window"
    assert challenger_sentence(Beside(None)) == ""
    assert "lamplighter challenge flight_delays" in challenger_sentence(beside(verdict="running"))


def test_several_predictions_each_have_their_part():
    other = APART.model_copy(update={"column": "minutes", "kind": "number", "flips": None, "moves": ()})

    text = text_of(beside(differences=(APART, other)))

    assert text.index("p_late decided otherwise") < text.index("minutes mean difference")


def test_a_window_without_rows_is_drawn():
    record = manifest(rows=RowCounts(), quarantine_reasons={}, drift=())
    nothing = ColumnDifferences(column="p_late", kind="probability", rows=0, flips=0)
    challenger = beside(rows=0, scored=0, unscored=0, differences=(nothing,), distributions=())

    html = render_window(window_page(record, challenger=challenger))

    assert "The challenger has scored no row" in html


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_of_the_data_becomes_markup(hostile):
    rows = (RowApart(key={hostile: hostile}, production=hostile, challenger=hostile),)
    moves = (Move(production=hostile, challenger=hostile, rows=1),)
    column = ColumnDifferences(column=hostile, kind="class", rows=4, flips=1, moves=moves, largest=rows)
    plain = column.model_copy(
        update={
            "column": "c",
            "moves": (Move(production="a", challenger="b", rows=1),),
            "largest": (RowApart(key={"k": "v"}, production="a", challenger="b"),),
        }
    )
    words = {"reason": hostile, "warnings": (hostile,), "unscored_reasons": {hostile: 3}, "distributions": ()}
    tame = {"reason": "r", "warnings": ("w",), "unscored_reasons": {"u": 3}, "distributions": ()}
    for verdict in ("scored", "failed"):
        pages = [
            Page(render_window(window_page(challenger=beside(verdict=verdict, differences=(one,), **said))))
            for one, said in ((column, words), (plain, tame))
        ]
        assert pages[0].structure == pages[1].structure


def test_the_record_is_read_back_as_it_was_written():
    written = challenge()
    assert type(written).model_validate_json(written.model_dump_json()) == written
