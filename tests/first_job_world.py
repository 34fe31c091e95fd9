"""The world of docs/your-first-job.md: a bank's table of loans, what a model was trained on, and an old script's output.

To follow the page: python tests/first_job_world.py postgresql://... FOLDER
"""

import pathlib
import sys

import numpy as np
import pandas as pd

SEED, TRAINED_ON, OPEN_LOANS, REPAID = 6, 4000, 1500, 12
PURPOSES = ["business", "car", "education", "home", "other"]
FIRST_LOAN = 1001
TABLES = (
    (
        "CREATE TABLE loans (loan bigint PRIMARY KEY, purpose text, amount numeric(10, 2), months int, "
        "income numeric(10, 2), arrears int, rate_pct double precision)"
    ),
    "CREATE TABLE loan_history (LIKE loans, recorded_at timestamptz NOT NULL)",
    "CREATE SCHEMA analytics",
)
# The nightly load, long before the windows of the page.
RECORDED = "INSERT INTO loan_history SELECT loans.*, timestamptz '2026-02-28 23:00+01' FROM loans"


def loans(count, first, random):
    """Loans as the bank knows them: months are of the contract, income is by the month and missing for three in a hundred."""
    income = np.round(random.lognormal(8.0, 0.4, count), 2)
    return pd.DataFrame(
        {
            "loan": np.arange(first, first + count),
            "purpose": random.choice(PURPOSES, count, p=[0.1, 0.3, 0.1, 0.4, 0.1]),
            "amount": np.round(random.lognormal(9.3, 0.7, count), -2) + 500,
            "months": random.choice([12, 24, 36, 48, 60], count),
            "income": np.where(random.random(count) < 0.03, np.nan, income),
            "arrears": random.poisson(0.4, count),
            "rate_pct": np.round(random.uniform(2, 12, count), 2),
        }
    )


def defaulted(rows, random):
    """What became of them, by a rule that no model is told."""
    burden = (rows["amount"] / rows["months"] / rows["income"]).fillna(0.3)
    logit = -3.6 + 4 * burden + 0.9 * rows["arrears"] + 0.08 * rows["rate_pct"] + 0.7 * (rows["purpose"] == "business")
    return random.random(len(rows)) < 1 / (1 + np.exp(-logit))


def make_world():
    """What the model was trained on, the loans that are open today, and those that have been repaid since the old script ran."""
    random = np.random.default_rng(SEED)
    trained_on = loans(TRAINED_ON, 1, random).assign(loan=lambda rows: rows["loan"] + 500_000)
    trained_on["defaulted"] = defaulted(trained_on, random)
    known = loans(OPEN_LOANS + REPAID, FIRST_LOAN, random)
    return trained_on, known.iloc[:OPEN_LOANS], known.iloc[OPEN_LOANS:]


def insert(rows):
    """A statement that puts the rows into `loans`."""
    texts = [[_literal(value) for value in row] for row in rows.itertuples(index=False)]
    return f"INSERT INTO loans VALUES {', '.join('(' + ', '.join(row) + ')' for row in texts)}"


def _literal(value):
    return (
        f"'{value}'"
        if isinstance(value, str)
        else "NULL"
        if pd.isna(value)
        else repr(getattr(value, "item", lambda: value)())
    )


def old_script(trained_on, rows):
    """The cron script's table: missing incomes are filled with the mean, large loans left out, six digits written."""
    from lightgbm import LGBMClassifier

    def prepared(given):
        return given.assign(
            burden=given["amount"] / given["months"] / given["income"],
            purpose=given["purpose"].astype(pd.CategoricalDtype(PURPOSES)),
        ).drop(columns=["loan", "defaulted"], errors="ignore")

    model = LGBMClassifier(n_estimators=60, num_leaves=15, random_state=0, n_jobs=1, verbose=-1)
    model.fit(prepared(trained_on), trained_on["defaulted"])
    taken = rows[rows["amount"] < 60_000]
    filled = taken.assign(income=taken["income"].fillna(taken["income"].mean()))
    scores = model.predict_proba(prepared(filled))[:, 1]
    return pd.DataFrame({"loan_id": taken["loan"], "p_default": np.round(scores, 6)})


def write_world(execute, folder):
    """Fills the database by `execute(*statements)`, and writes training.parquet and old_scores.parquet into the folder."""
    trained_on, still_open, repaid = make_world()
    execute(*TABLES, insert(still_open), RECORDED)
    trained_on.to_parquet(pathlib.Path(folder) / "training.parquet", index=False)
    before = pd.concat([still_open, repaid])
    old_script(trained_on, before).to_parquet(pathlib.Path(folder) / "old_scores.parquet", index=False)


def main(uri, folder):
    import adbc_driver_postgresql.dbapi as driver

    def execute(*statements):
        with driver.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    write_world(execute, folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
