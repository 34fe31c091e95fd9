"""The load gate: a model is checked before it is trusted. And scoring, in which one bad row costs one row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import own_code, own_modules
from tasks.core.definitions.modelling import Prediction
from tasks.core.errors import ModelBlocked
from tasks.core.models.adapters import open_adapters
from tasks.core.models.elsewhere.estimator import Interpreter, interpreter_of, open_elsewhere
from tasks.core.models.encoders import quicken
from tasks.core.models.loading import Opened, open_here, other_libraries
from tasks.core.models.model_version import ModelManifest, ModelVersion, Signature
from tasks.core.models.prediction import Elsewhere, LoadedModel, PredictRaised, check_input_schema, input_frame, predict
from tasks.core.models.registry import Registry, version_folder
from tasks.core.rows.reasons import Reason
from tasks.core.storage import Folder

__all__ = [
    "LoadedModel",
    "PredictRaised",
    "check_input_schema",
    "expected_outputs",
    "input_frame",
    "load_model",
    "may_end_its_process",
    "predict",
    "score_with_bisection",
]
Rows = npt.NDArray[np.int64]
_TIMEOUT_SECONDS = 600
_OF_SCIKIT_LEARN = ("joblib", "skops")


def load_model(
    registry: Registry,
    version: ModelVersion,
    *,
    allowed_types: Collection[str] = (),
    snapshot_schema: pa.Schema | None = None,
    probe: bool = True,
    interpreter: Interpreter | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> LoadedModel:
    """The model of a version, through the gate: digest, allow-list, library versions, input schema, probe rows.

    `allowed_types` are the job's own: neither the file nor the registry can add to them. A child process that loads
    what its parent has just probed may leave the probe out; nothing else. ModelBlocked names the file and the fix.
    It is loaded by `interpreter`, or by the one that the version names, where there is one; each answer from there may
    take `timeout_seconds`.
    """
    contents = {file: registry.read(version, file) for file in version.manifest.files}
    # These bytes are the ones whose digest was checked: the file is not opened a second time.
    content = contents[version.signature.model_file]
    try:
        loaded = open_content(version, content, allowed_types, interpreter=interpreter, timeout_seconds=timeout_seconds)
    except ModelBlocked as error:
        path = registry.lake.address(f"{version_folder(version.name, version.version)}/{version.signature.model_file}")
        raise ModelBlocked(f"{path}: {error.failed}", state=error.state, next_step=error.next_step) from error
    # Not before: what a model is registered or converted from stays as it came.
    quicken(loaded.estimator)
    if snapshot_schema is not None:
        check_input_schema(version, snapshot_schema)
    if probe:
        _check_probe(registry, loaded)
    return loaded


def open_content(
    version: ModelVersion,
    content: bytes,
    allowed_types: Collection[str],
    *,
    interpreter: Interpreter | None = None,
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> LoadedModel:
    """A model from the bytes of its file, in the environment that it belongs to, with what is to be remarked there."""
    project = own_code.current()
    # Before the model: its file is not opened for a version that could not be scored.
    adapters = open_adapters(version.signature.adapter, version.signature.output_adapter, project)
    opened = _opened(version, content, allowed_types, interpreter, timeout_seconds)
    remarks = other_libraries(version.manifest.environment, opened.libraries) + _changed_code(version, project)
    remarks += _compile_trees(version, opened.estimator)
    return LoadedModel(version, opened.estimator, (*remarks, *opened.warnings), opened.libraries, adapters)


def _compile_trees(version: ModelVersion, estimator: Any) -> list[str]:
    """Compiles the trees of a version that was registered so; a remark where scikit-learn has to do without."""
    if not version.signature.compiled or isinstance(estimator, Elsewhere):
        return []
    from tasks.core.models.trees import hooks  # noqa: PLC0415 - few models ask for it

    try:
        hooks.attach(estimator)
    except (hooks.NotSupported, hooks.NoLibrary) as error:
        return [f"its trees are not compiled here, and scored by scikit-learn, which takes longer: {error}"]
    return []


def _changed_code(version: ModelVersion, project: Folder) -> list[str]:
    """A remark for each own package that is another than when the version was registered: the probe shows what it changes."""
    then = version.manifest.code.modules if version.manifest.code else {}
    now = own_modules.digests_of(then, project)
    return [
        f"the project's own package '{package}' {'has changed' if package in now else 'was here, and is not,'} since the model "
        "was registered"
        for package, digest in then.items()
        if now.get(package) != digest
    ]


def unregistered(signature: Signature) -> ModelVersion:
    """A version that has no number yet: what predict asks of it is what it takes and what it is called."""
    manifest = ModelManifest.model_construct(
        name="the model to be registered",
        version=0,
        registered_at=dt.datetime.min.replace(tzinfo=dt.UTC),
        registered_by="",
        files={},
        environment={},
    )
    return ModelVersion(manifest, signature)


def expected_outputs(estimator: Any, signature: Signature, probe: pa.Table) -> pa.Table:
    """What a model that is about to be registered makes of its probe rows; ModelBlocked where it cannot."""
    try:
        return predict(LoadedModel(unregistered(signature), estimator), probe, signature.outputs)
    except PredictRaised as error:
        raise ModelBlocked(
            f"the model raised on its probe rows: {error.message}",
            state="nothing was registered",
            next_step="give probe rows that the model can score",
        ) from error


def may_end_its_process(version: ModelVersion, allowed_types: Collection[str]) -> bool:
    """Whether more than scikit-learn runs in the process that loads it: other runtimes, types of the job's own, adapters.

    What another interpreter loads has a process beside.
    """
    if version.signature.interpreter:
        return False
    return version.format not in _OF_SCIKIT_LEARN or bool(allowed_types) or bool(version.signature.adapters)


def score_with_bisection(
    loaded: LoadedModel,
    table: pa.Table,
    rows: Rows,
    outputs: Mapping[str, Prediction],
    *,
    give_up_after: int = 100,
    watch: Callable[[Rows], object] | None = None,
) -> tuple[pa.Table, Rows, list[tuple[int, Reason]]]:
    """The outputs of the rows that can be scored, those rows' positions, and a reason for each of the others.

    `rows[i]` is the position in the snapshot of `table`'s row i. Where the model raises, halves are tried until the
    rows to blame stand alone: at most 2 k log2(n) + 1 predictions for k of n rows. More than `give_up_after` of them
    are the model's fault, not the rows': ModelBlocked. `watch` is told, before each prediction, the positions of its rows,
    and of none when it is over.
    """
    told = watch or _tell_nobody
    rejects = _null_inputs(loaded.version, table)
    scorable = np.delete(np.arange(table.num_rows), np.array([row for row, _ in rejects], np.intp))
    if rejects:
        table = table.take(scorable)
    scored: list[pa.Table] = [predict(loaded, table.slice(0, 0), outputs)]
    kept: list[Rows] = []
    raised: list[tuple[int, Reason]] = []
    pieces = [(0, table.num_rows)]
    while pieces:
        start, end = pieces.pop()
        told(rows[scorable[start:end]])
        try:
            scored.append(predict(loaded, table.slice(start, end - start), outputs))
            kept.append(scorable[start:end])
        except PredictRaised as error:
            if end - start > 1:
                middle = (start + end) // 2
                pieces += [(middle, end), (start, middle)]
                continue
            raised.append((int(scorable[start]), Reason("predict_raised", "predict_raised", None, None, error.message)))
            if len(raised) > give_up_after:
                raise _gave_up(loaded, table.num_rows, raised) from error
        told(rows[:0])
    positions = rows[np.concatenate(kept)] if kept else rows[:0]
    return (
        pa.concat_tables(scored),
        positions,
        [(int(rows[row]), reason) for row, reason in sorted(rejects + raised, key=_row)],
    )


# -- the gate's steps -----------------------------------------------------------------------------------------------


def _opened(
    version: ModelVersion,
    content: bytes,
    allowed_types: Collection[str],
    interpreter: Interpreter | None,
    timeout_seconds: float,
) -> Opened:
    there = interpreter or interpreter_of(version)
    if there is None:
        return open_here(version.format, content, allowed_types)
    return open_elsewhere(there, version, content, allowed_types, timeout_seconds=timeout_seconds)


def _check_probe(registry: Registry, loaded: LoadedModel) -> None:
    try:
        worst = worst_difference(registry, loaded)
    except PredictRaised as error:
        raise _probe_failed(registry, loaded, f"the model raised on its own probe rows: {error.message}") from error
    if worst:
        raise _probe_failed(registry, loaded, worst[1])


def worst_difference(registry: Registry, loaded: LoadedModel) -> tuple[float, str] | None:
    """How far the probe rows' outputs are off at the worst, and in words; None within the tolerance.

    PredictRaised where the model cannot score them.
    """
    outputs = loaded.version.outputs
    probe, expected = registry.probe(loaded.version)
    actual = predict(loaded, probe, outputs)
    rtol = loaded.version.signature.probe_rtol
    differences = [_difference(name, expected[name], actual[name], rtol) for name in outputs]
    return max(filter(None, differences), key=lambda each: each[0], default=None)


def _difference(
    name: str, expected: pa.ChunkedArray[Any], actual: pa.ChunkedArray[Any], rtol: float
) -> tuple[float, str] | None:
    """How far a column is off at the worst, and in words; None within the tolerance. What is no float is exact."""
    if not pa.types.is_floating(expected.type):
        off = pc.not_equal(expected, actual).fill_null(True).to_numpy(zero_copy_only=False).astype(float)
        allowed = np.zeros(len(off))
    else:
        then, now = expected.to_numpy(), actual.to_numpy()
        off, allowed = np.abs(now - then), rtol * np.maximum(np.abs(then), 1e-3)
    if (off <= allowed).all():
        return None
    row = int(np.argmax(off - allowed))
    return off[row], (
        f"'{name}' of probe row {row} comes out as {actual[row].as_py()!r}, and was {expected[row].as_py()!r} when the "
        f"version was registered; {int((off > allowed).sum())} of {len(off)} rows differ by more than rtol {rtol}"
    )


def _probe_failed(registry: Registry, loaded: LoadedModel, what: str) -> ModelBlocked:
    version = loaded.version
    remarks = f" ({'; '.join(loaded.warnings)})" if loaded.warnings else ""
    mend = "install the libraries that the version's manifest names, or let an environment that has them load it "
    mend += f"(lamplighter bind {version.name} --version {version.version})"
    if _changed_code(version, own_code.current()):
        mend = "bring back the project's code of that time, or register the model anew with the code of now"
    return ModelBlocked(
        f"{registry.lake.address(version_folder(version.name, version.version))}: {version} does not score its probe rows as it did: {what}{remarks}",
        state="no row was scored",
        next_step=f"{mend}, or `lamplighter rollback {version.name}`",
    )


# -- rows that cannot be scored -------------------------------------------------------------------------------------


def _null_inputs(version: ModelVersion, table: pa.Table) -> list[tuple[int, Reason]]:
    """The rows that are null where the model takes no null: found without asking the model."""
    found = []
    for column in version.inputs.columns:
        if column.nullable or not table[column.name].null_count:
            continue
        message = f"'{column.name}' is null, and {version} takes no null there"
        reason = Reason("predict_raised", "null_input", column.name, None, message)
        found += [
            (int(row), reason) for row in np.flatnonzero(table[column.name].is_null().to_numpy(zero_copy_only=False))
        ]
    return found


def _row(reject: tuple[int, Reason]) -> int:
    return reject[0]


def _tell_nobody(_rows: Rows) -> None:
    pass


def _gave_up(loaded: LoadedModel, rows: int, raised: list[tuple[int, Reason]]) -> ModelBlocked:
    messages = list(dict.fromkeys(reason.message for _, reason in raised))
    return ModelBlocked(
        f"{loaded.version} raised on more than {len(raised) - 1} single rows of a batch of {rows}: {'; '.join(messages[:3])}",
        state="the batch was given up, and nothing of it was published",
        next_step="look at what these rows have in common, mend the source, the suite or the model, and run it again",
    )
