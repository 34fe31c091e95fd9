"""Train: fit on past windows, calibrate and benchmark on later ones, and register what came of it as a new version."""

from __future__ import annotations
