"""A lake with three published windows, for the tests of audits; and hands that change it behind everybody's back."""

import datetime as dt
import hashlib
import json
import pathlib
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import layout
from tasks.core.auditing.asked import Asked
from tasks.core.auditing.walking import Walked, walk
from tasks.core.definitions.project import Project
from tasks.core.runs.seal import SEAL, seal_of
from tasks.core.storage import Folder, Lake
from tests.flows.conftest import World, readings

FIRST, SECOND, THIRD = DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")
KEYS = ("sensor",)
AT = dt.datetime(2024, 6, 1, 12, tzinfo=dt.UTC)


def write_three_days(world: World) -> None:
    """Sixty rows a day, in batches of 25. Of the first day some are no good: no key, a repetition, two with one key, an infinity."""
    world.change_job(suite=None, limits__batch_rows=25, limits__quarantine_share=0.5)
    for day in DAYS:
        rows = readings(60, day).assign(sensor=lambda frame, day=day: frame["sensor"] + day[-1])
        if day == FIRST:
            rows.loc[3, "sensor"] = None
            rows.loc[7, "x"] = float("inf")
            rows = pd.concat([rows, rows.iloc[[11]], rows.iloc[[13]].assign(x=99.0)])
        world.write_rows(rows, f"{day}.parquet")


def asked(world: World, **more) -> Asked:
    """As the flow is asked, at an instant of the tests."""
    definition = Project(Folder(world.folder)).load("readings")
    return Asked(world.lake, Folder(world.folder), definition, AT, **more)


def walked(lake: Lake, *scope: str) -> Walked:
    return walk(lake, "readings", KEYS, scope)


class Hand:
    """Somebody who may write the lake."""

    def __init__(self, lake: Lake, as_of: str = SECOND) -> None:
        self.lake, self.root, self.as_of = lake, lake.root, as_of

    def part(self, table: str = layout.PREDICTIONS) -> pathlib.Path:
        (found,) = (self.root / table / "readings" / f"as_of={self.as_of}").glob("*.parquet")
        return found

    @property
    def part_folder(self) -> pathlib.Path:
        return self.root / "predictions/readings" / f"as_of={self.as_of}"

    @property
    def workspace(self) -> pathlib.Path:
        (found,) = (self.root / "runs/readings" / f"as_of={self.as_of}").glob("*-*")
        return found

    @property
    def manifest(self) -> pathlib.Path:
        return self.workspace / "manifest.json"

    @property
    def version(self) -> pathlib.Path:
        return self.root / "models/readings/versions/0001"

    def flip(self, path: pathlib.Path) -> None:
        """One bit in the middle of a file."""
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def edit(self, change: Callable[[dict], object], *, reseal: bool = True) -> None:
        """Changes what the manifest says; resealed, as a forger would, or not."""
        said = json.loads(self.manifest.read_bytes())
        change(said)
        if reseal:
            del said[SEAL]
            said[SEAL] = seal_of(json.dumps(said).encode()).found
        self.manifest.write_text(json.dumps(said, indent=2))

    def rewrite(self, change: Callable[[pa.Table], pa.Table], table: str = layout.PREDICTIONS, *, says=None) -> None:
        """Other rows in a published file, and a manifest that says they are right."""
        path = self.part(table)
        file = pq.ParquetFile(path)
        metadata = {"lamplighter": says or file.metadata.metadata[b"lamplighter"].decode()}
        changed = change(file.read())
        with pq.ParquetWriter(path, changed.schema, compression="zstd", write_page_checksum=True) as writer:
            writer.write_table(changed)
            writer.add_key_value_metadata(metadata)
        record = {"rows": len(changed), "bytes": path.stat().st_size, "sha256": sha256(path)}
        self.edit(lambda said: said["files"][table].update(record))

    def rewrite_snapshot(self, change: Callable[[pa.Table], pa.Table], name: str = "snapshot.parquet") -> None:
        """Other rows in the snapshot, and records that say they are right."""
        path = self.workspace / name
        kept = pq.ParquetFile(path).read()
        pq.write_table(change(kept), path, row_group_size=25)
        if name == "snapshot.parquet":
            record = {"bytes": path.stat().st_size, "sha256": sha256(path)}
            said = json.loads((self.workspace / "snapshot.json").read_bytes()) | record
            (self.workspace / "snapshot.json").write_text(json.dumps(said))
            self.edit(lambda manifest: manifest["snapshot"].update(record))

    def register_file(self, name: str, data: bytes) -> None:
        """Another file in a model version, whose manifest says that it is right."""
        (self.version / name).write_bytes(data)
        said = json.loads((self.version / "manifest.json").read_bytes())
        said["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        (self.version / "manifest.json").write_text(json.dumps(said))


def put(column: str, value, row: int = 5) -> Callable[[pa.Table], pa.Table]:
    """Changes one cell of a table."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        place = table.schema.get_field_index(column)
        return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(place).type))

    return change


def sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def bytes_below(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
