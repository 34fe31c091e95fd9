"""The short version of `make crash`: a part of the changes of each case, and some lines and faults.

It runs in a process of its own: what forks must not have started threads, as the other tests do.
"""

import re
import subprocess
import sys

import pytest


def _run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", *arguments], capture_output=True, text=True, check=False, timeout=7200
    )
    last = (done.stdout.splitlines() or [""])[-1]
    told = re.fullmatch(r"(\d+) kill points, (\d+) faults, (\d+) cases, (\d+) lost", last)
    assert told, done.stdout + done.stderr
    return done, *map(int, told.groups())


def test_nothing_is_lost_by_kills_and_faults():
    done, kills, faults, cases, lost = _run("--short")

    assert (lost, done.returncode) == (0, 0), done.stdout
    assert (kills >= 60, faults, cases) == (True, 19, 19)


@pytest.mark.slow
def test_nothing_is_lost_at_two_hundred_instants_of_every_case():
    done, kills, faults, cases, lost = _run()

    assert (lost, done.returncode) == (0, 0), done.stdout
    assert (kills >= 2400, faults >= 2400, cases) == (True, True, 24)


@pytest.mark.parametrize(
    ("what", "case"),
    [
        pytest.param("conclude-early", "republish", marks=pytest.mark.slow),
        pytest.param("no-undo", "republish", marks=pytest.mark.slow),
        pytest.param("stale-rejects", "republish with quarantine", marks=pytest.mark.slow),
        pytest.param("forget-intent", "recall", marks=pytest.mark.slow),
        pytest.param("event-in-two-steps", "promote", marks=pytest.mark.slow),
        pytest.param("version-before-its-manifest", "register", marks=pytest.mark.extras),
        pytest.param("unflushed-file", "promote", marks=pytest.mark.extras),
        pytest.param("unflushed-folder", "register", marks=pytest.mark.slow),
    ],
)
def test_a_broken_publication_is_found(what, case):
    """The checker is checked: ways to get it wrong, each of which somebody might take for the right one."""
    done, _, _, _, lost = _run("--changes", "--break", what, "--case", case)

    assert lost > 0, done.stdout
    assert done.returncode == 1
