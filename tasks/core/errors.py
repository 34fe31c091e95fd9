"""Every error that Lamplighter raises on purpose: one tree, one paragraph each.

LamplighterError                       exit  what happened
├── DefinitionError                     2    a job, suite, model name or option is wrong; nothing was started
│   ├── JobError                             the job's YAML
│   ├── SuiteError                           the suite's JSON
│   └── ModelNotFound                        no such model, version or alias
├── Blocked                             3    a gate said no: nothing visible changed
│   ├── SchemaBlocked                        the source's columns are not the job's
│   ├── ModelBlocked                         the model is not what was registered, or does not behave
│   ├── WindowBlocked                        the window cannot be pulled (empty, past and not replayable)
│   ├── SourceLate                           the source was not ready in time
│   ├── PartlyBlocked                        some windows of several are blocked, and none failed
│   ├── ReleaseRefused                       a release is not as it was made, or may not be installed here
│   └── NotPromoted                          a version does not pass the gate, or a person said no
├── WindowFinished                      0    the window is published already: there was nothing to do
├── NothingToDo                         0    all is as it was asked for
├── WindowBusy                          1    another run holds this job and window
├── Incomplete                          1    some windows of several are not done
├── SourceError                         1    the source could not be read
├── LakeError                           1    the lake could not be read or written
│   ├── LakeFull                             no space left
│   ├── LakeCorrupt                          a file is not what its record says
│   └── SnapshotGone                         retention has removed the rows that a run pulled
├── WorkerError                         1    a child process died or overran its time limit
│   └── ChildDied                            it died: of a signal, or by its own hand
├── OrchestrationError                  1    the Prefect server did not answer, or one of its processes would not run
├── NotDelivered                        1    a window is published, and the job's database does not have its rows
├── Differs                             3    an audit found what is not as its records say; nothing was changed
├── ChallengerFailed                    1    the challenger did not score a window; production's rows stand
└── NotConserved                        1    rows in and rows out differ: nothing was published
"""

from __future__ import annotations

_LONGEST_SENTENCE = 4000


class LamplighterError(Exception):
    """One paragraph: what failed with its values, what state remains, and the command to type next."""

    exit_code = 1

    def __init__(self, failed: str, *, state: str = "", next_step: str = "") -> None:
        self.failed = failed
        self.state = state
        self.next_step = next_step
        super().__init__(failed, state, next_step)

    def __str__(self) -> str:
        state = self.state[:1].upper() + self.state[1:]
        sentences = [self.failed, state, f"Next: {self.next_step}" if self.next_step else ""]
        return " ".join(_as_sentence(sentence) for sentence in sentences if sentence)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross from child processes; keyword arguments would be lost by the default.
        return (_rebuild, (type(self), self.failed, self.state, self.next_step))


def _rebuild(kind: type[LamplighterError], failed: str, state: str, next_step: str) -> LamplighterError:
    return kind(failed, state=state, next_step=next_step)


def _as_sentence(text: str) -> str:
    text = text.strip()
    if len(text) > _LONGEST_SENTENCE:
        # It repeats what somebody has given, and that may be of any length.
        text = f"{text[: _LONGEST_SENTENCE // 2]} ... {text[-_LONGEST_SENTENCE // 2 :]}"
    return text if text.endswith((".", "!", "?", "'", "`")) else f"{text}."


class DefinitionError(LamplighterError):
    """A definition or an option is wrong; nothing was started."""

    exit_code = 2


class JobError(DefinitionError):
    """A job's YAML is wrong."""


class SuiteError(DefinitionError):
    """An expectation suite is wrong, or holds what is not supported."""


class ModelNotFound(DefinitionError):
    """No such model, version or alias in the registry."""


class Blocked(LamplighterError):
    """A gate said no. Nothing that a reader sees has changed."""

    exit_code = 3


class SchemaBlocked(Blocked):
    """The source's columns are not those that the job declares; `found` are their names, where these are at fault."""

    found: tuple[str, ...] = ()


class ModelBlocked(Blocked):
    """The model is not what was registered, or its predictions cannot be used."""


class WindowBlocked(Blocked):
    """The window cannot be pulled: empty, or past for a source that knows the present only."""


class SourceLate(Blocked):
    """The source did not say in time that the window is complete."""


class PartlyBlocked(Blocked):
    """Some windows of several are blocked, and none failed; `summary` says what became of each."""

    summary: object = None


class ReleaseRefused(Blocked):
    """A release's file is not as it was made, or what it holds does not do here what it did at home."""


class NotPromoted(Blocked):
    """A version does not pass the gate, or somebody said no; `verdict` is the gate's, as JSON."""

    verdict: object = None


class WindowFinished(LamplighterError):
    """The window is published already, and nothing asks for it again. Not a failure."""

    exit_code = 0


class NothingToDo(LamplighterError):
    """All is as it was asked for. Not a failure."""

    exit_code = 0


class WindowBusy(LamplighterError):
    """Another run holds the lock of this job and window."""


class Incomplete(LamplighterError):
    """Some windows of several are not done; `summary` says what became of each."""

    summary: object = None


class SourceError(LamplighterError):
    """The source could not be read."""


class LakeError(LamplighterError):
    """The lake could not be read or written."""


class LakeFull(LakeError):
    """No space is left in the lake."""


class LakeCorrupt(LakeError):
    """A file in the lake is not what its record says."""


class SnapshotGone(LakeError):
    """Retention has removed the rows that a run pulled: what needs them cannot be done."""


class WorkerError(LamplighterError):
    """A child process died, or overran its time limit."""


class ChildDied(WorkerError):
    """A child process died; `how` is the signal or the exit code."""

    how: str = "unknown"

    def __reduce__(self) -> tuple[object, ...]:
        return (*super().__reduce__(), {"how": self.how})


class OrchestrationError(LamplighterError):
    """The Prefect server did not answer or refused, or one of its processes would not run."""


class NotDelivered(LamplighterError):
    """A window is published in the lake, and the database that gets its rows too does not have them.

    `summary` is the record of a recall whose windows it speaks of.
    """

    summary: object = None


class Differs(LamplighterError):
    """What readers see, or what it was made of, is not as its records say; `summary` is the audit's record."""

    exit_code = 3
    summary: object = None


class ChallengerFailed(LamplighterError):
    """The challenger did not score the rows that production published, which stand as they did."""


class NotConserved(LamplighterError):
    """Rows in and rows out differ: nothing was published."""
