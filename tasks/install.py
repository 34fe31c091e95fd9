"""Install: a release from elsewhere is verified, checked and tried in this place, and only then takes effect, as a whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tasks.core import layout, own_code, provenance
from tasks.core.definitions.project import Definition
from tasks.core.errors import Blocked, LakeError, LamplighterError
from tasks.core.releasing import contents
from tasks.core.releasing.archive import refused
from tasks.core.releasing.installing import (
    Place,
    Request,
    begin,
    complete,
    complete_cut_short,
    decide,
    jobs_with,
    refuse_installed,
    refuse_other_code,
)
from tasks.core.releasing.records import Installation, Installed, read_journal
from tasks.core.releasing.staged import Staged, stage, verify
from tasks.shards.dry_run import DryRun, run_dry, tolerance_of, worst_difference
from tasks.shards.suites import check_suites

_PROJECT_LOCK = "deployments/jobs/.install.lock"


@dataclass(frozen=True)
class Outcome:
    """What is installed now, what another installation left that was completed first, and what is to be remarked."""

    done: Installed
    completed: Installed | None
    remarks: tuple[str, ...]


def install_release(
    place: Place,
    data: bytes,
    where: str,
    request: Request,
    *,
    agreed: Callable[[Installation], bool],
    tell: Callable[[str], None],
) -> Outcome:
    """Everything is verified and tried before `agreed` is asked, and before anything that a run reads is changed."""
    with _alone(place, request.by):
        completed = complete_cut_short(place)
        if completed:
            tell(f"Completed the installation of {completed}, which had been cut short.")
        try:
            plan, staged, remarks = _tried(place, data, where, request, tell)
            _refuse_unless(plan, agreed)
            begin(place, plan)
        except BaseException:
            _forget(place)
            raise
        return Outcome(complete(place, plan, staged), completed, remarks)


def _tried(
    place: Place, data: bytes, where: str, request: Request, tell: Callable[[str], None]
) -> tuple[Installation, Staged, tuple[str, ...]]:
    staged = stage(place.lake, data, where)
    tell(f"{staged.manifest}: {len(staged.manifest.files)} files are what was released.")
    refuse_installed(place, staged)
    other_code = refuse_other_code(place, staged, request)
    definition = _checked(staged)
    plan = decide(place, staged, request, other_code=other_code)
    tell("The job and its suites are right.")
    off, remarks = _dry_run(staged, definition)
    told = "bit for bit" if off == 0 else f"within {staged.manifest.sample.tolerance:g} (off by {off:.2g})"
    tell(f"The model scores the {plan.sample_rows:,} rows of its sample as it did there, {told}.")
    shared = tuple(
        f"the job '{name}' here scores with {plan.alias} of {plan.model} too, and will with this version"
        for name in jobs_with(place, staged.manifest)
    )
    return plan.model_copy(update={"sample_off": off}), staged, (*remarks, *_other_versions(staged), *shared)


def _other_versions(staged: Staged) -> list[str]:
    """A remark for each package that is of another version here than where the release was made."""
    here = provenance.environment()
    return [
        f"it was made with {name} {then}, and here is {here[name]}"
        for name, then in staged.manifest.environment.items()
        if name not in ("platform", "lamplighter") and here.get(name, then) != then
    ]


def _refuse_unless(plan: Installation, agreed: Callable[[Installation], bool]) -> None:
    if not agreed(plan):
        raise Blocked(f"{plan} was not installed: nobody agreed", state="nothing was changed", next_step="give --yes")


def _checked(staged: Staged) -> Definition:
    try:
        definition = verify(staged)
        check_suites(definition)
    except LamplighterError as error:
        error.state = error.state or "nothing was changed"
        raise
    return definition


def _dry_run(staged: Staged, definition: Definition) -> tuple[float, tuple[str, ...]]:
    """How far the scores of the sample are off at the worst; ReleaseRefused beyond the release's tolerance."""
    sample, version = staged.manifest.sample, staged.version()
    rows, expected = staged.table(contents.ROWS), staged.table(contents.SCORES)
    if len(rows) != sample.rows or not rows.schema.equals(definition.job.arrow_schema):
        raise refused(f"the sample in {staged.where} is not {sample.rows:,} rows of the job's columns")
    # Its own modules are those that it brings along, until it is installed.
    own_code.join(staged.project.folder)
    found = run_dry(DryRun(staged.registry.lake, version, definition.job, rows))
    off = worst_difference(expected, found.scores)
    if off > min(sample.tolerance, tolerance_of(version)):
        raise refused(
            f"{version} of {staged.manifest} does not score its sample here as it did there: a score is off by {off:g}, and "
            f"may be by {sample.tolerance:g}; {_libraries(found.warnings)}"
        )
    return off, found.warnings


def _libraries(warnings: tuple[str, ...]) -> str:
    return "; ".join(warnings) or "its libraries are of the versions that it was registered with"


@contextlib.contextmanager
def _alone(place: Place, by: str) -> Iterator[None]:
    """Of two installations the second is refused, whether they share the lake, the project or both."""
    with place.lake.lock(layout.INSTALL_LOCK, holder=by), place.project.lock(_PROJECT_LOCK, holder=by):
        yield


def _forget(place: Place) -> None:
    """What was unpacked and is not decided upon lies in nobody's way; the next installation would remove it too."""
    with contextlib.suppress(LakeError):
        if read_journal(place.lake) is None:
            place.lake.remove(layout.RELEASE_STAGING)
