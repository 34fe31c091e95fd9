"""The door to Great Expectations: imported late, once, and without its noise."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

from tasks.core.own_code import imported

# One batch is known to an engine under one constant name: GX's metric ids then do not depend on the batch.
BATCH_ID = "batch"


@contextmanager
def quiet() -> Iterator[None]:
    """GX warns of its own deprecations while it is imported and while it reads a suite; they are not the user's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _no_doctest() -> Iterator[None]:
    """GX imports pyspark where it is installed, which takes a main module without a file (`python -c`) for that of a
    doctest, and ends the process with 0. It does not while the process looks like a prompt.
    """
    if hasattr(sys, "ps1"):
        yield
        return
    sys.ps1 = ""
    try:
        yield
    finally:
        del sys.ps1


@functools.cache
def great_expectations() -> ModuleType:
    """The package, imported."""
    with quiet(), _no_doctest():
        module = importlib.import_module("great_expectations")
        importlib.import_module("great_expectations.expectations.core")
        importlib.import_module("great_expectations.validator.metrics_calculator")
    # Importing GX sends every warning of the process to its log. Errors of a metric are reported by the result.
    logging.captureWarnings(False)
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    return module


def import_custom(modules: Sequence[str]) -> None:
    """Imports the modules that define a project's own expectations, so that GX knows them before a suite is read.

    NotImportable names the one that cannot be, and why.
    """
    great_expectations()
    with quiet():
        for name in modules:
            imported(name)
