"""A version that asks for an alias: who holds it now, which jobs it would score, and which of them has labels."""

from __future__ import annotations

from tasks.core.definitions.modelling import Promotion, WindowRange
from tasks.core.definitions.project import Definition, Project
from tasks.core.definitions.terms import check_name
from tasks.core.errors import DefinitionError, LamplighterError, NothingToDo
from tasks.core.models.gate.held_out import HeldOut, Trained, held_out_windows
from tasks.core.models.model_events import aliases_in, recalled_in, refuse_elsewhere, withdrawn
from tasks.core.models.model_version import ModelVersion
from tasks.core.models.registry import Registry
from tasks.core.storage import Lake


class Candidacy:
    """What is decided before anything is scored. No dataclass: Prefect takes those apart."""

    def __init__(
        self,
        registry: Registry,
        candidate: ModelVersion,
        alias: str,
        holder: int | None,
        jobs: dict[str, Definition],
        unread: dict[str, str],
        labelled: Definition | None,
        held_out: HeldOut | None,
    ) -> None:
        self.registry = registry
        self.candidate = candidate
        self.alias = alias
        self.holder = holder
        self.jobs = jobs
        self.unread = unread
        self.labelled = labelled
        self.held_out = held_out

    @property
    def name(self) -> str:
        """What its progress is shown under."""
        return f"{self.candidate.name} version {self.candidate.version}"

    @property
    def lake(self) -> Lake:
        return self.registry.lake

    @property
    def promotion(self) -> Promotion:
        """What the job with the labels asks for."""
        return self.labelled.job.promotion if self.labelled else Promotion()

    @property
    def windows(self) -> WindowRange | None:
        """Those whose labelled rows are scored."""
        return self.held_out.windows if self.held_out else None

    @property
    def needs_approval(self) -> bool:
        """Whether one of the jobs wants a person to agree."""
        return any(one.job.promotion.approval for one in self.jobs.values())


def consider(registry: Registry, project: Project, model: str, version: int, alias: str, job: str) -> Candidacy:
    """NothingToDo where the alias names the version already; ModelBlocked where that was recalled; DefinitionError where
    it is MLflow's, whose aliases are moved there.

    `job` names the job whose labels are used; empty: the only one that has any.
    """
    check_name(alias, "an alias", state="no alias was moved")
    candidate = registry.version(model, version)
    refuse_elsewhere(candidate.manifest, {})
    events = registry.history(model)
    if version in recalled_in(events):
        raise withdrawn(model, version, recalled_in(events)[version])
    holder = aliases_in(events).get(alias)
    if holder == version:
        raise NothingToDo(f"{alias} of {model} is version {version} already", state="nothing was changed")
    jobs, unread = _jobs_of(project, model)
    labelled = _labelled(project, model, jobs, job)
    held_out = _held_out(registry, labelled, candidate, holder) if labelled else None
    return Candidacy(registry, candidate, alias, holder, jobs, unread, labelled, held_out)


def _jobs_of(project: Project, model: str) -> tuple[dict[str, Definition], dict[str, str]]:
    """The jobs that name the model, and why others cannot be read: these may name it or not."""
    jobs, unread = {}, {}
    for name in project.job_names():
        try:
            definition = project.load(name, suites=False)
        except LamplighterError as error:
            unread[name] = error.failed
            continue
        if definition.job.model.name == model:
            jobs[name] = definition
    return jobs, unread


def _labelled(project: Project, model: str, jobs: dict[str, Definition], wanted: str) -> Definition | None:
    if wanted and wanted not in jobs:
        # One that is not there, or is broken, says so itself.
        project.load(wanted)
        raise DefinitionError(
            f"the job '{wanted}' does not name the model '{model}'; those that do: {', '.join(jobs) or 'none'}",
            state="no alias was moved",
            next_step="give one of these as --job, or none",
        )
    found = [name for name, one in jobs.items() if one.job.labels and wanted in ("", name)]
    if len(found) > 1:
        raise DefinitionError(
            f"several jobs with labels name the model '{model}': {', '.join(found)}",
            state="no alias was moved",
            next_step=f"say whose labels are to be used: --job {found[0]}",
        )
    if not found:
        return None
    # With its suites: that of the labels is held against them.
    return project.load(found[0])


def _held_out(registry: Registry, definition: Definition, candidate: ModelVersion, holder: int | None) -> HeldOut:
    job = definition.job
    theirs = _trained(registry, candidate.name, holder) if holder else Trained()
    held_out = held_out_windows(job, _trained(registry, candidate.name, candidate.version), theirs)
    if held_out is None:
        raise DefinitionError(
            f"the job '{job.job}' has labels, and does not say of which windows they are to be used",
            state="no alias was moved",
            next_step="add promotion.windows to its YAML: { first: ..., last: ... }",
        )
    return held_out


def _trained(registry: Registry, model: str, number: int) -> Trained:
    try:
        version = registry.version(model, number)
        return Trained.of(version.manifest.training, registry.benchmark(version))
    except LamplighterError:
        # A candidate that is broken the load gate refuses; production that is must not keep its successor out.
        return Trained()
