"""What Lamplighter tells the world of a window: the names of its events, and which of them are somebody's alarm."""

from __future__ import annotations

BLOCKED = "lamplighter.run.blocked"
FAILED = "lamplighter.run.failed"
LATE = "lamplighter.run.late"
PUBLISHED = "lamplighter.run.published"
SOURCE_LATE = "lamplighter.source.late"

# What the people are told whom a job's `alerts` name.
ALARMS = (BLOCKED, FAILED, LATE, SOURCE_LATE)

# Labels of the window that an event is about: automations tell one window, and one kind of trouble, from another by them.
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
