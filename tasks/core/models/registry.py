"""The registry: model versions in folders that never change, and an append-only history from which aliases follow.

    models/<name>/versions/0001/   model.joblib, signature.json, probe.parquet, ..., manifest.json
    models/<name>/events/000001.json   one change each, created exclusively: of two at once, one gets the number

A version is prepared under a hidden name and moved into place in one step, so what has a number is complete.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, JsonValue, ValidationError

from tasks.core.definitions.terms import check_name
from tasks.core.errors import DefinitionError, LakeCorrupt, LakeError, ModelBlocked, ModelNotFound
from tasks.core.models.contents import (
    BENCHMARK,
    CALIBRATION,
    CARD,
    ESTIMATOR,
    EXPECTED,
    LOSS_MODEL,
    MANIFEST,
    NULL_PERFORMANCE,
    NULL_WINDOWS,
    PROBE,
    PROFILE,
    SIGNATURE,
    check_probe,
    contents_of,
    json_bytes,
)
from tasks.core.models.formats import get_format
from tasks.core.models.model_events import (
    aliases_in,
    last_event,
    moved,
    recalled_in,
    refuse_elsewhere,
    why_recalled,
    withdrawn,
)
from tasks.core.models.model_version import Candidate, Event, FileRecord, ModelManifest, ModelVersion, Signature, Usual
from tasks.core.monitoring.records import Calibration
from tasks.core.records import parse_object, parse_record
from tasks.core.storage import ABANDONED_SECONDS, Lake

_ANY = object()
_Record = TypeVar("_Record", bound=BaseModel)


class Registry:
    """The models of a lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    # -- versions -----------------------------------------------------------------------------------------------

    def register(self, name: str, candidate: Candidate, *, at: dt.datetime, actor: str) -> ModelVersion:
        """Puts a version into the registry under the next free number, whole or not at all. Moves no alias."""
        check_name(name, "a model", state="nothing was registered")
        get_format(candidate.signature.format)
        check_probe(candidate)
        staging = f"{_folder(name)}/versions/.tmp-{uuid.uuid4().hex}"
        # What somebody was killed over; whoever registers now is younger than that.
        self.lake.sweep(f"{_folder(name)}/versions", idle_seconds=ABANDONED_SECONDS)
        try:
            return self._move_in(name, staging, candidate, at, actor)
        except BaseException:
            with contextlib.suppress(LakeError):
                self.lake.remove(staging)
            raise

    def _move_in(self, name: str, staging: str, candidate: Candidate, at: dt.datetime, actor: str) -> ModelVersion:
        files = {file: self._stage(f"{staging}/{file}", content) for file, content in contents_of(candidate).items()}
        while True:
            number = max(self.numbers(name), default=0) + 1
            manifest = ModelManifest(
                name=name,
                version=number,
                registered_at=at,
                registered_by=actor,
                files=files,
                training=candidate.training,
                code=candidate.code,
                environment=candidate.environment or {},
                origin=candidate.origin,
                compilation=candidate.compilation,
            )
            # Last in the folder, and again for another number when somebody else has just taken this one.
            self.lake.write_bytes(f"{staging}/{MANIFEST}", json_bytes(manifest))
            if self.lake.try_rename(staging, version_folder(name, number)):
                return ModelVersion(manifest, candidate.signature)

    def names(self) -> list[str]:
        """The models that have a version."""
        return [name for name in self.lake.names("models") if self.numbers(name)]

    def numbers(self, name: str) -> list[int]:
        """The version numbers of a model, ascending; none of a model that is not there."""
        found = self.lake.names(f"{_folder(name)}/versions")
        if strange := [entry for entry in found if not entry.isdecimal()]:
            path = self.lake.address(f"{_folder(name)}/versions/{strange[0]}")
            raise LakeCorrupt(f"{path} is no version of a model", next_step="move it out of the registry")
        return sorted(int(entry) for entry in found)

    def versions(self, name: str) -> list[ModelVersion]:
        return [self.version(name, number) for number in self._some_numbers(name)]

    def version(self, name: str, number: int) -> ModelVersion:
        """A version; ModelNotFound lists what there is."""
        self.check_known(name, number)
        key = f"{version_folder(name, number)}/{MANIFEST}"
        manifest = self._record(key, ModelManifest)
        if (manifest.name, manifest.version) != (name, number):
            raise LakeCorrupt(
                f"{self.lake.address(key)} is the manifest of {manifest.name[:100]} version {manifest.version}",
                state="nothing was changed",
                next_step="restore it from a backup",
            )
        signature = self._parsed(key, _read_verified(self.lake, manifest, SIGNATURE), Signature)
        return ModelVersion(manifest, signature)

    def check_known(self, name: str, number: int | None = None) -> None:
        """ModelNotFound where there is no such model or version, be its files whole or not."""
        numbers = self._some_numbers(name)
        if number is not None and number not in numbers:
            raise ModelNotFound(
                f"the model '{name}' has no version {number}; there are: {_listed(numbers)}",
                next_step="give one of these",
            )

    def read(self, version: ModelVersion, file: str) -> bytes:
        """A file of a version, read once and verified; ModelBlocked where it is not what the manifest says."""
        return _read_verified(self.lake, version.manifest, file)

    def profile(self, version: ModelVersion) -> dict[str, Any]:
        """The reference profile."""
        return self._object(version, PROFILE)

    def benchmark(self, version: ModelVersion) -> dict[str, Any]:
        return self._object(version, BENCHMARK)

    def card(self, version: ModelVersion) -> dict[str, Any]:
        return self._object(version, CARD)

    def probe(self, version: ModelVersion) -> tuple[pa.Table, pa.Table]:
        """The probe's input rows, and what the model made of them when it was registered."""
        rows, expected = (self._table(version, file) for file in (PROBE, EXPECTED))
        return rows, expected

    # What is usual of a version: None of one of before this was kept, and of one whose past is not known.

    def calibration(self, version: ModelVersion) -> Calibration | None:
        """What is usual, and what the lines of alarms are worked out from; what it lacks says why."""
        content = self._read_kept(version, CALIBRATION)
        key = f"{version_folder(version.name, version.version)}/{CALIBRATION}"
        return None if content is None else self._parsed(key, content, Calibration)

    def null_windows(self, version: ModelVersion) -> pa.Table | None:
        """What was counted of every unit of the past, in the bins of the reference (tasks.core.monitoring.observed)."""
        return self._table(version, NULL_WINDOWS) if NULL_WINDOWS in version.manifest.files else None

    def null_performance(self, version: ModelVersion) -> pa.Table | None:
        """How every window of the past went, out of sample: as_of, unit, labelled, figure, value."""
        return self._table(version, NULL_PERFORMANCE) if NULL_PERFORMANCE in version.manifest.files else None

    def estimator(self, version: ModelVersion) -> dict[str, Any] | None:
        """How the performance is estimated before there are labels (tasks.core.estimation)."""
        return self._object(version, ESTIMATOR) if ESTIMATOR in version.manifest.files else None

    def loss_model(self, version: ModelVersion) -> bytes | None:
        """The file of the model of losses, where the estimator has one."""
        return self._read_kept(version, LOSS_MODEL)

    def usual(self, version: ModelVersion) -> Usual | None:
        """All of it, for a copy of the version."""
        if (calibration := self.calibration(version)) is None:
            return None
        kept = self.null_windows(version), self.null_performance(version)
        return Usual(calibration, *kept, self.estimator(version), self.loss_model(version))

    # -- aliases and history ------------------------------------------------------------------------------------

    def history(self, name: str) -> list[Event]:
        """Every change, oldest first."""
        folder = f"{_folder(name)}/events"
        events = []
        for sequence, file in enumerate(self.lake.names(folder), start=1):
            if file != f"{sequence:06d}.json":
                raise LakeCorrupt(
                    f"{self.lake.address(folder)} holds {file} where {sequence:06d}.json must be",
                    next_step="restore the file from a backup; without it nobody can say which version an alias names",
                )
            event = self._record(f"{folder}/{file}", Event)
            if event.sequence != sequence:
                raise LakeCorrupt(
                    f"{self.lake.address(folder)}/{file} holds event {event.sequence}",
                    state="nothing was changed",
                    next_step="restore it from a backup",
                )
            events.append(event)
        return events

    def aliases(self, name: str, *, at: dt.datetime | None = None) -> dict[str, int]:
        """The version that each alias names, now or as it was at an instant."""
        return aliases_in(self._events_until(name, at))

    def alias(self, name: str, alias: str, *, at: dt.datetime | None = None) -> ModelVersion:
        """The version that an alias names; ModelNotFound says what there is, and what to type."""
        numbers = self._some_numbers(name)
        events = self._events_until(name, at)
        aliases = aliases_in(events)
        if alias in aliases:
            return self.version(name, aliases[alias])
        when = f" at {at.isoformat()}" if at else ""
        named = ", ".join(f"{each} = {number}" for each, number in sorted(aliases.items())) or "none"
        raise ModelNotFound(
            f"the model '{name}' has no alias '{alias}'{when}; aliases: {named}; versions: {_listed(numbers)}"
            + why_recalled(events, alias),
            next_step=f"`lamplighter promote {name} --version {numbers[-1]}`, or look at `lamplighter history {name}`",
        )

    def recalled(self, name: str) -> dict[int, Event]:
        """The withdrawn versions, each with the event that withdrew it."""
        return recalled_in(self.history(name))

    def set_alias(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        at: dt.datetime,
        actor: str,
        reason: str,
        evidence: Mapping[str, JsonValue] | None = None,
        forced: bool = False,
        expected: object = _ANY,
    ) -> Event:
        """Lets an alias name a version, and returns the event that says so; no new one where it does already.

        With `expected` (a version number, or None for no alias) only if the alias names that: Blocked otherwise,
        also when somebody moves it at the same instant.
        """
        refuse_elsewhere(self.version(name, version).manifest, evidence or {})

        def decide(events: list[Event]) -> Event | dict[str, Any]:
            current = aliases_in(events).get(alias)
            if expected is not _ANY and current != expected:
                raise moved(name, alias, current, expected)
            if version in recalled_in(events):
                raise withdrawn(name, version, recalled_in(events)[version])
            if current == version:
                return last_event(events, action="set_alias", alias=alias)
            return {"action": "set_alias", "alias": alias, "version": version, "forced": forced}

        return self._append(name, decide, at=at, actor=actor, reason=reason, evidence=evidence)

    def drop_alias(self, name: str, alias: str, *, at: dt.datetime, actor: str, reason: str) -> Event:
        """Takes an alias away; ModelNotFound where there is none."""
        self.alias(name, alias)

        def decide(events: list[Event]) -> Event | dict[str, Any]:
            if alias not in aliases_in(events):
                return last_event(events)
            return {"action": "drop_alias", "alias": alias}

        return self._append(name, decide, at=at, actor=actor, reason=reason)

    def recall(
        self,
        name: str,
        version: int,
        *,
        at: dt.datetime,
        actor: str,
        reason: str,
        evidence: Mapping[str, JsonValue] | None = None,
    ) -> Event:
        """Withdraws a version for ever: no alias names it from here on. Done already is done."""
        # Not `version`: one whose files are damaged is to be recalled as well.
        self.check_known(name, version)

        def decide(events: list[Event]) -> Event | dict[str, Any]:
            return recalled_in(events).get(version) or {"action": "recall", "version": version}

        return self._append(name, decide, at=at, actor=actor, reason=reason, evidence=evidence)

    # -- below --------------------------------------------------------------------------------------------------

    def _append(
        self,
        name: str,
        decide: Callable[[list[Event]], Event | dict[str, Any]],
        *,
        at: dt.datetime,
        actor: str,
        reason: str,
        evidence: Mapping[str, JsonValue] | None = None,
    ) -> Event:
        """Writes the next event that `decide` makes of the history; of a history that moved on, it decides again."""
        with contextlib.suppress(LakeError):
            # What somebody was killed over; whoever writes now is younger than that.
            self.lake.sweep(f"{_folder(name)}/events", idle_seconds=ABANDONED_SECONDS)
        while True:
            events = self.history(name)
            decided = decide(events)
            if isinstance(decided, Event):
                return decided
            event = _new_event(
                sequence=len(events) + 1,
                # A clock that runs behind must not put a later change before an earlier one.
                at=max([at, *(each.at for each in events[-1:])]),
                actor=actor,
                reason=reason,
                evidence=dict(evidence or {}),
                **decided,
            )
            if self.lake.create(f"{_folder(name)}/events/{event.sequence:06d}.json", json_bytes(event)):
                return event

    def _events_until(self, name: str, at: dt.datetime | None) -> list[Event]:
        return [event for event in self.history(name) if at is None or event.at <= at]

    def _some_numbers(self, name: str) -> list[int]:
        if numbers := self.numbers(name):
            return numbers
        raise ModelNotFound(
            f"there is no model '{name}' in {self.lake.address('models')}; there are: {_listed(self.names())}",
            next_step="`lamplighter train JOB`, for the job that uses it",
        )

    def _stage(self, key: str, content: bytes) -> FileRecord:
        self.lake.write_bytes(key, content)
        return FileRecord(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    def _object(self, version: ModelVersion, file: str) -> dict[str, Any]:
        return parse_object(self.read(version, file), f"{file} of {version} cannot be read")

    def _table(self, version: ModelVersion, file: str) -> pa.Table:
        content = self.read(version, file)
        try:
            return pq.read_table(pa.BufferReader(content))
        except (pa.ArrowException, OSError) as error:
            raise LakeCorrupt(f"{file} of {version} is no table", next_step="register the version again") from error

    def _read_kept(self, version: ModelVersion, file: str) -> bytes | None:
        return self.read(version, file) if file in version.manifest.files else None

    def _record(self, key: str, kind: type[_Record]) -> _Record:
        if not self.lake.exists(key):
            raise LakeCorrupt(f"{self.lake.address(key)} is missing", next_step="restore it from a backup")
        return self._parsed(key, self.lake.read_bytes(key), kind)

    def _parsed(self, key: str, content: bytes, kind: type[_Record]) -> _Record:
        failed = f"{self.lake.address(key)} cannot be read"
        step = "restore it from a backup, or read it with the Lamplighter that wrote it"
        return parse_record(content, kind, failed, state="nothing was changed", next_step=step)


def version_folder(name: str, number: int) -> str:
    """The key of a version's folder in the lake."""
    return f"{_folder(name)}/versions/{number:04d}"


def _folder(name: str) -> str:
    return f"models/{name}"


def _read_verified(lake: Lake, manifest: ModelManifest, file: str) -> bytes:
    """The bytes of a file whose SHA-256 is the manifest's: they, and not the file, are what is used."""
    key = f"{version_folder(manifest.name, manifest.version)}/{file}"
    record = manifest.files.get(file)
    if record is None:
        raise _not_as_registered(manifest, f"{lake.address(key)} is not in the version's manifest")
    if not lake.exists(key):
        raise _not_as_registered(manifest, f"{lake.address(key)} is missing")
    content = lake.read_bytes(key)
    if (found := hashlib.sha256(content).hexdigest()) != record.sha256:
        raise _not_as_registered(
            manifest,
            f"{lake.address(key)} was changed: its SHA-256 is {found} ({len(content)} bytes), and was {record.sha256} "
            f"({record.size_bytes} bytes) when it was registered",
        )
    return content


def _not_as_registered(manifest: ModelManifest, failed: str) -> ModelBlocked:
    return ModelBlocked(
        failed,
        state="nothing in it was loaded, and no row was scored",
        next_step=f"restore the folder of version {manifest.version} from a backup, or `lamplighter rollback {manifest.name}`",
    )


def _new_event(**parts: Any) -> Event:
    try:
        return Event(**parts)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DefinitionError(f"{parts['action']}: {where}: {first['msg']}", state="nothing was changed") from error


def _listed(things: list[Any]) -> str:
    return ", ".join(str(thing) for thing in things) or "none"
