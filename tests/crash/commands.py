"""Commands that are killed, or whose disk fails, and what is left held against a whole one: one bench for all of them.

A command gets its place among the cases of `make crash` by a `Command`: what lies in the lake before, the command
itself, what those who look see, and what counts of the files that it leaves.
"""

import datetime as dt
import pathlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.crash.harness import (
    DONE,
    FIRST,
    SECOND,
    Broken,
    Ended,
    Install,
    age_what_is_hidden,
    everything_in,
    forked,
    run_without_prefect,
)
from tests.flows.conftest import World, make_project

Files = Mapping[str, bytes]


def every_byte(files: Files) -> object:
    """Nothing is forgiven."""
    return files


@dataclass(frozen=True)
class Command:
    """A command, as `run`: what `prepare` returned is given to it, once a fork. Its errors pass.

    `see` gives what whoever looks at the lake sees, part by part: each as it was before, or as after a whole command, at
    every instant; what cannot be read is seen by nobody, and raises. `facts`
    makes of all files (folders end with '/') what must be as after a whole command, once somebody has come back to it.
    `comes_back` is what one types then, by default the same again; `settled` are the errors by which it says that all is
    done already.
    """

    name: str
    prepare: Callable[[World], object]
    run: Callable[[World, object], object]
    see: Callable[[World], Mapping[str, object]]
    facts: Callable[[Files], object] = every_byte
    comes_back: Callable[[World, object], object] | None = None
    settled: tuple[str, ...] = ()


class CommandBench:
    """One case in a folder of its own: its lake as it was before, whole commands to compare with, and attempts."""

    def __init__(self, command: Command, folder: pathlib.Path) -> None:
        self.command, self.name, self.folder = command, command.name, folder
        self.world = make_project(folder)
        self.lake_root = folder / "lake"
        self._prepared = command.prepare(self.world)
        self._before = folder / "before"
        shutil.copytree(self.lake_root, self._before)
        self._may_be_seen = [command.see(self.world)]
        self._whole = []
        for clock in (FIRST, SECOND):
            self.reset()
            ended = self.attempt(clock)
            assert ended.outcome == DONE, ended
            self._may_be_seen.append(command.see(self.world))
            self._whole.append(command.facts(everything_in(self.lake_root)))
        assert self._may_be_seen[0] not in self._may_be_seen[1:], "nobody could see that anything was done"

    def reset(self) -> None:
        """The lake as it was before."""
        shutil.rmtree(self.lake_root)
        shutil.copytree(self._before, self.lake_root)

    def attempt(self, clock: dt.datetime, install: Install | None = None, *, kill_after: float | None = None) -> Ended:
        """One command in a fork; `install` puts points into it, `kill_after` seconds it is killed from outside."""
        return self._forked(self.command.run, clock, install, kill_after)

    def worth_killing(self, points: tuple[str, ...]) -> list[int]:
        """Every change."""
        return [n for n, point in enumerate(points, 1) if point.startswith("after ")]

    def check_visible(self, *, killed_in: str) -> None:
        """What whoever looks sees at this instant: as before, or as after a whole command."""
        for part, found in self._seen(killed_in).items():
            if found not in [known.get(part) for known in self._may_be_seen]:
                raise Broken(f"{self.name}, {killed_in}: of {part} somebody sees {found}")

    def check_recovered(self, *, killed_in: str) -> None:
        """Comes back to it, and compares with a whole command; then once more, which is to change nothing."""
        age_what_is_hidden(self.lake_root)
        for again in (killed_in, f"{killed_in}, twice"):
            ended = self._forked(self.command.comes_back or self.command.run, SECOND)
            if ended.outcome not in (DONE, *self.command.settled):
                raise Broken(f"{self.name}, {again}: the next one ended with {ended.outcome}: {ended.text}")
            if (found := self.command.facts(everything_in(self.lake_root))) not in self._whole:
                raise Broken(f"{self.name}, {again}: {_differences(found, self._whole)}")

    def _seen(self, killed_in: str) -> Mapping[str, object]:
        try:
            return self.command.see(self.world)
        except Exception as error:
            raise Broken(f"{self.name}, {killed_in}: nobody can look at it: {error}") from error

    def _forked(
        self,
        run: Callable[[World, object], object],
        clock: dt.datetime,
        install: Install | None = None,
        kill_after: float | None = None,
    ) -> Ended:
        def act() -> str:
            run_without_prefect(clock)
            run(self.world, self._prepared)
            return DONE

        return forked(self.folder, act, install, kill_after)


def _differences(found: object, wholes: list[object]) -> str:
    """What differs from that whole command to which it comes nearest."""
    if not isinstance(found, Mapping):
        return f"it is {found}, and not {wholes[0]}"
    by_whole = [
        {key: (found.get(key), whole.get(key)) for key in {*found, *whole} if found.get(key) != whole.get(key)}
        for whole in wholes
        if isinstance(whole, Mapping)
    ]
    nearest = min(by_whole, key=len)
    return f"these differ from those of a whole one: {dict(sorted(nearest.items()))}"
