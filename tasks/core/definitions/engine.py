"""Where the shards of a run are worked on: by processes of this machine, or by the workers of a cluster."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tasks.core.definitions.schedule import Length
from tasks.core.definitions.terms import Definition

EngineKind = Literal["local", "dask", "ray"]
# Each shard of a stage is a task run of Prefect, which bears tens of them and not thousands.
MOST_SHARDS = 100
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}"
_ADDRESSES = {"dask": re.compile(rf"(tcp|tls)://{_HOST}"), "ray": re.compile(rf"(ray://)?{_HOST}")}
_EXAMPLES = {"dask": "tcp://host:8786", "ray": "ray://host:10001, or host:6379 on a node of the cluster"}


class Engine(Definition):
    """Which task runner of Prefect the shards of a run go to. It decides no row: a run may be resumed on another one."""

    kind: Annotated[EngineKind, Field(description="local: child processes of the machine that the run is on.")] = (
        "local"
    )
    address: Annotated[
        str | None,
        Field(
            description="Of Dask's scheduler (tcp://host:8786), of Ray (ray://host:10001). None: a cluster of the run's own, on "
            "its machine.",
        ),
    ] = None
    workers: Annotated[
        int,
        Field(
            ge=0,
            le=MOST_SHARDS,
            description="The most shards at once; 0: as many as the cluster has room for, up to a hundred.",
        ),
    ] = 0
    wait_for_workers: Annotated[
        Length,
        Field(description="How long a run waits for a cluster that has no worker, at its begin or in its midst."),
    ] = "1min"

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        if self.kind == "local":
            if self.address or self.workers:
                raise ValueError("address, workers: they are of dask and ray; a local run has limits.workers")
        elif self.address is not None and not _ADDRESSES[self.kind].fullmatch(self.address):
            raise ValueError(f"address: '{self.address}' is none of {self.kind}'s; write {_EXAMPLES[self.kind]}")
        return self


def _in_full(given: Any) -> Any:
    return {"kind": given} if isinstance(given, str) else given


EngineChoice = Annotated[
    Engine,
    BeforeValidator(_in_full, json_schema_input_type=EngineKind | Engine),
    Field(
        description="Where shards are worked on: local, dask or ray, or one of them with its address. LAMPLIGHTER_ENGINE "
        "where the run is started comes before it.",
    ),
]
