"""All suites of a job, read and checked: the input's, the output's and the labels'."""

from __future__ import annotations

from tasks.core.definitions.project import Definition
from tasks.shards.label_validation import labels_suite_of
from tasks.shards.output_validation import output_suite_of
from tasks.shards.validation import suite_of


def check_suites(definition: Definition) -> None:
    """SuiteError names what is wrong in one of them."""
    suite_of(definition)
    output_suite_of(definition)
    labels_suite_of(definition)
