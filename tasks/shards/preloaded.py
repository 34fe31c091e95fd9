"""What child processes are forked with: the libraries that take seconds to import, and run nothing when they are."""

from __future__ import annotations

import sklearn.compose
import sklearn.ensemble
import sklearn.pipeline  # noqa: F401

from tasks.shards import scoring, validation  # noqa: F401
from tasks.shards.validating import gx

gx.great_expectations()
