"""What the index says of the last audit: a quiet line, or what is broken and what to type."""

import pytest

from tasks.core.auditing.records import Finding, Standing
from tasks.core.pages import IndexPage, render_index
from tests import monitor_samples as samples
from tests.page_samples import COLUMNS, HOSTILE, Page

BROKEN = Finding(
    link="partition",
    as_of="2013-07-01",
    file="/lake/predictions/late/as_of=2013-07-01/part-x.parquet",
    what="its SHA-256",
    found="aaaa",
    expected="bbbb, as its manifest says",
    next_step='restore it, or: lamplighter score late --as-of 2013-07-01 --rescore "it was damaged"',
)


def index(audit):
    page = IndexPage(job="late", points=samples.points(3), columns=COLUMNS, table="lake/predictions/late", audit=audit)
    return render_index(page)


def standing(*findings, **changes):
    values = {"day": "2013-07-07", "windows": 30, "findings": findings, "findings_count": len(findings)}
    return Standing(**values | {"rescored": [{"rows": 900}, {"rows": 100}]} | changes)


def test_a_job_that_was_never_audited_says_nothing_of_it():
    assert "udited" not in Page(index(None)).text


def test_what_is_whole_is_a_quiet_line():
    text = Page(index(standing())).text
    assert "Audited on 2013-07-07: 30 windows held against the records, 1,000 rows scored again" in text
    assert "what readers see is what the records say" in text


def test_what_is_broken_is_named_with_what_to_type():
    html = index(standing(BROKEN, *[BROKEN] * 7))
    text = Page(html).text
    assert "8 breaks found by the audit of 2013-07-07" in text
    assert f"{BROKEN.file}: its SHA-256 is aaaa, and must be bbbb, as its manifest says" in text
    assert "<code>lamplighter score late --as-of 2013-07-01 --rescore &#34;it was damaged&#34;</code>" in html
    assert "5 of 8 breaks are shown" in text


def test_what_an_earlier_audit_found_still_counts():
    assert "1 break found by the audit of" in Page(index(standing(carried=(BROKEN,)))).text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_changes_the_words_and_nothing_else(text):
    hostile = BROKEN.model_copy(update={"file": text, "found": text, "what": text, "expected": text})
    plain = BROKEN.model_copy(update={"next_step": hostile.next_step})
    assert Page(index(standing(hostile))).structure == Page(index(standing(plain))).structure
