"""The short version of `make crash`: a third of the changes of each case, and some faults.

It runs in a process of its own: what forks must not have started threads, as the other tests do.
"""

import re
import subprocess
import sys

import pytest


def _run(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "tests.crash", *arguments], capture_output=True, text=True, check=False, timeout=3600
    )
    last = (done.stdout.splitlines() or [""])[-1]
    told = re.fullmatch(r"(\d+) kill points, (\d+) faults, (\d+) cases, (\d+) lost", last)
    assert told, done.stdout + done.stderr
    return done, *map(int, told.groups())


def test_nothing_is_lost_by_kills_and_faults():
    done, kills, faults, cases, lost = _run("--short")

    assert (lost, done.returncode) == (0, 0), done.stdout
    assert (kills >= 130, faults, cases) == (True, 44, 11)


@pytest.mark.slow
def test_nothing_is_lost_at_two_hundred_instants_of_every_case():
    done, kills, faults, cases, lost = _run()

    assert (lost, done.returncode) == (0, 0), done.stdout
    assert (kills >= 2000, faults >= 780, cases) == (True, True, 11)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("conclude-early", marks=pytest.mark.slow),
        pytest.param("no-undo", marks=pytest.mark.slow),
        pytest.param("stale-rejects", marks=pytest.mark.slow),
        pytest.param("forget-intent", marks=pytest.mark.extras),
    ],
)
def test_a_broken_publication_is_found(what):
    """The checker is checked: four ways to get it wrong, each of which somebody might take for the right one."""
    case = {"stale-rejects": "republish with quarantine", "forget-intent": "recall"}.get(what, "republish")
    done, _, _, _, lost = _run("--changes", "--break", what, "--case", case)

    assert lost > 0, done.stdout
    assert done.returncode == 1
