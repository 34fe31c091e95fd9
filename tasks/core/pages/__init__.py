"""The pages that people look at: drawn from plain records, touching no file.

render_window: one window. render_index: one job. render_home: all jobs. render_markdown and summary_rows: Prefect's
artifacts, with the same figures.
"""

from tasks.core.pages.challenger_view import sentence as challenger_sentence
from tasks.core.pages.home_view import render_home
from tasks.core.pages.index_view import render_index
from tasks.core.pages.inputs import (
    IndexPage,
    JobLine,
    Link,
    ModelLine,
    OtherTables,
    PublishedColumn,
    QuarantineExample,
    WindowMonitoring,
    WindowPage,
    WindowPoint,
)
from tasks.core.pages.look_markdown import look_in_words, look_markdown, look_rows
from tasks.core.pages.markdown import render_markdown, summary_rows
from tasks.core.pages.model_view import ModelPage, render_model
from tasks.core.pages.promotion_view import (
    Answer,
    PromotionPage,
    promotion_markdown,
    promotion_rows,
    render_promotion,
)
from tasks.core.pages.window_view import render_window

__all__ = [
    "Answer",
    "IndexPage",
    "JobLine",
    "Link",
    "ModelLine",
    "ModelPage",
    "OtherTables",
    "PromotionPage",
    "PublishedColumn",
    "QuarantineExample",
    "WindowMonitoring",
    "WindowPage",
    "WindowPoint",
    "challenger_sentence",
    "look_in_words",
    "look_markdown",
    "look_rows",
    "promotion_markdown",
    "promotion_rows",
    "render_home",
    "render_index",
    "render_markdown",
    "render_model",
    "render_promotion",
    "render_window",
    "summary_rows",
]
