"""What Lamplighter tells the world of a window or a job: the names of its events, and which are somebody's alarm."""

from __future__ import annotations

BLOCKED = "lamplighter.run.blocked"
FAILED = "lamplighter.run.failed"
LATE = "lamplighter.run.late"
MISSED = "lamplighter.run.missed"
PUBLISHED = "lamplighter.run.published"
SOURCE_LATE = "lamplighter.source.late"
DEGRADED = "lamplighter.performance.degraded"
DRIFTED = "lamplighter.data.drifted"
LABELS_LATE = "lamplighter.labels.late"
AUDIT_FAILED = "lamplighter.audit.failed"

# What the people are told whom a job's `alerts` name: of a window, and of a job's episodes, which the monitor finds.
ALARMS = (BLOCKED, FAILED, LATE, MISSED, SOURCE_LATE, DEGRADED, DRIFTED, LABELS_LATE, AUDIT_FAILED)
# By the kind of episode, as records.Alarm has it.
EPISODES = {"degraded": DEGRADED, "drifted": DRIFTED, "labels_late": LABELS_LATE}

# Labels of the window that an event is about: automations tell one window, and one kind of trouble, from another by them.
# Of an episode it is the unit with which it began.
WINDOW = "lamplighter.window"
JOB_LABEL, AS_OF_LABEL, OWNER_LABEL, EVENT_LABEL = (
    "lamplighter.job",
    "lamplighter.as_of",
    "lamplighter.owner",
    "lamplighter.event",
)

# Which job a run of a deployment is of, and that it is one of ours: tags.
TAG = "lamplighter"
JOB_TAG = "job:"

# A run that lives says so, so often; after three times of silence it is taken for dead.
HEARTBEAT_SECONDS = 30
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
# A process has begun long before; a container may have to be fetched.
BEGIN_SECONDS = 600
