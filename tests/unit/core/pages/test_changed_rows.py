"""What the pages say of rows that changed since readers saw them first."""

from tasks.core.pages import WindowPage, render_markdown, render_window
from tasks.core.runs.manifest import RowChanges
from tests.page_samples import FIGURES, manifest

CHANGES = RowChanges(of_run="the-run", added=1200, removed=2, changed=3, not_compared=("<b>gone</b>",))


def page(shown):
    return render_window(WindowPage(manifest=shown, figures=FIGURES, columns=(), table="/lake/predictions/f"))


def test_the_page_and_the_summary_count_them():
    shown = manifest(changes=CHANGES)
    said = "1,200 rows added, 2 removed, 3 changed since run the-run; not compared: &lt;b&gt;gone&lt;/b&gt;"
    assert f"Against what readers saw before: {said}." in page(shown)
    assert f"| changes | {said} |" in render_markdown(shown)


def test_a_first_publication_has_none():
    assert "Against what readers saw before" not in page(manifest())
    assert "| changes |" not in render_markdown(manifest())
