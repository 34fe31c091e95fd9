"""What a window's run leaves in the Prefect UI: its report in Markdown, its figures as a table, a link to the page.

An artifact's name is the job's, so that the page Artifacts lists a job's last run and, behind it, all before; it is the
run's own page that shows those of one window.
"""

from __future__ import annotations

import re

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.core import layout, pages
from tasks.core.monitoring.records import Monitored
from tasks.core.runs.challenger import Beside
from tasks.core.runs.manifest import Manifest
from tasks.core.settings import Settings
from tasks.core.storage import Lake


def artifact_name(*words: str) -> str:
    """The words as Prefect wants a name: of lower-case letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def show_window(lake: Lake, page: str, manifest: Manifest, beside: Beside) -> None:
    """The window's artifacts; `page` is the key of its report in the lake. Needs a flow or a task that runs."""
    link = _link(page)
    # What a dry run says must not stand for the job's last run.
    of = f"{manifest.job} dry run" if manifest.is_dry_run else manifest.job
    about = f"{manifest.job} {manifest.as_of}: {(manifest.verdict or manifest.state).replace('_', ' ')}"
    text = pages.render_markdown(manifest, link or lake.address(page), beside)
    create_markdown_artifact(text, key=artifact_name(of, "report"), description=about)
    figures = pages.summary_rows(manifest, beside)
    create_table_artifact(figures, key=artifact_name(of, "figures"), description=about)
    if link:
        create_link_artifact(
            link,
            link_text=f"The report of {manifest.job} {manifest.as_of}",
            key=artifact_name(of, "page"),
            description=about,
        )


def show_look(lake: Lake, found: Monitored) -> None:
    """What a look at a job has found, as its artifact `monitor-<job>`. Needs a flow or a task that runs."""
    page = layout.index_page(found.job)
    link, about = _link(page), f"{found.job} as of {found.as_of}: {pages.look_in_words(found)}"
    text = pages.look_markdown(found, link or lake.address(page))
    create_markdown_artifact(text, key=artifact_name("monitor", found.job), description=about)
    create_table_artifact(pages.look_rows(found), key=artifact_name("monitor", found.job, "figures"), description=about)
    if link:
        create_link_artifact(
            link,
            link_text=f"The report of {found.job}",
            key=artifact_name("monitor", found.job, "page"),
            description=about,
        )


def _link(page: str) -> str:
    """Where a browser finds the page; nothing where no server of the reports is named."""
    address = Settings().pages_url.rstrip("/")
    return f"{address}/{page.removeprefix('reports/')}" if address else ""
