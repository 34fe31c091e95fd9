"""The alarms of a job that stand, as its last look has left them, for whoever asks how all jobs are: quickly."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.core import layout
from tasks.core.monitoring.keeping import days_looked_at
from tasks.core.monitoring.records import Alarm
from tasks.core.records import read_record
from tasks.core.storage import Lake


class Standing(BaseModel):
    """The few parts of a Monitored that say which alarms stand; all its figures are long."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    as_of: str
    alarms: tuple[Alarm, ...] = ()

    @property
    def open_alarms(self) -> tuple[Alarm, ...]:
        return tuple(one for one in self.alarms if one.until is None)


def standing(lake: Lake, job: str) -> Standing | None:
    """What the last look says; None where nobody has looked yet. LakeCorrupt where it cannot be read."""
    days = days_looked_at(lake, job)
    if not days:
        return None
    key = f"{layout.monitoring(job, days[-1])}/{layout.MONITORED}"
    wrong, step = "is not what a look at a job leaves", f"lamplighter monitor {job}, which makes it anew"
    return read_record(lake, key, Standing, wrong=wrong, next_step=step)
