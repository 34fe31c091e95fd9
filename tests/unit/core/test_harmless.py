"""What values may do to a terminal or a page: nothing, and none of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.harmless import harmless, harmless_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("line1\nlamplighter: forged", r"line1\nlamplighter: forged"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31mred", r"\x9b31mred"),
        ("\u202eevil\u2066\u061c\u200f", r"\u202eevil\u2066\u061c\u200f"),
        ("a\u2028b\u2029c\x85d\x0be", r"a\u2028b\u2029c\x85d\x0be"),
        ("\ud800", r"\ud800"),
        ("Ελλάδα, été, 東京, مرحبا, 🙂, a\\n", "Ελλάδα, été, 東京, مرحبا, 🙂, a\\n"),
    ],
)
def test_what_would_be_obeyed_is_spelt_out_and_letters_stay(text, shown):
    assert harmless(text) == shown


def test_a_text_of_many_lines_keeps_its_own_breaks_alone():
    assert harmless_lines("Traceback:\n  y\r\x1b[2J\u2028z\n") == "Traceback:\n  y\\r\\x1b[2J\\u2028z\n"


@given(st.text(st.characters(exclude_categories=()), max_size=100))
def test_any_text_is_one_line_of_utf_8_that_ends_up_the_same_the_second_time(text):
    safe = harmless(text)

    assert len(safe.splitlines()) <= 1
    assert "\x1b" not in safe
    safe.encode("utf-8")
    assert harmless(safe) == safe
