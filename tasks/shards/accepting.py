"""The names by which the gates of a job are accepted: its expectations, of what comes in and of what goes out, and two more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.definitions.project import Definition
from tasks.core.runs.acceptance import Choice, Effect, resolve
from tasks.core.runs.gate import QUARANTINE_SHARE, VOLUME
from tasks.core.runs.manifest import Manifest
from tasks.core.runs.run import Run, manifest_of
from tasks.shards.output_validation import output_suite_of
from tasks.shards.validating import ExpectationSpec, Suite
from tasks.shards.validation import suite_of


@dataclass(frozen=True)
class Gates:
    """The expectations of both suites by name, in the order of the suites, and all that may be asked for."""

    suite: tuple[str, ...]
    output_suite: tuple[str, ...]
    choices: tuple[Choice, ...]


def gates_of(definition: Definition) -> Gates:
    """The gates of a job. An expectation is its type with its columns; more where that would mean two."""
    suites = [suite_of(definition), output_suite_of(definition)]
    everywhere = Counter(_base(spec) for suite in suites for spec in _specs(suite))
    choices = [[_choice(suite, spec, everywhere) for spec in _specs(suite)] for suite in suites if suite is not None]
    of_input, of_output = [choices.pop(0) if suite is not None else [] for suite in suites]
    counted = [Choice(QUARANTINE_SHARE)]
    volume = definition.job.output.volume
    if volume is not None:
        counted.append(Choice(VOLUME, effect="blocks" if volume.severity == "critical" else "never"))
    return Gates(
        suite=tuple(one.name for one in of_input),
        output_suite=tuple(one.name for one in of_output),
        choices=(*of_input, *of_output, *counted),
    )


def accepted_names(definition: Definition, given: Sequence[str], blocked: Manifest | None) -> tuple[str, ...]:
    """The gates that are meant, by their own names; DefinitionError where there is none, or several. `blocked` is the
    run whose rows are to be accepted, if there is one.
    """
    return resolve(given, gates_of(definition).choices, blocked_by=blocked.blocked_by if blocked else ())


def accepted_of(run: Run, names: Sequence[str]) -> tuple[int, ...]:
    """The places of the expectations, given by name in the order of their suite, that may fail in this run."""
    accepted = manifest_of(run).trigger.accept
    return tuple(place for place, name in enumerate(names) if name in accepted)


def _specs(suite: Suite | None) -> Sequence[ExpectationSpec]:
    return suite.expectations if suite else ()


def _choice(suite: Suite, spec: ExpectationSpec, everywhere: Counter[str]) -> Choice:
    base = _base(spec)
    in_suite = f"{suite.name}:{base}"
    name = base
    if everywhere[base] > 1:
        name = in_suite
    if sum(_base(one) == base for one in suite.expectations) > 1:
        # Told apart by their place, as `check` counts them: arguments may be long, and equal.
        name = f"{in_suite}#{spec.index + 1}"
    return Choice(
        name,
        also=(spec.type, base, in_suite, spec.label),
        effect=_effect(spec),
        told=spec.label if "#" in name else "",
    )


def _base(spec: ExpectationSpec) -> str:
    return f"{spec.type}({', '.join(spec.columns)})" if spec.columns else spec.type


def _effect(spec: ExpectationSpec) -> Effect:
    if spec.on_failure == "quarantine":
        return "quarantines"
    return "blocks" if spec.severity == "critical" else "never"
