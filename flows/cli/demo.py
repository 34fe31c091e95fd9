"""The command `demo`: a year of real flights, one model, seven scored days, one that is blocked, and a look at them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli import app
from flows.cli.look import RUN_COLUMNS, RUN_NUMBERS, run_row
from flows.cli.many import summary_of
from flows.cli.output import console, paragraph, table
from flows.cli.run import run_flow, run_score
from tasks.core.errors import Blocked

if TYPE_CHECKING:
    from tasks.core.models.model_version import ModelVersion
    from tasks.core.storage import Lake

_READING = """How to read the predictions:

  pandas   pd.read_parquet("{table}")
  DuckDB   SELECT as_of, count(*), avg(probability_late) FROM '{table}/*/*.parquet' GROUP BY ALL ORDER BY 1
  Polars   pl.read_parquet("{table}")

Reports: {reports}
Next:    lamplighter show flight_delays --as-of {broken}
         lamplighter monitor flight_delays --as-of {broken}
         lamplighter demo --mend, and then score that day: lamplighter score flight_delays --as-of {broken}"""


@app.command()
def demo(
    context: typer.Context,
    mend: Annotated[
        bool, typer.Option("--mend", help="Mend the day whose feed the demo broke, and nothing else.")
    ] = False,
    load: Annotated[bool, typer.Option("--load", help="Load the warehouse and the model, and score nothing.")] = False,
) -> None:
    """Set up a warehouse of real flights, train a model, score seven days, and meet one day that is blocked."""
    from tasks import demo as world  # noqa: PLC0415
    from tasks.core.settings import Settings  # noqa: PLC0415
    from tasks.core.storage import Lake  # noqa: PLC0415

    settings = Settings()
    lake, warehouse = Lake(settings.lake), Lake(f"{settings.project}/.demo")
    if mend:
        world.build_warehouse(warehouse)
        paragraph(f"The feed is mended. Next: lamplighter score {world.JOB} --as-of {world.BROKEN_DAY}")
        return
    _load(lake, warehouse, debug=bool(context.obj))
    if load:
        return
    paragraph("3. Seven days, one flow run each, as a scheduler would:")
    for day in world.SCORED_DAYS:
        run_score(world.JOB, day, debug=bool(context.obj))
    paragraph(f"4. And a bad one. {world.break_feed(warehouse)}.")
    _, error = run_score(world.JOB, world.BROKEN_DAY, debug=bool(context.obj))
    _print_table(lake, [*world.SCORED_DAYS, world.BROKEN_DAY])
    if isinstance(error, Blocked):
        paragraph("", f"{world.BROKEN_DAY} is blocked: {error.failed}. Readers see nothing of it.", "")
    _look(world.JOB, world.BROKEN_DAY, debug=bool(context.obj))
    places = {"table": lake.address(f"predictions/{world.JOB}"), "reports": lake.address("reports/index.html")}
    paragraph(*(line.format(**places, broken=world.BROKEN_DAY) for line in _READING.splitlines()))


def _look(job: str, day: str, *, debug: bool) -> None:
    """The demo's last step: what the monitor says of those days, as their labels come."""
    from tasks.core.monitoring.finding import completeness  # noqa: PLC0415

    done, _ = summary_of("flows.monitor", "monitor", job, day, debug=debug)
    if done is not None:
        paragraph(f"5. A look at what was published: {done} {completeness(done.found)}", "")


def _load(lake: Lake, warehouse: Lake, *, debug: bool) -> None:
    """The demo's first two steps: its warehouse, and a production model."""
    from tasks.demo import build_warehouse  # noqa: PLC0415

    flights = build_warehouse(warehouse)
    paragraph(f"1. The warehouse: {flights:,} flights of 2013, with weather, planes and airports.")
    model = _production_model(lake, debug=debug)
    benchmark = ", ".join(f"{one['name']} {one['value']:.3f}" for one in _benchmark(lake, model)["metrics"])
    paragraph(f"2. The model: {model} is production. June, which it had not seen: {benchmark}.")


def _production_model(lake: Lake, *, debug: bool) -> ModelVersion:
    """The production model of the lake; of a new lake, one that is trained and promoted now."""
    from tasks.core.models.registry import Registry  # noqa: PLC0415
    from tasks.demo import JOB  # noqa: PLC0415

    registry = Registry(lake)
    if JOB in registry.names() and "production" in registry.aliases(JOB):
        return registry.alias(JOB, "production")
    version: ModelVersion = run_flow("flows.train", "train", JOB, debug=debug)
    now = dt.datetime.now(dt.UTC)
    registry.set_alias(
        JOB, "production", version.version, at=now, actor="lamplighter demo", reason="the demo's first model"
    )
    return version


def _benchmark(lake: Lake, model: ModelVersion) -> dict[str, list[dict[str, float]]]:
    from tasks.core.models.registry import Registry  # noqa: PLC0415

    return Registry(lake).benchmark(model)


def _print_table(lake: Lake, days: list[str]) -> None:
    from tasks.core.runs.run import latest_manifest  # noqa: PLC0415
    from tasks.demo import JOB  # noqa: PLC0415

    found = [latest_manifest(lake, JOB, day) for day in days]
    console.print()
    table(RUN_COLUMNS[:-2], [run_row(one)[:-2] for one in found if one], numbers=RUN_NUMBERS)
