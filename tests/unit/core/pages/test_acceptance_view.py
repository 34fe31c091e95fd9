"""What was accepted, and what a dry run would do, as pages and summaries say it."""

import datetime as dt

from tasks.core.pages import render_markdown, render_window, summary_rows, verdicts
from tasks.core.runs.manifest import AcceptanceRecord, Trigger
from tests.page_samples import manifest as published
from tests.page_samples import window_page

AT = dt.datetime(2013, 7, 29, 3, 5, tzinfo=dt.UTC)
COMMAND = "lamplighter score a --as-of b --accept 'expect_x(temp, dewp; <b>)' --reason \"why\""


def accepted(**changes) -> AcceptanceRecord:
    values = {
        "gate": "expect_x(temp, dewp)",
        "needed": True,
        "sentence": "930 of 930 rows fail expect_x(temp, dewp); limit 5 %",
        "reason": "Celsius since <midnight>, confirmed.",
        "by": "ana",
        "at": AT,
    }
    return AcceptanceRecord(**values | changes)


def test_a_command_with_a_quoted_name_is_one_piece():
    sentence = f"lamplighter show a; then mend the feed; or publish it as it is, once: {COMMAND}"
    code = [piece.text for piece in verdicts.pieces(sentence) if piece.is_code]
    assert code == ["lamplighter show a", COMMAND]


def test_a_page_says_what_was_accepted_by_whom_when_why_and_how_it_failed():
    manifest = published().but(acceptances=(accepted(),))
    said = "expect_x(temp, dewp), by ana on 2013-07-29 03:05:00 UTC: Celsius since &lt;midnight&gt;, confirmed. What failed: 930"
    assert said in render_window(window_page(manifest)).replace("&#39;", "'")
    assert "**Accepted:** expect\\_x(temp, dewp), by ana" in render_markdown(manifest)
    assert {"figure": "accepted", "value": accepted().told} in summary_rows(manifest)
    assert accepted().told == "accepted by ana: expect_x(temp, dewp): Celsius since <midnight>, confirmed."


def test_an_acceptance_that_was_not_needed_says_so():
    spare = accepted(needed=False, sentence="")
    manifest = published().but(acceptances=(spare,))
    assert "was not needed: it did not fail." in render_window(window_page(manifest))
    assert {"figure": "accepted", "value": "expect_x(temp, dewp) was not needed"} in summary_rows(manifest)
    assert manifest.accepted == ()


def test_a_dry_run_is_not_taken_for_a_publication():
    dry = published().but(state="dry_run", trigger=Trigger(kind="dry_run"))
    headline = verdicts.headline(dry)
    assert headline.words.startswith("Dry run: would be published")
    assert headline.sentence.endswith("Nothing was published.")
    assert not dry.is_published
    blocked = dry.but(state="concluded", verdict="blocked")
    assert verdicts.headline(blocked).words == "Dry run: would be blocked"
    assert verdicts.headline(dry.but(state="running", verdict=None)).words == "Dry run: not finished"
