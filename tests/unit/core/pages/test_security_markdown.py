"""What Prefect's UI takes for Markdown, read by a parser of CommonMark: of what data say, nothing but words is left.

A picture in it would be fetched by whoever opens the page, from wherever the data say.
"""

import pytest
from markdown_it import MarkdownIt

from tasks import outcome
from tasks.core.pages import look_markdown, promotion_markdown, render_markdown
from tasks.core.pages.markdown import escape
from tasks.core.runs.manifest import SuiteRecord
from tests import monitor_samples
from tests.page_samples import DIGEST, HOSTILE, drift, expectation, manifest
from tests.unit.core.pages.test_promotion_page import METRIC, a_slice, verdict

PICTURE = "![x](https://attacker.invalid/i.png)"
TEXTS = [
    *HOSTILE,
    PICTURE,
    f"\\{PICTURE}",
    f"\\\\{PICTURE}",
    "![x][1]\n\n[1]: https://attacker.invalid/i.png",
    "[x](javascript:alert(1))",
    "<https://attacker.invalid/>",
    "<img src=https://attacker.invalid/i.png>",
    "&lt;img src=x onerror=alert(1)&gt;",
    "&#33;[x](https://attacker.invalid/i.png)",
    "`` ` ``![x](https://attacker.invalid/i.png)",
    "a | b | c |\n| - | - |",
    "# heading",
    "- list",
    "1. list",
    "1) list",
    "> quoted",
    "=====",
    "---",
    "***",
    "```\ncode",
    "    code",
    "~~gone~~",
    "*a* _b_ **c** __d__",
]
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
WORDS = {"text", "softbreak", "text_special", "html_entity"}


def kinds(markdown):
    """What a reader makes of it, beside words: the kinds of blocks and of what stands in them."""
    found = []
    for token in PARSER.parse(markdown):
        found.append(token.type)
        found += [child.type for child in token.children or () if child.type not in WORDS]
    return found


def shown(markdown):
    return "".join(child.content for token in PARSER.parse(markdown) for child in token.children or ())


@pytest.mark.parametrize("text", TEXTS)
def test_escaped_it_is_one_paragraph_of_the_same_words(text):
    assert kinds(escape(text)) in (["paragraph_open", "inline", "paragraph_close"], [])
    same = str.maketrans("", "", " \t\n\ufffd")
    assert set(text.translate(same)) - set(shown(escape(text))) <= set("\x00\x1b\x7f\ufffe\u202e\u200e")


def test_no_link_is_made_of_what_only_looks_like_an_address():
    """As GitHub's Markdown has it, of which no parser is here."""
    assert escape("see WWW.attacker.invalid, http://attacker.invalid, a@attacker.invalid") == (
        r"see WWW\.attacker.invalid, http\://attacker.invalid, a\@attacker.invalid"
    )


def of_a_window(text):
    failing = expectation(consequence="blocks", success=False, sentence=text, examples=(text,))
    return render_markdown(
        manifest(
            reasons=(text,),
            quarantine_reasons={text: 1},
            drift=(drift(text, 0.1),),
            next_step=text,
            suite=SuiteRecord(name="s", digest=DIGEST, success=False, expectations=(failing,)),
        )
    )


def of_a_look(text):
    alarm = monitor_samples.DEGRADED.model_copy(update={"reason": text, "onset": text})
    return look_markdown(monitor_samples.monitored(alarms=(alarm,)).model_copy(update={"notes": (text,)}))


def of_a_verdict(text):
    failed = a_slice(f"c = {text}", "failed", sentence=f"c = {text}: fell.")
    return promotion_markdown(verdict(METRIC, failed, job=text, first=text), "https://pages.example/v.html")


@pytest.mark.parametrize("made", [of_a_window, of_a_look, of_a_verdict])
@pytest.mark.parametrize("text", TEXTS)
def test_the_artifact_is_made_of_what_it_is_made_of_with_harmless_words(made, text):
    assert kinds(made(text)) == kinds(made("harmless words"))


def test_a_reason_that_somebody_gave_is_words_in_the_description_of_a_table(monkeypatch):
    made = {}
    monkeypatch.setattr(outcome, "flow_run", type("Run", (), {"id": "1"}))
    monkeypatch.setattr(
        outcome, "create_table_artifact", lambda rows, key, description: made.update({key: description})
    )
    outcome.show_table("late backfill", [], PICTURE)
    assert kinds(made["late-backfill"]) == ["paragraph_open", "inline", "paragraph_close"]


def test_the_check_finds_a_picture():
    assert "image" in kinds(PICTURE)
    assert "html_inline" in kinds("a <img src=x>")
