"""The parameters that the flows share: typed, described and limited, as the Prefect UI's forms show them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

JobName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="A job: the name of its YAML file.")]
AsOf = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d{2}-\d{2}(T\d{4}Z)?$",
        description="The window: its day (2013-07-01), or the start in UTC of one shorter than a day (2013-07-01T0500Z).",
    ),
]
ModelName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="A model: its name in the registry.")]
Version = Annotated[int, Field(ge=1, description="A version's number in the registry.")]
Alias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="The alias that is moved.")]
Why = Annotated[str, Field(min_length=3, max_length=500, description="Why; it stays in the history for ever.")]
Reason = Annotated[
    str, Field(max_length=500, description="Why a published window is scored again. Empty: it is left alone.")
]
