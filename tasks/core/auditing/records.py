"""What an audit of a job has found: plain records, kept in the lake and shown in the same words everywhere."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.core.records import Record

MOST_EXAMPLES = 20
_MOST_NAMED = 3

# Of the chain from a published row back to what it was made of, the part that does not hold.
Link = Literal["manifest", "partition", "metadata", "run", "rows", "snapshot", "model", "stray", "scores"]


class Finding(Record):
    """A break: in which file, what of it, as it is and as it must be. `as_of` is '' of what belongs to no one window."""

    link: Link
    as_of: str = ""
    file: str
    what: str
    found: str
    expected: str
    next_step: str
    batch: Annotated[int | None, Field(description="Of rows that differ, their batch, as people count.")] = None

    @property
    def sentence(self) -> str:
        return f"{self.file}: {self.what} is {self.found}, and must be {self.expected}"


class Difference(Record):
    """A value that readers see, and what comes out for the same row again."""

    as_of: str
    key: dict[str, str]
    column: str
    published: str
    again: str


class Rescored(Record):
    """A batch of a window that was scored again."""

    as_of: str
    run_id: str
    model: str
    batch: Annotated[int, Field(ge=1, description="As people count.")]
    rows: Annotated[int, Field(description="Published rows that were compared.")]
    differing: Annotated[int, Field(description="Of these, those of which a value differs.")] = 0
    by_column: Annotated[dict[str, int], Field(default_factory=dict, description="Differing values by column.")]
    examples: tuple[Difference, ...] = ()
    other_than_then: Annotated[
        tuple[str, ...],
        Field(
            description="What differs of the code and the environment since the run: floats may differ by 1e-12 then."
        ),
    ] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether it was compared bit by bit."""
        return not self.other_than_then


class Apart(Record):
    """A window of which something could not be audited, which is no fault of what readers see."""

    as_of: str
    why: str
    is_retention: Annotated[bool, Field(description="Whether the job's own policy took what it would need.")] = False


class AuditRecord(Record):
    """One audit of a job."""

    audit_version: Literal[1] = 1
    job: str
    day: Annotated[str, Field(description="On the clock of the job's windows.")]
    at: dt.datetime
    finished_at: dt.datetime
    seed: int
    scope: Annotated[tuple[str, ...], Field(description="The windows that were asked for; empty: all.")] = ()
    windows: Annotated[int, Field(description="Published windows whose chain was followed.")] = 0
    rows: Annotated[int, Field(description="Published rows of these.")] = 0
    versions: Annotated[
        tuple[str, ...], Field(description="Model versions whose files were held to their manifests.")
    ] = ()
    rescored: tuple[Rescored, ...] = ()
    not_rescored: Annotated[tuple[Apart, ...], Field(description="Drawn, and not to be scored again.")] = ()
    left_out: Annotated[tuple[Apart, ...], Field(description="Windows that a run was changing all the while.")] = ()
    findings: tuple[Finding, ...] = ()
    findings_count: Annotated[int, Field(description="All of them, listed or not.")] = 0
    carried: Annotated[
        tuple[Finding, ...], Field(description="Of an earlier audit, in what this one did not look at.")
    ] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether all windows were audited."""
        return not self.scope

    @property
    def standing(self) -> tuple[Finding, ...]:
        """All that is known to be wrong."""
        return (*self.findings, *self.carried)

    @property
    def rows_compared(self) -> int:
        return sum(one.rows for one in self.rescored)

    @property
    def rows_differing(self) -> int:
        return sum(one.differing for one in self.rescored)

    @property
    def examples(self) -> tuple[Difference, ...]:
        return tuple(each for one in self.rescored for each in one.examples)[:MOST_EXAMPLES]

    @property
    def state_name(self) -> str:
        return "Proven"

    def __str__(self) -> str:
        return f"{self.headline} {self.sentence}"

    @property
    def headline(self) -> str:
        """In one short sentence, how it stands."""
        if self.findings_count:
            return f"{self.job}: {_plural(self.findings_count, 'break')} in what readers see or in its records."
        whole = f", but of {_plural(len(self.left_out), 'window')} nothing can be said" if self.left_out else ""
        return f"{self.job}: what readers see is what the records say{whole}."

    @property
    def sentence(self) -> str:
        """What that rests on."""
        of = f"{_plural(self.windows, 'window')} with {self.rows:,} rows"
        parts = [f"The chain of {of} was followed; {self.rows_compared:,} rows were scored again{self._how()}"]
        if self.not_rescored:
            parts.append(
                f"{_plural(len({one.as_of for one in self.not_rescored}), 'window')} could not be scored again"
            )
        if self.left_out:
            parts.append(
                f"{_plural(len(self.left_out), 'window')} were left out"
                if len(self.left_out) > 1
                else "1 window was left out"
            )
        return f"{'; '.join(parts)}."

    def _how(self) -> str:
        if not self.rescored:
            return ""
        inexact = sum(one.rows for one in self.rescored if not one.is_exact)
        how = "bit by bit"
        if inexact:
            how = "within 1e-12" if inexact == self.rows_compared else f"bit by bit, {inexact:,} of them within 1e-12"
        return f", {how}, and {self.rows_differing or 'none'} differ{'s' if self.rows_differing <= 1 else ''}"

    @property
    def told(self) -> str:
        """The findings in one paragraph: the first few, and how many more."""
        named = [one.sentence for one in self.findings[:_MOST_NAMED]]
        more = self.findings_count - len(named)
        return "; ".join([*named, *([f"and {more:,} more"] if more > 0 else [])])


class _Rows(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: int = 0


class Standing(BaseModel):
    """The few parts of a record that say how a job stands: its rows and examples are long."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    day: str
    windows: int = 0
    scope: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    findings_count: int = 0
    carried: tuple[Finding, ...] = ()
    rescored: tuple[_Rows, ...] = ()

    @property
    def rows_compared(self) -> int:
        return sum(one.rows for one in self.rescored)

    @property
    def standing(self) -> tuple[Finding, ...]:
        return (*self.findings, *self.carried)

    @property
    def count(self) -> int:
        """All that is known to be wrong, listed or not."""
        return self.findings_count + len(self.carried)


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
