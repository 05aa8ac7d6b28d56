"""Points of light curves: each visit once, limits as zero flux."""

import numpy as np
import pandas as pd
import pytest

from fink_broker import curve
from fink_broker.sample import sample


def alert(points: list[tuple[float, str, float, float, float, str]], now: float = 10.0) -> dict[str, object]:
    columns = zip(*points, strict=True) if points else [()] * 6
    row: dict[str, object] = {"mjd": now}
    for name, values in zip(curve.FIELDS, columns, strict=True):
        row[f"lightcurve.{name}"] = np.array(values, object if name in ("band", "kind") else float)
    return row


def test_of_one_visit_the_detection_counts_then_forced_photometry() -> None:
    nan = float("nan")
    alerts = pd.DataFrame(
        [
            alert([(9.0, "r", 8.0, 1.0, nan, "forced"), (9.0 + 1e-6, "r", 9.0, 1.0, nan, "detection"), (9.0, "g", 7.0, 1.0, nan, "forced")]),
            alert([]),
            alert([(8.0, "r", nan, nan, 21.4, "limit"), (10.0, "Y", -5.0, 1.0, nan, "detection"), (8.0, "r", 2.0, 1.0, nan, "forced")]),
        ]
    )
    found = curve.points(alerts)
    assert found.row.tolist() == [0, 0, 2, 2]
    assert found.flux.tolist() == [7.0, 9.0, 2.0, -5.0]
    assert found.band.tolist() == [1, 2, 2, 5]
    assert found.detected.tolist() == [False, True, False, True]
    assert found.age.tolist() == pytest.approx([-1, -1, -2, 0], abs=1e-5)


def test_an_upper_limit_is_no_flux_with_a_fifth_of_it_as_error() -> None:
    found = curve.points(pd.DataFrame([alert([(8.0, "r", np.nan, np.nan, 21.4, "limit")])]))
    assert found.flux.tolist() == [0.0]
    assert found.err[0] == pytest.approx(10**4 / 5)


def test_points_after_the_alert_or_too_old_or_unknown_do_not_count() -> None:
    alerts = pd.DataFrame([alert([(t, "r", 1.0, e, np.nan, "detection") for t, e in ((1.0, 1.0), (9.0, 1.0), (9.5, 0.0), (9.7, np.nan), (10.5, 1.0))])])
    assert curve.points(alerts, days=5).age.tolist() == [-1.0]
    assert len(curve.points(alerts).age) == 2


def test_a_point_does_not_depend_on_the_other_alerts() -> None:
    alerts = sample(curve.INPUTS, 60, 5)
    whole = curve.points(alerts)
    for row in (0, 7, 59):
        one = curve.points(alerts.iloc[[row]].reset_index(drop=True))
        assert np.array_equal(one.flux, whole.flux[whole.row == row])
    assert len(curve.points(alerts[:0]).age) == 0


def test_the_history_is_read_the_same_way() -> None:
    alerts = sample((*curve.INPUTS, *curve.HISTORY_INPUTS), 20, 6)
    assert np.array_equal(curve.points(alerts).flux, curve.points(alerts, prefix="history").flux)
