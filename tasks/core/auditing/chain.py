"""The chain of one window: from its partitions by its manifest to the snapshot and the model version, each link checked.

    partition -> one file -> its SHA-256, rows, bytes and metadata -> manifest -> its own seal, plan key and run id
    -> counts and key digests, as the files have them -> snapshot -> its SHA-256 and its rows' digest -> model version

What is cheap is asked first: the contents of a file whose bytes are others than those recorded are not looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from tasks.core import layout, provenance
from tasks.core.auditing import contents
from tasks.core.auditing.contents import Said
from tasks.core.auditing.mending import Mending
from tasks.core.auditing.records import Finding, Link
from tasks.core.definitions.window import Window
from tasks.core.errors import LakeError, LamplighterError
from tasks.core.records import said_by_file
from tasks.core.rows import snapshot
from tasks.core.runs import partitions
from tasks.core.runs.manifest import Manifest, SnapshotRecord, read_manifest
from tasks.core.runs.run import plan_digest, run_id_of
from tasks.core.runs.seal import seal_of
from tasks.core.runs.showing import partition_of
from tasks.core.runs.staging import file_metadata
from tasks.core.storage import Folder

_MOST_NAMED = 5
_PARTITIONS = (*layout.TABLES, layout.SHADOW)


@dataclass(frozen=True)
class Seen:
    """What lies in the lake of one window at one instant: each run's manifest, as bytes, and the names in its partitions."""

    as_of: str
    manifests: dict[str, bytes]
    partitions: dict[str, tuple[str, ...]]


@dataclass
class Checked:
    """What came of a window. `manifest` is that of what readers see; `keys` are the columns that told its rows apart,
    `broken` the tables whose file is not the one that was published.
    """

    as_of: str
    manifest: Manifest | None = None
    keys: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    unsealed: int = 0
    open_run: str = ""

    def is_broken(self, *links: Link) -> bool:
        return any(one.link in links for one in self.findings)


def look(lake: Folder, job: str, as_of: str) -> Seen:
    """What lies there now."""
    runs = layout.runs(job, as_of)
    found = {}
    for run_id in lake.names(runs):
        key = f"{runs}/{run_id}/manifest.json"
        if lake.exists(key):
            found[run_id] = lake.read_bytes(key)
    names = {table: tuple(partitions.names(lake, layout.partition(table, job, as_of))) for table in _PARTITIONS}
    return Seen(as_of, found, names)


def check(lake: Folder, job: str, seen: Seen, keys: tuple[str, ...]) -> Checked:
    """Follows the chain of a window; `keys` are the job's own of now."""
    return _Check(lake, job, seen, keys).checked()


class _Check:
    """One look at one window."""

    def __init__(self, lake: Folder, job: str, seen: Seen, keys: tuple[str, ...]) -> None:
        self.lake, self.job, self.seen, self.as_of, self.keys = lake, job, seen, seen.as_of, keys
        self.made = Checked(seen.as_of)
        self.mend = Mending(job, seen.as_of)

    def checked(self) -> Checked:
        published = []
        for run_id, data in self.seen.manifests.items():
            manifest = self._manifest(run_id, data)
            if manifest is None:
                continue
            if manifest.state in ("publishing", "withdrawing"):
                self.made.open_run = run_id
            published += [manifest] if manifest.is_published else []
        if self.made.open_run:
            return self.made
        published = self._standing(published)
        self._partitions(published)
        if published:
            self._published(published[0])
            self.made.manifest = _slim(published[0])
        return self.made

    def _standing(self, published: list[Manifest]) -> list[Manifest]:
        """Of several that count as published, the one whose file is there."""
        if len(published) < 2:  # noqa: PLR2004 - several
            return published
        named = ", ".join(one.run_id for one in published)
        folder = layout.runs(self.job, self.as_of)
        self.add("manifest", folder, "what counts as published", f"the runs {named}", "one run", self.mend.several())
        return sorted(published, key=self._has_file, reverse=True)[:1]

    def _has_file(self, manifest: Manifest) -> bool:
        table = partition_of(manifest, layout.PREDICTIONS).partition("/")[0]
        return layout.part(manifest.run_id) in self.seen.partitions[table]

    def add(self, link: Link, file: str, what: str, found: object, expected: object, next_step: str) -> None:
        self.made.findings.append(
            Finding(
                link=link,
                as_of=self.as_of,
                file=self.lake.address(file),
                what=what,
                found=str(found),
                expected=str(expected),
                next_step=next_step,
            )
        )

    # -- manifests

    def _manifest(self, run_id: str, data: bytes) -> Manifest | None:
        """The manifest of a run, checked in itself; None where it cannot be read."""
        key = f"{layout.workspace(self.job, self.as_of, run_id)}/manifest.json"
        try:
            manifest, seal = read_manifest(data, where=self.lake.address(key)), seal_of(data)
        except (LamplighterError, ValueError) as error:
            why = error.failed if isinstance(error, LamplighterError) else str(error)
            self.add("manifest", key, "it", f"no manifest ({why})", "one", self.mend.unreadable())
            return None
        if seal.is_broken:
            self.add(
                "manifest", key, "the digest of what it says", seal.found, f"{seal.said}, its own", self.mend.manifest()
            )
        self.made.unsealed += seal.said is None
        if not self._place(key, run_id, manifest):
            return None
        if manifest.verdict in ("published", "published_with_warnings"):
            self._identity(key, run_id, manifest)
        return manifest

    def _place(self, key: str, run_id: str, manifest: Manifest) -> bool:
        """Whether the manifest lies where it says; one of another place says nothing of this one."""
        places = (("job", self.job), ("as_of", self.as_of), ("run_id", run_id))
        others = [(name, getattr(manifest, name), here) for name, here in places if getattr(manifest, name) != here]
        # A run that was killed between two steps has the name of its folder.
        if manifest.verdict is None and [name for name, _, _ in others] == ["run_id"]:
            return True
        for name, said, here in others:
            self.add("manifest", key, f"its {name}", said, f"{here}, as its folder is called", self.mend.unreadable())
        return not others

    def _identity(self, key: str, run_id: str, manifest: Manifest) -> None:
        """That a run is called after what it was made of: its plan, and the rows that it met."""
        step = self.mend.manifest()
        plan = plan_key_of(manifest)
        if plan != manifest.plan_key:
            what = "its plan_key, of the job, window, model and code that it names,"
            self.add("run", key, what, manifest.plan_key, plan, step)
        if manifest.snapshot is None:
            self.add("run", key, "its snapshot", "missing", "recorded", step)
            return
        rows, accepted = manifest.snapshot, manifest.trigger.accept
        name = run_id_of(manifest.plan_key, rows.digest, accepted)
        if run_id not in (name, run_id_of(manifest.plan_key, rows.digest, accepted, again=rows.complete_at)):
            self.add("run", key, "the run_id that follows from its plan_key and snapshot", name, run_id, step)

    # -- partitions

    def _partitions(self, published: list[Manifest]) -> None:
        """That each partition is the folder of one file, which the manifest of a run that stands knows."""
        wanted = {partition_of(one, table): layout.part(one.run_id) for one in published for table in layout.TABLES}
        for table, names in self.seen.partitions.items():
            folder = layout.partition(table, self.job, self.as_of)
            for name in names:
                if name != wanted.get(folder):
                    whose = "its manifest does" if folder in wanted else "the manifests of the window do"
                    self.add("stray", f"{folder}/{name}", "the file", f"one that {whose} not know", "absent",
                             self.mend.stray(known=bool(published)))  # fmt: skip
            if folder in wanted and wanted[folder] not in names:
                self.add("partition", f"{folder}/{wanted[folder]}", "the file", "missing", "there, as its manifest says",
                         self.mend.partition())  # fmt: skip

    # -- what readers see

    def _published(self, manifest: Manifest) -> None:
        key = f"{manifest.workspace}/manifest.json"
        self._balance(key, manifest)
        tables = [table for table in layout.TABLES if self._file(key, manifest, table)]
        self.made.broken = {*layout.TABLES} - {*tables}
        keys = self._contents(manifest, tables)
        self._snapshot(key, manifest, keys)
        self.made.keys = keys

    def _balance(self, key: str, manifest: Manifest) -> None:
        """That no row is lost in the counts, nor any key in the digests."""
        rows, digests = manifest.rows, manifest.key_digests
        accounted = rows.scored + rows.quarantined + rows.duplicates
        if accounted != rows.pulled:
            what = "the sum of rows scored, quarantined and duplicates"
            self.add("rows", key, what, f"{accounted:,}", f"{rows.pulled:,}, as pulled", self.mend.manifest())
        if digests is None:
            self.add("rows", key, "its key digests", "missing", "recorded", self.mend.manifest())
        elif not contents.balances(digests):
            what = "the sum of the digests of keys scored, quarantined and duplicates"
            self.add("rows", key, what, "another", f"{digests.pulled}, as pulled", self.mend.manifest())

    def _file(self, manifest_key: str, manifest: Manifest, table: str) -> bool:
        """Whether a partition's file is, byte by byte, the one that the manifest records; its metadata is checked too."""
        name, folder = layout.part(manifest.run_id), partition_of(manifest, table)
        record, key = manifest.files.get(table), f"{folder}/{name}"
        if record is None:
            self.add("manifest", manifest_key, f"its record of {table}", "missing", "there", self.mend.manifest())
            return False
        if name not in self.seen.partitions[folder.partition("/")[0]]:
            return False
        if record.key != key:
            self.add("manifest", manifest_key, f"where it has {table}", record.key, key, self.mend.manifest())
        found: list[tuple[str, object, object]] = [("its SHA-256", self.lake.sha256(key), record.sha256)]
        found.append(("its size in bytes", self.lake.size_bytes(key), record.bytes))
        broken = [(what, found, said) for what, found, said in found if found != said]
        for what, is_, must in broken[:1]:
            self.add("partition", key, what, is_, f"{must}, as its manifest says", self.mend.partition())
        return not broken and self._metadata(key, manifest, record.rows)

    def _metadata(self, key: str, manifest: Manifest, rows: int) -> bool:
        try:
            with self.lake.parquet(key) as file:
                counted = file.metadata.num_rows
            said = said_by_file(self.lake, key)
        except LakeError as error:
            self.add("partition", key, "it", f"not to be read ({error})", "a Parquet file", self.mend.partition())
            return False
        if counted != rows:
            self.add(
                "partition", key, "its number of rows", counted, f"{rows}, as its manifest says", self.mend.partition()
            )
        wanted = json.loads(file_metadata(manifest)["lamplighter"])
        if other := [name for name in wanted if said.get(name) != wanted[name]]:
            name = other[0]
            more = f" (and of {', '.join(other[1:_MOST_NAMED])})" if other[1:] else ""
            what = f"what its metadata says of {name}{more}"
            self.add(
                "metadata", key, what, said.get(name), f"{wanted[name]}, as its manifest says", self.mend.partition()
            )
        return counted == rows

    def _contents(self, manifest: Manifest, tables: list[str]) -> tuple[str, ...]:
        """Holds what the files hold against the manifest; the columns that tell the rows apart."""
        said = Said.of(manifest)
        keys: tuple[str, ...] = ()
        if layout.PREDICTIONS in tables:
            keys = self._told(
                manifest, layout.PREDICTIONS, contents.of_predictions(self.lake, manifest, self.keys, said)
            )
        if layout.QUARANTINE in tables and keys:
            self._told(manifest, layout.QUARANTINE, contents.of_quarantine(self.lake, manifest, keys, said))
        return keys

    def _told(self, manifest: Manifest, table: str, found: contents.Found) -> tuple[str, ...]:
        key = f"{partition_of(manifest, table)}/{layout.part(manifest.run_id)}"
        for what, is_, must in found.breaks:
            self.add("rows", key, what, is_, f"{must}, as its manifest says", self.mend.partition())
        return found.keys

    # -- what it was made of

    def _snapshot(self, manifest_key: str, manifest: Manifest, keys: tuple[str, ...]) -> None:
        record = manifest.snapshot
        if record is None or is_taken_by_retention(manifest):
            return
        key, step = f"{manifest.workspace}/{snapshot.SNAPSHOT}", self.mend.snapshot()
        if record.rows != manifest.rows.pulled:
            counted = f"{manifest.rows.pulled}, as pulled"
            self.add("rows", manifest_key, "the rows of its snapshot", record.rows, counted, step)
        if not self._snapshot_record(manifest, record) or not self._snapshot_bytes(key, record):
            return
        if self._shape(key, record):
            for what, is_, must in contents.of_snapshot(self.lake, manifest, record, keys):
                self.add("snapshot", key, what, is_, f"{must}, as its manifest says", step)

    def _snapshot_bytes(self, key: str, record: SnapshotRecord) -> bool:
        step = self.mend.snapshot()
        if not self.lake.exists(key):
            self.add("snapshot", key, "the file", "missing", "there: no policy of the job has taken it", step)
            return False
        found = self.lake.sha256(key)
        if found != record.sha256:
            self.add("snapshot", key, "its SHA-256", found, f"{record.sha256}, as its manifest says", step)
        return found == record.sha256

    def _shape(self, key: str, record: SnapshotRecord) -> bool:
        """Whether the snapshot has the rows and the batches that its record says: all else is read batch by batch."""
        with self.lake.parquet(key) as file:
            rows, batches = file.metadata.num_rows, file.num_row_groups
        # Of no rows there may be a group all the same.
        is_empty = rows == record.rows == record.batches == 0
        if is_empty or (rows, batches, batches) == (record.rows, record.batches, -(-rows // max(record.batch_rows, 1))):
            return True
        said = f"{record.rows:,} and {record.batches:,}, as its manifest says"
        what = "its number of rows and of batches"
        self.add("snapshot", key, what, f"{rows:,} and {batches:,}", said, self.mend.snapshot())
        return False

    def _snapshot_record(self, manifest: Manifest, record: SnapshotRecord) -> bool:
        """That the snapshot's own record says what the manifest says."""
        key, step = f"{manifest.workspace}/{snapshot.RECORD}", self.mend.snapshot()
        try:
            said = snapshot.read_record(self.lake, manifest.workspace)
        except LakeError as error:
            self.add("snapshot", key, "it", f"not to be read ({error.failed})", "the record of a snapshot", step)
            return False
        if said is None:
            self.add("snapshot", key, "the file", "missing", "there", step)
            return False
        mine = record.model_dump(exclude={"source_columns"})
        theirs = said.model_dump(exclude={"source_columns"})
        other = [name for name in mine if mine[name] != theirs[name]]
        for name in other[:1]:
            self.add("snapshot", key, f"its {name}", theirs[name], f"{mine[name]}, as its manifest says", step)
        return not other


def _slim(manifest: Manifest) -> Manifest:
    """What the audit still needs of it: of thousands of windows all are held at once."""
    many = {"suite": None, "output_suite": None, "drift": (), "timings": (), "schema_changes": (), "acceptances": ()}
    return manifest.model_copy(update={**many, "predictions": {}, "estimates": {}, "quarantine_reasons": {}})


def plan_key_of(manifest: Manifest) -> str:
    """The plan key that follows from what a manifest says of the job, the window, the model and the code."""
    window, model = manifest.window, manifest.model
    return plan_digest(
        manifest.job_digest,
        Window(manifest.as_of, window.start, window.end),
        (f"{model.name}/{model.version:04d}", model.digest),
        provenance.decisive_digest(manifest.code),
        window.known_at,
    )


def is_taken_by_retention(manifest: Manifest) -> bool:
    """Whether the job's own policy has taken the snapshot of a run: nobody can score it again, and nobody changed it."""
    return bool(manifest.pruned)


def describe_open(seen: Checked) -> str:
    """Why a window is left out whose run was killed as it published or was withdrawn."""
    return f"run {seen.open_run} was killed as it changed the window; the next run completes it"
