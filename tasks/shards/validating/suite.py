"""Reading a suite: the JSON that Great Expectations writes, checked as a whole before a row is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn, cast

import pyarrow as pa

from tasks.core.errors import SuiteError
from tasks.core.own_code import NotImportable
from tasks.shards.validating import catalogue, graph, gx
from tasks.shards.validating.outcome import ExpectationSpec, Severity, Suite
from tasks.shards.validating.suite_checks import advice_on, first_problem

_SUITE_KEYS = {"name", "expectations", "meta", "suite_parameters", "notes", "id"}
_EXPECTATION_KEYS = {"type", "kwargs", "meta", "severity", "description", "notes", "id", "rendered_content"}
_SEVERITIES = ("critical", "warning", "info")
_COLUMN_KWARGS = ("column", "column_A", "column_B", "column_list")


class _Problem(Exception):
    """What is wrong with one expectation, and what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


def load_suite(
    text: str,
    *,
    name: str,
    schema: pa.Schema,
    custom: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
) -> Suite:
    """The suite in this text, fit for batches of this schema; SuiteError names the expectation and the remedy.

    `custom` are the modules that define a project's own expectations. `parameters` fill in `{"$PARAMETER": ...}`.
    """
    raw = _parse(text, name)
    try:
        gx.import_custom(custom)
    except NotImportable as error:
        raise SuiteError(
            f"suite '{name}': a module of custom expectations cannot be imported: {error}",
            next_step="mend the module, or take it out of expectations/; then: lamplighter check",
        ) from error
    parameters = {**(raw.get("suite_parameters") or {}), **(parameters or {})}
    specs = [_read_one(name, index, config, schema, parameters) for index, config in enumerate(raw["expectations"])]
    _check_none_lost(name, specs)
    return Suite(
        name=name,
        digest=hashlib.sha256(_canonical(raw).encode()).hexdigest(),
        schema=schema,
        custom=tuple(custom),
        expectations=tuple(specs),
        advice=tuple(filter(None, (advice_on(spec, schema) for spec in specs))),
    )


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        # Brackets in brackets end the parser's stack; a number of thousands of digits is a plain ValueError.
        where = f"{error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise SuiteError(
            f"suite '{name}' is not JSON: {where}",
            next_step="mend the file, or let Great Expectations write it again",
        ) from error
    if not isinstance(raw, dict) or not isinstance(raw.get("expectations"), list):
        raise SuiteError(
            f"suite '{name}' is not a suite: it has no list 'expectations'",
            next_step='write {"name": ..., "expectations": [...]}, as Great Expectations does',
        )
    if not isinstance(raw.get("suite_parameters") or {}, dict):
        raise SuiteError(
            f"suite '{name}': suite_parameters is not an object", next_step="write an object, or take it out"
        )
    if unknown := sorted(set(raw) - _SUITE_KEYS):
        raise SuiteError(
            f"suite '{name}' has unknown keys {unknown}; allowed: {sorted(_SUITE_KEYS)}", next_step="take them out"
        )
    return raw


def _read_one(suite: str, index: int, config: Any, schema: pa.Schema, parameters: Mapping[str, Any]) -> ExpectationSpec:
    try:
        return _spec(index, _checked_shape(config), schema, parameters)
    except _Problem as problem:
        kind = config.get("type") if isinstance(config, dict) else None
        named = kind[:100] if isinstance(kind, str) and kind else "without type"
        raise SuiteError(
            f"suite '{suite}', expectation {index + 1} ({named}): {problem.problem}",
            next_step=problem.fix,
        ) from problem.__cause__
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        # What Great Expectations, or a project's own expectation, makes of values that it did not foresee.
        raise SuiteError(
            f"suite '{suite}', expectation {index + 1} ({config.get('type')}) cannot be used: {_first_line(error)}",
            next_step="mend its kwargs; then: lamplighter check",
        ) from error


def _checked_shape(config: Any) -> dict[str, Any]:
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        _refuse("it has no 'type'", "give each expectation a type, such as expect_column_values_to_not_be_null")
    if unknown := sorted(set(config) - _EXPECTATION_KEYS):
        _refuse(f"unknown keys {unknown}", f"use only {sorted(_EXPECTATION_KEYS)}")
    if not isinstance(config.get("kwargs", {}), dict):
        _refuse("'kwargs' is not an object", 'write "kwargs": {"column": ...}')
    if not isinstance(config.get("meta") or {}, dict):
        _refuse("'meta' is not an object", 'write "meta": {"on_failure": ...}, or leave it out')
    severity = config.get("severity", "critical")
    if not isinstance(severity, str) or severity not in _SEVERITIES:
        _refuse(f"severity {severity!r} is not one of {', '.join(_SEVERITIES)}", "use one of them, or leave it out")
    return {**config, "kwargs": dict(config.get("kwargs", {})), "severity": severity}


def _on_failure(config: Mapping[str, Any], of_rows: bool) -> Literal["quarantine"] | None:
    on_failure = (config.get("meta") or {}).get("on_failure")
    if on_failure is None:
        return None
    if on_failure != "quarantine":
        _refuse(f"meta.on_failure is {on_failure!r}", 'write "on_failure": "quarantine", or leave it out')
    if not of_rows:
        _refuse(
            "on_failure: quarantine needs an expectation that judges each row, and this judges the table",
            "leave on_failure out, and let the severity decide",
        )
    return "quarantine"


def _spec(index: int, config: dict[str, Any], schema: pa.Schema, parameters: Mapping[str, Any]) -> ExpectationSpec:
    kind = config["type"]
    if kind in catalogue.REFUSED:
        _refuse(f"this type is not supported: {catalogue.REFUSED[kind]}", "use another expectation")
    config["kwargs"] = _fill_in(config["kwargs"], parameters)
    expectation = _build_checked(config)
    route, of_rows = _route(expectation, kind)
    kwargs = config["kwargs"]
    columns = () if kind.startswith("expect_table_") else _columns(expectation, kwargs)
    condition_columns = _condition_columns(getattr(expectation, "row_condition", None), schema)
    if missing := sorted(set(columns + condition_columns) - set(schema.names)):
        _refuse(
            f"the data has no column {', '.join(repr(c) for c in missing)}; it has {', '.join(schema.names)}",
            "mend the name, or add the column to the job",
        )
    if problem := first_problem(kind, expectation, columns, schema):
        _refuse(*problem)
    if route == "whole" and not columns:
        _refuse("a custom expectation without columns of its own is not supported", "name its columns in domain_keys")
    return ExpectationSpec(
        index=index,
        type=kind,
        kwargs={key: value for key, value in kwargs.items() if key not in ("batch_id", "result_format")},
        severity=cast("Severity", config["severity"]),
        on_failure=_on_failure(config, of_rows),
        columns=columns,
        condition_columns=condition_columns,
        route=route,
        of_rows=of_rows,
        config=_canonical({key: value for key, value in config.items() if key not in ("id", "rendered_content")}),
        expected=_own_words(expectation, kwargs),
    )


def _own_words(expectation: Any, kwargs: Mapping[str, Any]) -> str | None:
    """`expected_in_words` of a project's own expectation, such as "a speed between {min_mph} and {max_mph} mph"."""
    words = getattr(expectation, "expected_in_words", None)
    return words.format(**{**expectation.dict(), **kwargs}) if isinstance(words, str) else None


def _fill_in(kwargs: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The kwargs with GX's suite parameters filled in; one without a value is an error, not a skipped check."""
    if "$PARAMETER" not in json.dumps(kwargs):
        return kwargs
    from great_expectations.core.suite_parameters import build_suite_parameters  # noqa: PLC0415 - as above

    with gx.quiet():
        try:
            filled, _ = build_suite_parameters(kwargs, dict(parameters))
        except Exception as error:
            raise _Problem(f"a suite parameter has no value: {_first_line(error)}", "give it a value") from error
    return dict(filled)


def _build_checked(config: Mapping[str, Any]) -> Any:
    try:
        return graph.build(config)
    except Exception as error:
        if type(error).__name__ == "ExpectationNotFoundError":
            raise _Problem(
                "Great Expectations knows no such type",
                "mend its name, or put the module that defines it in expectations/",
            ) from error
        problem = "; ".join(line.strip() for line in str(error).splitlines()[1:]) or str(error)
        raise _Problem(f"wrong kwargs: {problem}", f"mend them; given were {json.dumps(config['kwargs'])}") from error


def _route(expectation: Any, kind: str) -> tuple[catalogue.Route, bool]:
    """How it is measured, and whether it judges each row."""
    of_rows = bool(getattr(type(expectation), "map_metric", None))
    if route := catalogue.route_of(kind):
        return route, route == "rows" or kind in catalogue.ROWS_OF_WHOLE
    if type(expectation).__module__.startswith("great_expectations."):
        _refuse("this type is not supported", f"use one of {sorted(catalogue.ROWS | catalogue.SUMS | catalogue.WHOLE)}")
    # A project's own: batch by batch only where its author says that a row is judged by itself.
    row_local = of_rows and getattr(expectation, "row_local", False)
    return ("rows" if row_local else "whole"), of_rows


def _columns(expectation: Any, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    hidden = {"batch_id", "table", "row_condition", "condition_parser", "ignore_row_if"}
    own = [key for key in type(expectation).domain_keys if key not in hidden and key not in _COLUMN_KWARGS]
    found: list[str] = []
    for key in (*_COLUMN_KWARGS, *own):
        value = kwargs.get(key, getattr(expectation, key, None))
        found += [value] if isinstance(value, str) else list(value or [])
    return tuple(dict.fromkeys(found))


def _condition_columns(condition: Any, schema: pa.Schema) -> tuple[str, ...]:
    if condition is None:
        return ()
    if parts := getattr(condition, "conditions", None):
        return tuple(dict.fromkeys(name for part in parts for name in _condition_columns(part, schema)))
    if column := getattr(condition, "column", None):
        return (column.name,)
    # Text for DataFrame.query: whichever columns it may mean.
    written = getattr(condition, "pass_through_filter", str(condition))
    return tuple(name for name in schema.names if name in written)


def _check_none_lost(name: str, specs: Sequence[ExpectationSpec]) -> None:
    """GX itself drops what it does not know from a suite, with a line in its log, and the suite then passes."""
    import great_expectations  # noqa: PLC0415 - as above

    with gx.quiet():
        read = great_expectations.ExpectationSuite(name=name, expectations=[json.loads(spec.config) for spec in specs])
    if len(read.expectations) != len(specs):
        raise SuiteError(
            f"suite '{name}' has {len(specs)} expectations, and Great Expectations reads {len(read.expectations)} of them",
            next_step="validate it with Great Expectations, and mend what it drops",
        )


def _refuse(problem: str, fix: str) -> NoReturn:
    raise _Problem(problem, fix)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
