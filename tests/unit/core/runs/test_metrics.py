"""The rows of the metrics table that one run gives."""

from tasks.core.runs import metrics
from tasks.core.runs.manifest import FeatureDriftRecord
from tests.page_samples import manifest


def test_each_figure_of_a_columns_drift_is_a_row_and_what_there_is_not_is_none():
    none = dict.fromkeys(("psi", "jensen_shannon", "missing_share_reference", "missing_share", "new_category_share"))
    number = FeatureDriftRecord(column="temp", **none | {"psi": 0.1}, kolmogorov_smirnov=0.2, wasserstein=0.05)
    category = FeatureDriftRecord(column="dest", **none | {"new_category_share": 0.0}, chi_squared=7.5, cramers_v=0.3)
    kinds = {"psi", "jensen_shannon", "kolmogorov_smirnov", "wasserstein", "chi_squared", "cramers_v"}
    kinds |= {"missing_share", "new_category_share"}
    found = [row for row in metrics.of_run(manifest(drift=(number, category))) if row[0] in kinds]
    assert found == [
        ("psi", "temp", 0.1),
        ("kolmogorov_smirnov", "temp", 0.2),
        ("wasserstein", "temp", 0.05),
        ("chi_squared", "dest", 7.5),
        ("cramers_v", "dest", 0.3),
        ("new_category_share", "dest", 0.0),
    ]


def test_the_drift_of_a_run_of_before_is_still_read():
    before = (
        '{"column": "a", "psi": 0.1, "jensen_shannon": null, "missing_share_reference": 0.0, "missing_share": 0.0, '
    )
    kept = FeatureDriftRecord.model_validate_json(before + '"new_category_share": null}')
    assert (kept.psi, kept.kolmogorov_smirnov, kept.cramers_v) == (0.1, None, None)
