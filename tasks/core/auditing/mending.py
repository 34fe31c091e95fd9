"""What to type about a finding: the command that mends it, or what to restore first."""

from __future__ import annotations

from dataclasses import dataclass

UNREADABLE = "see to the disk and its permissions, and audit again"


@dataclass(frozen=True)
class Mending:
    """The next steps of one window."""

    job: str
    as_of: str

    def partition(self) -> str:
        return f"restore the file from a backup, or publish the window again from its snapshot: {self._score('its partition was damaged', kept=True)}"

    def manifest(self) -> str:
        return f"restore the file from a backup, or score the window again: {self._score('its manifest was changed')}"

    def several(self) -> str:
        folder = f"runs/{self.job}/as_of={self.as_of}/"
        return f"keep the run whose file the table holds, and move the folder of the other out of {folder}; then: {self._audit()}"

    def unreadable(self) -> str:
        folder = f"runs/{self.job}/as_of={self.as_of}/"
        return f"restore the file from a backup, or move the run's folder out of {folder} and score the window again: {self._score('its manifest was lost')}"

    def snapshot(self) -> str:
        return (
            "restore the file from a backup; without it what readers see cannot be explained. Or score the window again, "
            f"which pulls it anew: {self._score('its snapshot was damaged')}"
        )

    def stray(self, *, known: bool) -> str:
        """Of a file that no manifest knows; `known`: another one of the window does stand in a manifest."""
        if known:
            return f"see whose it is, and move it out of the table; then: {self._audit()}"
        return (
            f"restore the run's folder in runs/{self.job}/as_of={self.as_of}/ from a backup, or move the file out of the table "
            f"and score the window: lamplighter score {self.job} --as-of {self.as_of}"
        )

    def scores(self) -> str:
        return f"find out who wrote them; then publish the window again from its snapshot: {self._score('its rows are not what its model says', kept=True)}"

    def _score(self, why: str, *, kept: bool = False) -> str:
        kept_rows = " --from-snapshot" if kept else ""
        return f'lamplighter score {self.job} --as-of {self.as_of} --rescore "{why}"{kept_rows}'

    def _audit(self) -> str:
        return f"lamplighter audit {self.job} --as-of {self.as_of}"


def of_version(model: str, version: int) -> str:
    """Of the files of a model version."""
    return (
        f"restore models/{model}/versions/{version:04d}/ from a backup; until then: lamplighter rollback {model} "
        f'--reason "version {version} was changed"; and if it has scored since: lamplighter recall {model} --version {version} '
        '--reason "its files were changed"'
    )
