"""What Prefect does of itself for a project: `deployments/automations.yaml`, made from the jobs.

Four kinds: a run whose process and worker both died is marked as crashed, so that nobody waits for it; a run that a
worker took and never began is given to the next one; the people whom a job's `alerts` name are told what happened to
its windows, and what its monitor has found; and where a job says `monitor.retrain`, its alarms start `train`. One file for
any server: notification blocks and deployments stand in it by name, and `lamplighter automations --apply` looks them up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml

from tasks.core.definitions.job import Job
from tasks.core.definitions.modelling import LABELLED
from tasks.core.events import (
    ALARMS,
    BEGIN_SECONDS,
    EPISODES,
    EVENT_LABEL,
    HEARTBEAT_SECONDS,
    JOB_LABEL,
    JOB_TAG,
    SILENCE_SECONDS,
    TAG,
    WINDOW,
)

PREFIX = "lamplighter: "
_HEADER = """\
# Made from the jobs in deployments/jobs by `lamplighter automations > deployments/automations.yaml`; a change belongs there.
#
#   lamplighter automations --apply
#
# creates, updates and removes them on the Prefect server that PREFECT_API_URL names; a notification block is looked up
# there by its type and name, and a deployment by its flow and name.
"""
# What a run may end in, or wait in without a process: tasks/outcome.py and Prefect's own. A name that is missing here
# does no harm, since what has ended cannot crash any more.
ENDS = (
    "Alarm",
    "AlreadyPublished",
    "Blocked",
    "Cancelled",
    "Completed",
    "Crashed",
    "Differs",
    "DryRun",
    "Failed",
    "NotDelivered",
    "NothingToDo",
    "OnTime",
    "Paused",
    "Promoted",
    "Proven",
    "Published",
    "PublishedWithWarnings",
    "Quiet",
    "SourceLate",
    "Suspended",
    "TimedOut",
    "Unchanged",
    "WindowsLate",
)
# Between being taken by a worker and running, and what comes of it: Prefect's own names.
_TAKEN = ("Pending", "Submitting", "InfrastructurePending")
_BEGUN = ("Running", "Retrying", "heartbeat", "Scheduled", "AwaitingConcurrencySlot", "Cancelling")
# A window that is blocked again by a retry is no news; one that is blocked still, a day later, is worth a reminder.
_QUIET_SECONDS = 24 * 3600
# Runs that say nothing of their end by an event of ours, as those of `score` do.
_WITHOUT_EVENTS = ("audit", "monitor", "train")

_SUBJECT = "{{ event.payload.job }} {{ event.payload.as_of }}: {{ event.payload.verdict }}"
_BODY = """\
{{ event.payload.job }} {{ event.payload.as_of }}: {{ event.payload.verdict }}. {{ event.payload.reason }}
Readers see: {{ event.payload.readers_see }}
Next: {{ event.payload.next_step }}
Owner: {{ event.payload.owner }}. Report: {{ event.payload.report }}
"""
_FAILED_SUBJECT = "{{ flow_run.name }}: {{ flow_run.state.name }}"
_FAILED_BODY = """\
{{ flow_run.name }}: {{ flow_run.state.message }}
Run: {{ flow_run|ui_url }}
"""
_DEAD_SUBJECT = "{{ flow_run.name }}: the run died"
_DEAD_BODY = """\
{{ flow_run.name }}: the run died, and nothing that readers see has changed. {{ flow_run.state.message }}
Next: lamplighter status; the next run of the window goes on where this one was.
Run: {{ flow_run|ui_url }}
"""


def automations_yaml(jobs: Iterable[Job]) -> str:
    """The file's text."""
    return _HEADER + yaml.safe_dump(
        {"automations": automations(jobs)}, sort_keys=False, allow_unicode=True, width=120, default_style=None
    )


def automations(jobs: Iterable[Job]) -> list[dict[str, Any]]:
    """The automations, as Prefect's API takes them but for `block` and `deployment`, which name one of the server's."""
    jobs = list(jobs)
    of_block: dict[str, list[str]] = {}
    for job in jobs:
        for block in job.alerts:
            of_block.setdefault(block, []).append(job.job)
    made = [_dead_runs(), _lost_runs()]
    for block, names in sorted(of_block.items()):
        made += [told(block, sorted(set(names))) for told in (_alerts, _dead_runs_told, _failed_runs_told)]
    return made + [_retraining(job) for job in sorted(jobs, key=lambda one: one.job) if job.monitor.retrain]


def _dead_runs() -> dict[str, Any]:
    return _automation(
        "runs that died",
        f"A run says every {HEARTBEAT_SECONDS} s that it lives. One that is silent for {SILENCE_SECONDS} s has crashed: "
        "its process and its worker were killed, so nobody was left to say so.",
        _silent(after=("heartbeat",), until=("heartbeat", *ENDS), seconds=SILENCE_SECONDS),
        {
            "type": "change-flow-run-state",
            "state": "CRASHED",
            "message": f"The run has not been heard of for {SILENCE_SECONDS} s: its process was killed, and its worker with "
            "it. Its lock in the lake is free, and the next run of the window goes on where this one was.",
        },
    )


def _lost_runs() -> dict[str, Any]:
    return _automation(
        "runs that never began",
        f"A worker took a run and was killed before the run began. After {BEGIN_SECONDS} s another worker may take it. Should "
        "the first one begin all the same, the second is refused, or finds its window published.",
        _silent(after=_TAKEN, until=(*_BEGUN, *ENDS), seconds=BEGIN_SECONDS),
        {
            "type": "change-flow-run-state",
            "state": "SCHEDULED",
            "message": f"A worker took this run, and {BEGIN_SECONDS} s later it had not begun: it is there for the next one.",
        },
    )


def _silent(*, after: Iterable[str], until: Iterable[str], seconds: int) -> dict[str, Any]:
    """The trigger of a run of ours of which, after one of these events, none of those came for so long."""
    return {
        "posture": "Proactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        # Runs of others on this server may say so less often.
        "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"},
        "after": [f"prefect.flow-run.{name}" for name in after],
        "expect": [f"prefect.flow-run.{name}" for name in until],
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": seconds,
    }


def _alerts(block: str, jobs: list[str]) -> dict[str, Any]:
    return _automation(
        f"alerts to {block}",
        "A window is blocked, failed, late or missed, its source is late, the monitor has an alarm, or an audit found what "
        "is not as its records say: told once a day for each window or episode, and kind.",
        {
            "posture": "Reactive",
            "match": {"prefect.resource.id": f"{WINDOW}.*", JOB_LABEL: jobs},
            "expect": list(ALARMS),
            "for_each": ["prefect.resource.id", EVENT_LABEL],
            "threshold": 1,
            "within": _QUIET_SECONDS,
        },
        {"type": "send-notification", "block": block, "subject": _SUBJECT, "body": _BODY},
    )


def _dead_runs_told(block: str, jobs: list[str]) -> dict[str, Any]:
    return _automation(
        f"dead runs to {block}",
        "A run of `score`, `audit`, `monitor` or `train` has crashed: it was killed, and could say nothing itself.",
        _ended(("Crashed",), ("score", *_WITHOUT_EVENTS), jobs),
        {"type": "send-notification", "block": block, "subject": _DEAD_SUBJECT, "body": _DEAD_BODY},
    )


def _failed_runs_told(block: str, jobs: list[str]) -> dict[str, Any]:
    return _automation(
        f"failed looks to {block}",
        "A run of `audit`, `monitor` or `train` has failed: a job that nobody watches any more raises no alarm.",
        _ended(("Blocked", "Failed", "TimedOut"), _WITHOUT_EVENTS, jobs),
        {"type": "send-notification", "block": block, "subject": _FAILED_SUBJECT, "body": _FAILED_BODY},
    )


def _ended(states: Iterable[str], flows: Iterable[str], jobs: list[str]) -> dict[str, Any]:
    """The trigger of a run of one of these flows, for one of these jobs, that came into one of these states."""
    return {
        "posture": "Reactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": [
            {
                "prefect.resource.role": "tag",
                "prefect.resource.id": [f"prefect.tag.{JOB_TAG}{name}" for name in jobs],
            },
            {"prefect.resource.role": "flow", "prefect.resource.name": list(flows)},
        ],
        "expect": [f"prefect.flow-run.{state}" for state in states],
        "for_each": ["prefect.resource.id"],
        "threshold": 1,
        "within": 0,
    }


def _retraining(job: Job) -> dict[str, Any]:
    """Whatever alarms come together, one run: it registers a version, and promotes nothing."""
    causes = sorted(job.monitor.retrain)
    return _automation(
        f"train {job.job}",
        f"An alarm of {job.job} ({' or '.join(causes)}) starts its `train`, at most once a day, on the newest windows whose "
        "labels are due. The version that it makes is promoted by nobody but a person.",
        {
            "posture": "Reactive",
            "match": {"prefect.resource.id": f"{WINDOW}.*", JOB_LABEL: job.job},
            "expect": [EPISODES[cause] for cause in causes],
            "for_each": [JOB_LABEL],
            "threshold": 1,
            "within": _QUIET_SECONDS,
        },
        {
            "type": "run-deployment",
            "source": "selected",
            "deployment": f"train/{job.job}",
            # On the ranges as the job says it would make the same model again, until somebody has moved them.
            "parameters": {"until": LABELLED},
        },
    )


def _automation(name: str, description: str, trigger: dict[str, Any], action: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": PREFIX + name,
        "description": description,
        "tags": [TAG],
        "trigger": {"type": "event", **trigger},
        "actions": [action],
    }
