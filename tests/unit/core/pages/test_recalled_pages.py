"""What the pages say of a window after a recall: withdrawn, restored, or waiting; hostile reasons stay text."""

from tasks.core.pages import IndexPage, JobLine, WindowPage, WindowPoint, render_home, render_index, render_window
from tasks.core.pages.index_view import status
from tasks.core.runs.manifest import Restoration, Withdrawal
from tests.page_samples import FIGURES, manifest, utc

WHY = Withdrawal(
    model="flight_delays",
    version=3,
    at=utc(2013, 8, 1, 9),
    by="ann",
    reason="it learnt from <b>the future</b>.",
    restores="good-run",
    notes=("run newer was not restored: its SHA-256 differs",),
)
WITHDRAWN = manifest(state="withdrawn", withdrawal=WHY)
RESTORED = manifest(
    run_id="good-run", restored=Restoration(at=utc(2013, 8, 1, 9), by="ann", reason="so", instead_of=WITHDRAWN.run_id)
)


def page(shown, **changes):
    return render_window(
        WindowPage(manifest=shown, figures=FIGURES, columns=(), table="/lake/predictions/f", **changes)
    )


def test_a_withdrawn_window_says_who_when_why_what_readers_see_and_what_to_type():
    drawn = page(WITHDRAWN, standing=RESTORED)

    assert "<h1>Withdrawn</h1>" in drawn
    assert "Version 3 of flight_delays was recalled on 2013-08-01 09:00:00 UTC by ann" in drawn
    assert "it learnt from &lt;b&gt;the future&lt;/b&gt;. What run good-run had published is in its place." in drawn
    assert f"back since run {WITHDRAWN.run_id} was withdrawn" in drawn
    assert "<code>lamplighter backfill flight_delays --queued</code>" in drawn
    assert "run newer was not restored" in drawn
    assert "and were withdrawn with the rest" in drawn


def test_with_nothing_in_its_place_readers_see_nothing():
    drawn = page(manifest(state="withdrawing", withdrawal=WHY.model_copy(update={"restores": None})))

    assert "Nothing is in its place." in drawn
    assert "Nothing for this window: what it had was withdrawn." in drawn


def test_a_window_says_whether_a_database_has_it():
    assert "<dt>Database</dt><dd><bdi>NOT delivered: &lt;gone&gt;</bdi></dd>" in page(
        manifest(), delivery="NOT delivered: <gone>"
    )
    assert "<dt>Database</dt>" not in page(manifest())


def test_a_window_that_waits_says_why():
    assert "version 3 &lt;was&gt; recalled" in page(manifest(), waits="version 3 <was> recalled")
    assert "<dt>Waits</dt>" not in page(manifest())


def test_lists_show_what_a_recall_has_changed_and_withdrawn_needs_a_look():
    points = [WindowPoint.of(one) for one in (WITHDRAWN, RESTORED, manifest())]
    assert [one.verdict for one in points] == ["withdrawn", "restored", "published"]
    assert status(points, 3) == "3 windows: 1 published, 1 restored, 1 withdrawn."

    index = render_index(IndexPage(job="flight_delays", points=points, columns=(), table="/lake/predictions/f"))
    for words in ("Withdrawn", "Restored", "Published"):
        assert f'">{words}</span>' in index
    home = render_home([JobLine("flight_delays", "f/index.html", last=points[0])])
    assert "1 of 1 job needs a look" in home
    assert "Withdrawn" in home


def test_a_run_that_was_superseded_after_it_came_back_is_not_restored_any_more():
    assert WindowPoint.of(RESTORED.but(state="superseded")).verdict == "published"
    assert "<h1>Superseded</h1>" in page(RESTORED.but(state="superseded"))
