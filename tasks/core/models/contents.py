"""The files of a version: what each is called, and what is written of a candidate."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from tasks.core.definitions.column_types import type_name
from tasks.core.errors import DefinitionError
from tasks.core.models.model_version import Candidate, Usual

MANIFEST, SIGNATURE, PROFILE, BENCHMARK, CARD, PROBE, EXPECTED = (
    "manifest.json",
    "signature.json",
    "reference_profile.json",
    "benchmark.json",
    "card.json",
    "probe.parquet",
    "probe_expected.parquet",
)
CALIBRATION, NULL_WINDOWS, NULL_PERFORMANCE, ESTIMATOR, LOSS_MODEL = (
    "calibration.json",
    "null_windows.parquet",
    "null_performance.parquet",
    "estimator.json",
    "loss_model.joblib",
)


def contents_of(candidate: Candidate) -> dict[str, bytes]:
    """Every file but the manifest, by its name."""
    return {
        candidate.signature.model_file: candidate.model_bytes,
        SIGNATURE: json_bytes(candidate.signature),
        PROFILE: _dumped(candidate.profile),
        BENCHMARK: _dumped(candidate.benchmark),
        CARD: _dumped(candidate.card or {}),
        PROBE: _parquet_bytes(candidate.probe.select(candidate.signature.inputs.names)),
        EXPECTED: _parquet_bytes(candidate.expected),
        **(_contents_of_usual(candidate.usual) if candidate.usual else {}),
    }


def _contents_of_usual(usual: Usual) -> dict[str, bytes]:
    found = {
        CALIBRATION: json_bytes(usual.calibration),
        NULL_WINDOWS: None if usual.null_windows is None else _parquet_bytes(usual.null_windows),
        NULL_PERFORMANCE: None if usual.null_performance is None else _parquet_bytes(usual.null_performance),
        ESTIMATOR: None if usual.estimator is None else _dumped(usual.estimator),
        LOSS_MODEL: usual.loss_model,
    }
    return {name: content for name, content in found.items() if content is not None}


def check_probe(candidate: Candidate) -> None:
    """DefinitionError where the probe is not in the signature's columns and types."""
    signature = candidate.signature
    for what, table, schema in (
        ("the probe rows", candidate.probe, signature.inputs.arrow_schema),
        ("the probe's expected outputs", candidate.expected, signature.output_schema),
    ):
        types = dict(zip(table.schema.names, table.schema.types, strict=True))
        wrong = [f"'{field.name}' ({type_name(field.type)})" for field in schema if types.get(field.name) != field.type]
        if wrong:
            raise DefinitionError(f"{what} must have the columns {', '.join(wrong)}", state="nothing was registered")
    if nulls := [name for name in signature.outputs if candidate.expected[name].null_count]:
        raise DefinitionError(f"the probe's expected outputs are null in {nulls}", state="nothing was registered")
    if not 0 < candidate.probe.num_rows == candidate.expected.num_rows:
        raise DefinitionError(
            f"there are {candidate.probe.num_rows} probe rows and {candidate.expected.num_rows} expected outputs",
            state="nothing was registered",
            next_step="give one output for each of at least one probe row",
        )


def json_bytes(record: BaseModel) -> bytes:
    """A record as a file's content."""
    return record.model_dump_json(indent=2, by_alias=True).encode() + b"\n"


def _dumped(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return bytes(sink.getvalue())
