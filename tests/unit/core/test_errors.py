"""Errors: one tree, one paragraph each, and whole after they crossed from a child process."""

import pickle

import pytest

from tasks.core import errors
from tasks.core.errors import LakeFull, LamplighterError

TREE = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LamplighterError)]
# As the drawing in the module's docstring says.
EXIT_CODES = {
    "LamplighterError": 1,
    "DefinitionError": 2,
    "JobError": 2,
    "SuiteError": 2,
    "ModelNotFound": 2,
    "Blocked": 3,
    "SchemaBlocked": 3,
    "ModelBlocked": 3,
    "WindowBlocked": 3,
    "SourceLate": 3,
    "PartlyBlocked": 3,
    "ReleaseRefused": 3,
    "NotPromoted": 3,
    "WindowFinished": 0,
    "NothingToDo": 0,
    "WindowBusy": 1,
    "Incomplete": 1,
    "SourceError": 1,
    "LakeError": 1,
    "LakeFull": 1,
    "LakeCorrupt": 1,
    "SnapshotGone": 1,
    "WorkerError": 1,
    "ChildDied": 1,
    "OrchestrationError": 1,
    "NotDelivered": 1,
    "Differs": 3,
    "ChallengerFailed": 1,
    "NotConserved": 1,
}


def test_the_tree_and_its_exit_codes():
    assert {kind.__name__: kind.exit_code for kind in TREE} == EXIT_CODES
    assert all(name in errors.__doc__ for name in EXIT_CODES)


def test_one_paragraph_of_what_failed_what_state_remains_and_what_to_type_next():
    error = LakeFull("No space left on /lake", state="what was published stands", next_step="free space")
    assert str(error).lower() == "no space left on /lake. what was published stands. next: free space."
    assert str(LakeFull("it failed!")).lower() == "it failed!"
    assert (
        str(LakeFull("it failed", next_step="type `lamplighter check`"))
        .lower()
        .endswith("next: type `lamplighter check`")
    )


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind):
    error = kind("what", state="state", next_step="next")
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is kind
    assert (found.failed, found.state, found.next_step, str(found)) == ("what", "state", "next", str(error))
