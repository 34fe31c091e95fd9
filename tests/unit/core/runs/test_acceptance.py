"""Which gate a name means, and what is said of one that means none or several."""

import pytest

from tasks.core.errors import DefinitionError
from tasks.core.runs.acceptance import Choice, resolve

BETWEEN, NOT_NULL = "expect_column_values_to_be_between", "expect_column_values_to_not_be_null"
CHOICES = (
    Choice(f"{BETWEEN}(wind)", also=(BETWEEN, f"{BETWEEN}(wind, 0, 150)")),
    Choice(f"{BETWEEN}(temp, dewp)", also=(BETWEEN,)),
    Choice(
        "flights:expect_column_values_to_be_unique(key)#2", also=("expect_column_values_to_be_unique",), told="u(key)"
    ),
    Choice(f"{NOT_NULL}(carrier)", also=(NOT_NULL,), effect="quarantines"),
    Choice(f"{NOT_NULL}(tail)", also=(NOT_NULL,), effect="never"),
    Choice("quarantine_share"),
)


def refusal(*given, **more) -> str:
    with pytest.raises(DefinitionError) as refused:
        resolve(given, CHOICES, **more)
    assert "Nothing was started." in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (f"{BETWEEN}(wind)", f"{BETWEEN}(wind)"),
        (f"{BETWEEN}(wind,0,150)", f"{BETWEEN}(wind)"),
        (f" {BETWEEN}( temp,dewp ) ", f"{BETWEEN}(temp, dewp)"),
        ("expect_column_values_to_be_unique", "flights:expect_column_values_to_be_unique(key)#2"),
        ("quarantine_share", "quarantine_share"),
    ],
)
def test_a_name_means_a_gate(given, meant):
    assert resolve([given], CHOICES) == (meant,)


def test_each_gate_counts_once_in_the_order_given():
    given = ["quarantine_share", f"{BETWEEN}(wind, 0, 150)", f"{BETWEEN}(wind)"]
    assert resolve(given, CHOICES) == ("quarantine_share", f"{BETWEEN}(wind)")
    assert resolve([], CHOICES) == ()


def test_a_name_of_several_lists_them():
    said = refusal(BETWEEN)
    assert f"{BETWEEN}(wind); {BETWEEN}(temp, dewp)" in said


def test_what_does_not_block_is_explained():
    assert "blocks nothing by itself" in refusal(f"{NOT_NULL}(carrier)")
    assert "accept quarantine_share" in refusal(f"{NOT_NULL}(carrier)")
    assert "cannot be checked" in refusal(f"{NOT_NULL}(tail)")


@pytest.mark.parametrize("given", ["", "conservation", "model", "schema", "../..", "x" * 10_000])
def test_what_is_unknown_lists_what_could_be_meant(given):
    said = refusal(given)
    assert "is nothing that can be accepted" in said
    assert "give one of: " in said
    assert "quarantine_share" in said
    assert f"{NOT_NULL}(tail)" not in said


def test_a_slip_is_met_with_the_nearest_name_or_with_what_blocked():
    assert f"did you mean {BETWEEN}(wind)?" in refusal("expect_column_values_to_be_betwen(wind)")
    said = refusal("wind", blocked_by=("quarantine_share", f"{BETWEEN}(wind)"))
    assert f"the window was blocked by quarantine_share, {BETWEEN}(wind)" in said
