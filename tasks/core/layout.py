"""Where things lie in the lake: every key is made here, from checked names."""

from __future__ import annotations

PREDICTIONS, QUARANTINE, METRICS = "predictions", "quarantine", "metrics"
TABLES = (METRICS, QUARANTINE, PREDICTIONS)


def table(name: str, job: str) -> str:
    return f"{name}/{job}"


def partition(name: str, job: str, as_of: str) -> str:
    """The folder of one window in a table: Hive-partitioned, with one file."""
    return f"{name}/{job}/as_of={as_of}"


def part(run_id: str) -> str:
    """The file's name: unique to the run, so that a reader never opens two versions under one name."""
    return f"part-{run_id}.parquet"


def runs(job: str, as_of: str) -> str:
    """The folder of a window's workspaces."""
    return f"runs/{job}/as_of={as_of}"


def workspace(job: str, as_of: str, run_id: str) -> str:
    return f"{runs(job, as_of)}/{run_id}"


def superseded_runs(job: str, as_of: str) -> str:
    """The folder of what a window showed before."""
    return f"superseded/{job}/as_of={as_of}"


def superseded(job: str, as_of: str, run_id: str) -> str:
    return f"{superseded_runs(job, as_of)}/{run_id}"


def lock(job: str, as_of: str) -> str:
    return f"locks/{job} {as_of}.lock"


def window_page(job: str, as_of: str) -> str:
    return f"reports/{job}/as_of={as_of}.html"


def docs_page(job: str, as_of: str) -> str:
    return f"reports/{job}/as_of={as_of}.expectations.html"


def index_page(job: str) -> str:
    return f"reports/{job}/index.html"


def model_page(model: str) -> str:
    """No job's name begins with _: its pages can never lie here."""
    return f"reports/_models/{model}/index.html"


HOME_PAGE = "reports/index.html"


FIGURES = "figures.json"  # In a workspace: what its page draws.


def checkpoint(batch: int) -> str:
    """In a workspace: a batch's rows as they will stand in the table."""
    return f"batches/{batch:06d}.parquet"
