"""docs/security.md is held by tests: each that it names is there, and every link of it leads somewhere."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()


def anchor(heading):
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def headings(text):
    return {anchor(found) for found in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_every_test_that_is_named_is_there():
    named = re.findall(r"`(tests/[\w/.]+)`", PAGE)
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_link_leads_somewhere():
    for page, part in re.findall(r"\]\(([\w.-]*)#([\w-]+)\)", PAGE):
        assert part in headings((ROOT / "docs" / page).read_text() if page else PAGE), (page, part)
