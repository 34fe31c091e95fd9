"""Where things lie in the lake: every key is made here, from checked names."""

from __future__ import annotations

PREDICTIONS, QUARANTINE, METRICS = "predictions", "quarantine", "metrics"
TABLES = (METRICS, QUARANTINE, PREDICTIONS)
CHALLENGERS = "challengers"
LABELS, PERFORMANCE, MONITORING = "labels", "performance", "monitoring"
MONITORED = "_monitored.json"  # Readers of Parquet pass over what begins with _.
SHADOW = "shadow"  # In the place of predictions, for jobs that nobody relies on yet.


def table(name: str, job: str) -> str:
    return f"{name}/{job}"


def partition(name: str, job: str, as_of: str) -> str:
    """The folder of one window in a table: Hive-partitioned, with one file."""
    return f"{name}/{job}/as_of={as_of}"


def part(run_id: str) -> str:
    """The file's name: unique to the run, so that a reader never opens two versions under one name."""
    return f"part-{run_id}.parquet"


def run_of(part: str) -> str:
    """The run whose file it is."""
    return part.removeprefix("part-").removesuffix(".parquet")


def challenger_part(run_id: str, version: int) -> str:
    """The file's name in `challengers/`: the run whose rows they are, and the version that scored them."""
    return f"part-{run_id}-{version:04d}.parquet"


def runs(job: str, as_of: str) -> str:
    """The folder of a window's workspaces."""
    return f"runs/{job}/as_of={as_of}"


def workspace(job: str, as_of: str, run_id: str) -> str:
    return f"{runs(job, as_of)}/{run_id}"


def dry_runs(job: str, as_of: str) -> str:
    """The folder of what a window's last dry run made: no table, and no run."""
    return f"dry_runs/{job}/as_of={as_of}"


def dry_run(job: str, as_of: str, run_id: str) -> str:
    return f"{dry_runs(job, as_of)}/{run_id}"


def superseded_runs(job: str, as_of: str) -> str:
    """The folder of what a window showed before."""
    return f"superseded/{job}/as_of={as_of}"


def superseded(job: str, as_of: str, run_id: str) -> str:
    return f"{superseded_runs(job, as_of)}/{run_id}"


def withdrawn_runs(job: str, as_of: str) -> str:
    """The folder of what recalls took out of a window."""
    return f"withdrawn/{job}/as_of={as_of}"


def withdrawn(job: str, as_of: str, run_id: str) -> str:
    return f"{withdrawn_runs(job, as_of)}/{run_id}"


def withdrawn_challenger(job: str, as_of: str, part: str) -> str:
    """The folder of one challenger's rows, by the name of its file."""
    return f"{withdrawn_runs(job, as_of)}/{CHALLENGERS}/{part.removesuffix('.parquet')}"


def latest(job: str) -> str:
    """The folder of the table with one row a key."""
    return f"latest/{job}"


def latest_scratch(job: str) -> str:
    """The folder in which it is made anew."""
    return f"scratch/latest/{job}"


def live_seen(job: str) -> str:
    """The folder of what says which run each live window showed at the last look. It may be lost at any time."""
    return f"caches/live/{job}"


def latest_outgrown(job: str) -> str:
    """That the table is not kept, because it had too many rows. No job's name begins with a dot."""
    return f"latest/.outgrown/{job}.json"


def leak_checks(job: str) -> str:
    """The folder of windows that are pulled again, for as long as they are looked at."""
    return f"scratch/leak_checks/{job}"


def leak_check(job: str, as_of: str) -> str:
    return f"{leak_checks(job)}/as_of={as_of}"


def leak_check_lock(job: str, as_of: str) -> str:
    return f"locks/{job} {as_of} leak check.lock"


def latest_lock(job: str) -> str:
    return f"locks/latest of {job}.lock"


def deliveries(job: str) -> str:
    """The folder of what the job's database was last given of each window."""
    return f"deliveries/{job}"


def delivery(job: str, as_of: str) -> str:
    return f"{deliveries(job)}/as_of={as_of}.json"


# Which lake this is, for tables that two might deliver to. No job's name begins with a dot.
DELIVERING_LAKE = "deliveries/.lake"


def delivery_lock(job: str) -> str:
    return f"locks/delivery of {job}.lock"


def queue(job: str) -> str:
    """The folder of a job's windows that wait to be scored again."""
    return f"queue/{job}"


def queued(job: str, as_of: str) -> str:
    return f"{queue(job)}/as_of={as_of}.json"


def watched(job: str) -> str:
    """Since when somebody looks after the deadlines of a job."""
    return f"alerts/{job}/watched_since"


DEADLINES_LOCK = "locks/deadlines of all jobs.lock"


def told_late(job: str, as_of: str, due: str) -> str:
    """That a window was told to be late, past this deadline."""
    return f"alerts/{job}/as_of={as_of}/late-{due}.json"


def looked_at(job: str, as_of: str) -> str:
    """When the source was last found to hold what readers see."""
    return f"revisits/{job}/as_of={as_of}.json"


def labels(job: str, as_of: str, labels_as_of: str) -> str:
    """The folder of a window's labels as they were pulled on a day: Hive-partitioned, with one file."""
    return f"{partition(LABELS, job, as_of)}/labels_as_of={labels_as_of}"


def performance(job: str, as_of: str, labels_as_of: str) -> str:
    """The folder of a window's performance, as of the labels of a day: Hive-partitioned, with one file."""
    return f"{partition(PERFORMANCE, job, as_of)}/labels_as_of={labels_as_of}"


def performance_scratch(job: str) -> str:
    """The folder in which a window's labels and performance are made."""
    return f"scratch/performance/{job}"


def labels_looked_for(job: str, as_of: str) -> str:
    """When a window's labels were last pulled, changed or not. No job's name begins with a dot."""
    return f"{labels_looks(job)}/as_of={as_of}.json"


def labels_looks(job: str) -> str:
    """The folder of those records."""
    return f"{LABELS}/.looked/{job}"


def monitoring(job: str, as_of: str) -> str:
    """The folder of one look at a job, of a day: the figures as a table, and MONITORED beside it."""
    return partition(MONITORING, job, as_of)


def monitoring_scratch(job: str) -> str:
    """The folder in which a look is made, before it is put in place."""
    return f"scratch/monitoring/{job}"


def monitor_lock(job: str) -> str:
    return f"locks/monitor of {job}.lock"


def alarms(job: str) -> str:
    """The folder of what was told of a job."""
    return f"alerts/{job}"


def told_alarm(job: str, kind: str, onset: str) -> str:
    """That an alarm of the monitor was told, by the unit with which it began."""
    return f"{alarms(job)}/{kind}-{onset}.json"


def audits(job: str) -> str:
    """The folder of what audits of a job have found: one record a day."""
    return f"audits/{job}"


def audit_record(job: str, day: str) -> str:
    return f"{audits(job)}/as_of={day}.json"


def audit_lock(job: str) -> str:
    return f"locks/audit of {job}.lock"


def prunes(job: str) -> str:
    """The records of what was removed of a job."""
    return f"pruned/{job}"


def prune_record(job: str, day: str) -> str:
    """What was removed of a job on a day, and by which policy."""
    return f"{prunes(job)}/{day}.json"


def pruning(job: str) -> str:
    """The folder in which what retention has taken out of sight is removed."""
    return f"scratch/pruning/{job}"


def prune_lock(job: str) -> str:
    return f"locks/prune of {job}.lock"


def model(name: str) -> str:
    """The folder of a model in the registry."""
    return f"models/{name}"


def recalls(model: str) -> str:
    """The folder of the records of recalls of a model."""
    return f"models/{model}/recalls"


def recall_record(model: str, version: int) -> str:
    return f"{recalls(model)}/{version:04d}.json"


def lock(job: str, as_of: str) -> str:
    return f"locks/{job} {as_of}.lock"


def revisits_lock(job: str) -> str:
    return f"locks/revisits of {job}.lock"


def dry_run_lock(job: str, as_of: str) -> str:
    """A name of its own: a dry run keeps no other run from its window."""
    return f"locks/{job} {as_of} dry run.lock"


def mirror_lock(model: str) -> str:
    return f"locks/mirror of {model}.lock"


def mirror_scratch(model: str) -> str:
    """The folder of files that come from another registry, while they are looked at."""
    return f"models/{model}/.mirror"


REPORTS = "reports"


def reports(job: str) -> str:
    """The pages of a job."""
    return f"{REPORTS}/{job}"


def window_page(job: str, as_of: str) -> str:
    return f"{reports(job)}/as_of={as_of}.html"


def docs_page(job: str, as_of: str, *, dry_run: bool = False) -> str:
    return f"{reports(job)}/as_of={as_of}{'.dry-run' if dry_run else ''}.expectations.html"


def dry_run_page(job: str, as_of: str) -> str:
    return f"{reports(job)}/as_of={as_of}.dry-run.html"


def index_page(job: str) -> str:
    return f"{reports(job)}/index.html"


def model_page(model: str) -> str:
    """No job's name begins with _: its pages can never lie here."""
    return f"{REPORTS}/_models/{model}/index.html"


def verdict_page(model: str, version: int, number: int) -> str:
    """The page of what the gate said when a version asked for an alias, for the n-th time."""
    return f"{REPORTS}/_models/{model}/promote-{version:04d}-{number:06d}.html"


HOME_PAGE = f"{REPORTS}/index.html"
HOME_LOCK = "locks/the list of all jobs.lock"


def index_lock(job: str) -> str:
    return f"locks/index of {job}.lock"


def releases(job: str) -> str:
    """The folder of what was installed of a job: one record a release, numbered."""
    return f"releases/{job}"


def release_record(job: str, number: int) -> str:
    return f"{releases(job)}/{number:04d}.json"


def release_kept(job: str, number: int) -> str:
    """The folder of the project's files as they were before a release was installed."""
    return f"{releases(job)}/kept/{number:04d}"


def release_wheel(digest: str) -> str:
    """Where the wheel of a release waits to be installed. No model's name begins with a dot."""
    return f"models/.wheels/{digest[:16]}"


# One at a time: whoever comes next finds what a kill left here, and completes it unasked. So it lies where only those
# may write who may install.
RELEASE_STAGING = "models/.installing"
RELEASE_JOURNAL = f"{RELEASE_STAGING}/journal.json"
# Where whoever may score may write: nothing here is believed.
OLD_RELEASE_STAGING = "releases/.staging"
OLD_RELEASE_JOURNAL = f"{OLD_RELEASE_STAGING}/journal.json"
INSTALL_LOCK = "locks/the installation of releases.lock"


FIGURES = "figures.json"  # In a workspace: what its page draws.
PROFILE = "profile.json"  # In a workspace: what was observed of each feature and prediction, in the reference's bins.
RUN_ROW = "run.parquet"  # In a workspace: one row of the table of all runs.


def checkpoint(batch: int) -> str:
    """In a workspace: a batch's rows as they will stand in the table."""
    return f"batches/{batch:06d}.parquet"
