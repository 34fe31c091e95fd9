"""Validates labels against their own suite, before a model is fitted on them or held against them."""

from __future__ import annotations

import pyarrow as pa

from tasks.core.definitions.project import Definition
from tasks.core.errors import Blocked
from tasks.core.models.registering.training_data import label_schema
from tasks.shards.validating import Suite
from tasks.shards.validation import judge_table, load_checked, refuse_quarantine


def labels_suite_of(definition: Definition) -> Suite | None:
    """The suite of the labels, checked against the keys and the target; SuiteError names what is wrong."""
    labels = definition.job.labels
    if labels is None or labels.suite is None or definition.labels_suite_text is None:
        return None
    suite = load_checked(definition.labels_suite_text, labels.suite, label_schema(definition.job, labels))
    refuse_quarantine(suite, "labels, of which none is scored")
    return suite


def check_labels(definition: Definition, labels: pa.Table) -> None:
    """Blocked where an expectation that blocks does not hold; labels without a suite are taken as they are."""
    suite = labels_suite_of(definition)
    if suite is None:
        return
    blocking = judge_table(suite, labels).blocking
    if blocking:
        raise Blocked(
            f"the labels of {definition.job.job} are not fit to learn or judge by: {'; '.join(one.sentence for one in blocking)}",
            state="nothing was fitted or registered, and no alias was moved",
            next_step=f"mend the labels' query, or the suite '{suite.name}'",
        )
