"""An installation: what it would change is decided first, written down, and then done; a kill in between is made good.

Before the journal stands nothing that a run reads has changed. From then on every step may be repeated, and whoever
installs next completes them: version, files, alias, record. The job's files are some files: a run that starts while they
are written may read some of both releases, and its gates are then what stands between it and the table.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass

from pydantic import JsonValue

from tasks.core import layout, own_code, own_modules, provenance
from tasks.core.definitions.project import JOBS, SUITES, Definition, Project
from tasks.core.errors import (
    Blocked,
    DefinitionError,
    LakeCorrupt,
    LakeError,
    LamplighterError,
    NothingToDo,
    ReleaseRefused,
)
from tasks.core.models.model_events import ROLLED_BACK_FROM, recalled_in, withdrawn
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.releasing import records
from tasks.core.releasing.adoption import adopt, known
from tasks.core.releasing.contents import LOCK, PROJECT, ReleaseManifest
from tasks.core.releasing.making import project_keys
from tasks.core.releasing.records import Installation, Installed
from tasks.core.releasing.staged import Staged, model_manifest, restage
from tasks.core.rows.digest import digest_bytes
from tasks.core.storage import ABANDONED_SECONDS, Lake

_UNCHANGED = "nothing was changed"


@dataclass(frozen=True)
class Request:
    """Who asks for an installation, when, why, and what they accept."""

    at: dt.datetime
    by: str
    reason: str = ""
    force: bool = False
    other_code: bool = False


@dataclass(frozen=True)
class Place:
    """Where a release goes to: a lake, and a project that is written here as the lake is."""

    lake: Lake
    project: Lake

    @property
    def registry(self) -> Registry:
        return Registry(self.lake)

    def sha256(self, key: str) -> str | None:
        """Of a file of the project; None where there is none."""
        return self.project.sha256(key) if self.project.exists(key) else None


def refuse_installed(place: Place, staged: Staged) -> None:
    """NothingToDo where this very release is what stands here."""
    before = records.installed(place.lake, staged.manifest.job)
    if not before or before[-1].digest != staged.digest:
        return
    last = before[-1]
    named = place.registry.aliases(last.model).get(last.alias)
    if named == last.version and all(place.sha256(key) == sha256 for key, sha256 in last.files.items()):
        raise NothingToDo(
            f"{last} is installed already, since {last.at:%Y-%m-%d %H:%M} UTC by {last.by}: {last.alias} of {last.model} is "
            f"version {last.version}",
            state=_UNCHANGED,
        )


def refuse_other_code(place: Place, staged: Staged, request: Request) -> bool:
    """Whether another Lamplighter runs here than the release was made by; ReleaseRefused where nobody accepts that.

    Its own is then laid ready to be installed.
    """
    manifest, running = staged.manifest, provenance.code_record()
    if running.digest == manifest.code.digest:
        return False
    if request.other_code:
        return True
    folder = layout.release_wheel(manifest.files[manifest.wheel].sha256)
    for name in (manifest.wheel, *([LOCK] if LOCK in manifest.files else [])):
        place.lake.write_bytes(f"{folder}/{name.rpartition('/')[2]}", staged.read(name))
    wheel = place.lake.address(f"{folder}/{manifest.wheel.rpartition('/')[2]}")
    lock = place.lake.address(f"{folder}/{LOCK}")
    fetched = f"fetch the files of {place.lake.address(folder)} to this machine, then " if "://" in wheel else ""
    locked = f"python -m pip install --no-deps --require-hashes -r {lock} && " if LOCK in manifest.files else ""
    raise ReleaseRefused(
        f"{manifest} was made by Lamplighter {manifest.code.version} with the code {manifest.code.digest[:16]}, and here "
        f"Lamplighter {running.version} runs with the code {running.digest[:16]}",
        state=f"{_UNCHANGED}; its own is laid ready at {wheel}",
        next_step=f"{fetched}{locked}python -m pip install --no-deps --force-reinstall {wheel}, then install the release again; or "
        "--other-code, to install it with the Lamplighter that is here",
    )


def decide(place: Place, staged: Staged, request: Request, *, other_code: bool) -> Installation:
    """What an installation would change. Blocked, DefinitionError or ModelBlocked where it may not; changes nothing."""
    manifest = staged.manifest
    # Those of this project hold for the job from now on.
    Project(place.project).defaults()
    before = records.installed(place.lake, manifest.job)
    changed = {key: place.sha256(key) for key, new in staged.project_files.items() if place.sha256(key) != new}
    _refuse_shared(place, manifest, set(changed))
    alias_now = _aliases(place, manifest).get(manifest.model.alias)
    here = _known_version(place, manifest)
    back = _goes_back(before, staged)
    moves = here is None or here.version != alias_now
    forced = moves and not _accepted(place, manifest, here, alias_now)
    if forced and not request.force:
        raise _not_promoted(manifest, alias_now)
    if (back or forced) and not request.reason:
        raise _reason_needed(manifest, before, back=back)
    return Installation(
        number=(before[-1].number if before else 0) + 1,
        job=manifest.job,
        release=manifest.name,
        digest=staged.digest,
        at=request.at,
        by=request.by,
        reason=f"release {manifest.name}" + (f": {request.reason}" if request.reason else ""),
        back=back,
        forced=forced,
        project=str(place.project.root),
        model=manifest.model.name,
        model_digest=manifest.model.digest,
        alias=manifest.model.alias,
        replaced=alias_now,
        home=_home(manifest),
        order=manifest.order,
        files=staged.project_files,
        before=changed,
        code=provenance.code_record().digest,
        other_code=other_code,
        sample_rows=manifest.sample.rows,
        sample_off=0.0,
    )


def begin(place: Place, plan: Installation) -> None:
    """Keeps what the project's files were, and writes down what is decided: the point of no return."""
    kept = layout.release_kept(plan.job, plan.number)
    for key, sha256 in plan.before.items():
        if sha256 is not None:
            place.lake.write_bytes(f"{kept}/{key}", place.project.read_bytes(key))
    records.write_journal(place.lake, plan)


def complete(place: Place, plan: Installation, staged: Staged) -> Installed:
    """Does what is decided, or the rest of it. What is refused meanwhile (somebody moved the alias) is undone."""
    try:
        return _complete(place, plan, staged)
    except LakeError:
        raise
    except LamplighterError as error:
        _undo(place, plan)
        raise Blocked(
            error.failed, state="the job's files and the alias are as they were before", next_step=error.next_step
        ) from error


def complete_cut_short(place: Place) -> Installed | None:
    """Completes an installation that was killed after it was decided; what was killed before is swept away."""
    _refuse_old_journal(place.lake)
    plan = records.read_journal(place.lake)
    if plan is None:
        for folder in (layout.RELEASE_STAGING, layout.OLD_RELEASE_STAGING):
            place.lake.remove(folder)
        place.lake.sweep("releases", idle_seconds=ABANDONED_SECONDS)
        for folder in (JOBS, SUITES):
            place.project.sweep(folder, idle_seconds=ABANDONED_SECONDS)
        return None
    if plan.project != str(place.project.root):
        raise Blocked(
            f"the installation of {plan} into {plan.project} was cut short, and this is the project {place.project.root}",
            state=_UNCHANGED,
            next_step=f"LAMPLIGHTER_PROJECT={plan.project} lamplighter install ..., which completes it",
        )
    staged = restage(place.lake)
    _check_agrees(place.lake, plan, staged)
    return complete(place, plan, staged)


def _refuse_old_journal(lake: Lake) -> None:
    """Blocked where a journal lies at the place of before: whoever may score could have written it."""
    if lake.exists(layout.OLD_RELEASE_JOURNAL):
        raise Blocked(
            f"{lake.address(layout.OLD_RELEASE_JOURNAL)} says that an installation was cut short. An earlier Lamplighter left it, "
            "or somebody who may write there and may not install: nothing of it is followed",
            state=_UNCHANGED,
            next_step="see that the job's files and `lamplighter history MODEL` are as they should be (releases/JOB/kept/ "
            f"has what the files were), remove {lake.address(layout.OLD_RELEASE_STAGING)}, and install the release again",
        )


def _check_agrees(lake: Lake, plan: Installation, staged: Staged) -> None:
    """LakeCorrupt where the journal would change other files than the release beside it brings."""
    if (plan.digest, plan.files) != (staged.digest, staged.project_files) or not set(plan.before) <= set(plan.files):
        raise LakeCorrupt(
            f"{lake.address(layout.RELEASE_JOURNAL)} is not the journal of the release that is unpacked beside it",
            state=_UNCHANGED,
            next_step=f"remove {lake.address(layout.RELEASE_STAGING)}, and install the release again",
        )


def _complete(place: Place, plan: Installation, staged: Staged) -> Installed:
    registry = place.registry
    version = adopt(registry, model_manifest(staged), dict(staged.model_files()), at=plan.at, actor=plan.by)
    for key, sha256 in plan.files.items():
        if place.sha256(key) != sha256:
            place.project.write_bytes(key, staged.read(f"{PROJECT}/{key}"))
    if not _has_moved(registry, plan, version):
        registry.set_alias(
            plan.model,
            plan.alias,
            version.version,
            at=plan.at,
            actor=plan.by,
            reason=plan.reason,
            evidence=_evidence(plan),
            forced=plan.forced,
            expected=plan.replaced,
        )
    done = Installed(**dict(plan), version=version.version)
    records.write_installed(place.lake, done)
    place.lake.remove(layout.RELEASE_STAGING)
    return done


def _has_moved(registry: Registry, plan: Installation, version: ModelVersion) -> bool:
    """Whether the alias names the version, or did by this very installation, before somebody else moved it on."""
    release = _evidence(plan)["release"]
    moved = any(one.evidence.get("release") == release for one in registry.history(plan.model))
    return moved or registry.aliases(plan.model).get(plan.alias) == version.version


def _undo(place: Place, plan: Installation) -> None:
    kept = layout.release_kept(plan.job, plan.number)
    for key, sha256 in plan.before.items():
        if sha256 is None:
            place.project.remove(key)
        elif place.sha256(key) != sha256:
            place.project.write_bytes(key, _kept(place.lake, f"{kept}/{key}", sha256))
    place.lake.remove(layout.RELEASE_STAGING)


def _kept(lake: Lake, key: str, sha256: str) -> bytes:
    """What was kept of a file: whoever may score may write there, so LakeCorrupt where it is not what it was."""
    content = lake.read_bytes(key)
    if digest_bytes(content) != sha256:
        raise LakeCorrupt(
            f"{lake.address(key)} was changed: its SHA-256 is not {sha256}, which the file in the project had",
            state="the alias is as it was; of the job's files some are those of the release",
            next_step="restore it from a backup, then install again",
        )
    return content


def _evidence(plan: Installation) -> dict[str, JsonValue]:
    release: dict[str, JsonValue] = {
        "name": plan.release,
        "digest": plan.digest,
        "number": plan.number,
        "home": plan.home,
    }
    return {"release": release, **({ROLLED_BACK_FROM: plan.replaced} if plan.back and plan.replaced else {})}


def _home(manifest: ReleaseManifest) -> dict[str, JsonValue]:
    return {
        "version": manifest.model.version,
        "made_by": manifest.made_by,
        "promotion": manifest.promotion.model_dump(mode="json"),
    }


def _aliases(place: Place, manifest: ReleaseManifest) -> dict[str, int]:
    return place.registry.aliases(manifest.model.name)


def _known_version(place: Place, manifest: ReleaseManifest) -> ModelVersion | None:
    """The version, where it is here already; ModelBlocked where it was recalled here."""
    here = known(place.registry, manifest.model.name, manifest.model.digest)
    recalled = recalled_in(place.registry.history(manifest.model.name))
    if here is not None and here.version in recalled:
        raise withdrawn(here.name, here.version, recalled[here.version])
    return here


def jobs_with(place: Place, manifest: ReleaseManifest) -> list[str]:
    """The other jobs of this project that score with the same alias of the same model."""
    model = manifest.model
    return [
        name
        for name, one in _other_jobs(place, manifest).items()
        if (one.job.model.name, one.job.model.alias) == (model.name, model.alias)
    ]


def _refuse_shared(place: Place, manifest: ReleaseManifest, changed: set[str]) -> None:
    """Blocked where another job's query or suite would be changed with it."""
    for name, other in _other_jobs(place, manifest).items():
        if shared := changed & _keys_used(place, other):
            raise Blocked(
                f"{manifest} would change {min(shared)}, which the job '{name}' here uses too",
                state=_UNCHANGED,
                next_step=f"let '{name}' have a file of its own, or give the suite or query another name and release again",
            )


def _keys_used(place: Place, definition: Definition) -> set[str]:
    """The files of this project that make up another job: its custom expectations too, which any suite may name."""
    used = project_keys(definition)
    if not own_modules.uses_expectations(definition.job, place.project):
        return used
    return {*used, *own_modules.package_keys(own_code.EXPECTATIONS, place.project)}


def _other_jobs(place: Place, manifest: ReleaseManifest) -> dict[str, Definition]:
    """Those that can be read: another one runs nothing."""
    project, found = Project(place.project), {}
    for name in project.job_names():
        with contextlib.suppress(LamplighterError):
            if name != manifest.job:
                found[name] = project.load(name, suites=False)
    return found


def _goes_back(before: list[Installed], staged: Staged) -> bool:
    """Whether it was installed here before, or is older than what is installed, so far as both say."""
    if not before:
        return False
    return any(one.digest == staged.digest for one in before) or _is_older(staged.manifest.order, before[-1].order)


def _is_older(one: tuple[dt.datetime, ...], other: tuple[dt.datetime, ...]) -> bool:
    """By when their versions were promoted; of one version by when they were made, where both say so."""
    return one[0] < other[0] or (one[0] == other[0] and bool(one[1:] and other[1:]) and one[1] < other[1])


def _accepted(place: Place, manifest: ReleaseManifest, here: ModelVersion | None, alias_now: int | None) -> bool:
    """Whether the gate at home let the version pass, or it need not: it was in this place before, or nobody is."""
    if manifest.promotion.passed or (
        manifest.promotion.was_first and not manifest.promotion.forced and alias_now is None
    ):
        return True
    events = place.registry.history(manifest.model.name)
    return here is not None and any((one.alias, one.version) == (manifest.model.alias, here.version) for one in events)


def _not_promoted(manifest: ReleaseManifest, alias_now: int | None) -> Blocked:
    how = "by force" if manifest.promotion.forced else "without the gate's verdict"
    instead = (
        f"{manifest.model.alias} here is version {alias_now}" if alias_now else f"{manifest.model.alias} here is none"
    )
    return Blocked(
        f"{manifest.model} became {manifest.model.alias} where {manifest} was made {how}, by {manifest.promotion.by}: "
        f"{manifest.promotion.reason}; {instead}",
        state=_UNCHANGED,
        next_step=f'`lamplighter promote {manifest.model.name}` there, and release again; or install it with --force --reason "why"',
    )


def _reason_needed(manifest: ReleaseManifest, before: list[Installed], *, back: bool) -> DefinitionError:
    what = f"is a step back, from {before[-1].release} of {before[-1].at:%Y-%m-%d}" if back else "is installed by force"
    return DefinitionError(
        f"{manifest} {what}, which needs a reason: it stays in the history",
        state=_UNCHANGED,
        next_step='give --reason "why"',
    )
