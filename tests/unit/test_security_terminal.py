"""What the commands print of values, names and errors: a terminal obeys none of it, and a line of ours is not forged."""

import io
import sys

import pytest
import typer
from rich.console import Console

import flows.cli
from flows.cli import output
from tasks.core.errors import LamplighterError, SourceError

HOSTILE = (
    "\x1b]0;owned\x07 \x1b[2J \x1b]8;;https://attacker.invalid\x1b\\here \n"
    "lamplighter: forged \u202e\u061c :bomb: [red]b[/red] \x9b31m"
)
SHOWN = (
    r"\x1b]0;owned\x07 \x1b[2J \x1b]8;;https://attacker.invalid\x1b\here \n"
    r"lamplighter: forged \u202e\u061c :bomb: [red]b[/red] \x9b31m"
)


@pytest.fixture
def screen(monkeypatch):
    """What a terminal without colours is sent."""
    sent = io.StringIO()
    console = Console(**output.AS_IT_IS, file=sent, force_terminal=True, no_color=True, width=400)
    monkeypatch.setattr(output, "console", console)
    return sent


def test_a_paragraph_is_one_line_whatever_it_repeats(screen):
    output.paragraph(f"Blocked: {HOSTILE}")

    assert screen.getvalue() == f"Blocked: {SHOWN}\n"


def test_a_paragraph_of_several_lines_breaks_where_we_break_it(screen):
    output.paragraph("", "Next: this", HOSTILE)

    assert screen.getvalue() == f"\nNext: this\n{SHOWN}\n"


def test_a_table_has_a_line_for_each_row(screen):
    output.table((HOSTILE, "n"), [(HOSTILE, 1), ("x", HOSTILE)], numbers=("n",), title=HOSTILE)

    # Titles, heads and cells alike; what rich itself sends is the style of the head.
    lines = screen.getvalue().replace("\x1b[1m", "").replace("\x1b[3m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) == 4
    assert [line.count(SHOWN) for line in lines] == [1, 1, 1, 1]


def test_json_is_of_plain_signs_alone(capsys):
    output.echo_json({"value": HOSTILE + "\x7f\ud800"})

    said = capsys.readouterr().out
    assert said.replace("\n", "").isprintable()
    assert said.isascii()


def run_main(monkeypatch, error, *arguments):
    def call(_app):
        raise error

    monkeypatch.setattr(typer.Typer, "__call__", call)
    monkeypatch.setattr(sys, "argv", ["lamplighter", *arguments])
    flows.cli.main()


@pytest.mark.parametrize(
    "error", [SourceError(f"column {HOSTILE}"), ValueError(f"column {HOSTILE}")], ids=["foreseen", "unforeseen"]
)
def test_an_error_is_one_line_whatever_a_column_is_called(monkeypatch, capsys, error):
    with pytest.raises(SystemExit) as ended:
        run_main(monkeypatch, error)

    said = capsys.readouterr().err
    assert ended.value.code == 1
    (line,) = said.splitlines()
    assert line.isprintable()
    assert line.startswith("lamplighter: ")
    assert r"column \x1b]0;owned\x07" in line
    if isinstance(error, LamplighterError):
        assert SHOWN in line


def test_a_traceback_keeps_its_lines_and_obeys_nothing(monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "excepthook", sys.__excepthook__)
        with pytest.raises(SourceError) as raised:
            run_main(patch, SourceError(f"column {HOSTILE}"), "--debug")
        sys.excepthook(raised.type, raised.value, raised.tb)

    said = capsys.readouterr().err
    assert said.startswith("Traceback (most recent call last):\n")
    assert said.replace("\n", "").isprintable()
    assert r"\x1b]0;owned\x07" in said
