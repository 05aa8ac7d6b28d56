"""The past of objects, as of each alert's own time."""

import numpy as np
import pandas as pd
import pytest

from fink_broker.errors import ModuleError
from fink_broker.past import HISTORY, POINTS, points_of, wanted, with_past


def alert(name: str | None, mjds: list[float], kinds: list[str] | None = None, mag: float = 18.0) -> dict[str, object]:
    """An alert at the last of its times."""
    number = len(mjds)
    row: dict[str, object] = {"object_id": name, "mjd": mjds[-1] if mjds else 61000.0, "lightcurve.mjd": np.array(mjds, float)}
    row |= {f"lightcurve.{field}": np.full(number, mag) for field in ("flux", "flux_err", "mag", "mag_err", "limit_mag")}
    row |= {"lightcurve.band": np.array(["r"] * number, object), "lightcurve.kind": np.array(kinds or ["detection"] * number, object)}
    return row


def times(frame: pd.DataFrame) -> list[list[float]]:
    return [list(values) for values in frame["history.mjd"]]


def test_without_a_store_the_past_is_the_light_curve() -> None:
    alerts = pd.DataFrame([alert("a", [1, 2, 3]), alert("b", [2]), alert(None, [])], index=[7, 8, 9])
    found = with_past(alerts)
    assert times(found) == [[1, 2, 3], [2], []]
    assert list(found.columns) == list(HISTORY)
    assert list(found.index) == [7, 8, 9]
    assert found["history.band"][7].tolist() == ["r", "r", "r"]
    assert found["history.mag"][9].dtype == float
    assert len(with_past(alerts[:0])) == 0


def test_earlier_points_of_the_object_stand_before_each_once() -> None:
    store = points_of(pd.DataFrame([alert("a", [1, 2], mag=17), alert("a", [1, 2, 5], mag=17), alert("b", [4])]))
    assert list(store.columns) == list(POINTS)
    found = with_past(pd.DataFrame([alert("a", [5, 9]), alert("b", [6]), alert("c", [6])]), store)
    assert times(found) == [[1, 2, 5, 9], [4, 6], [6]]
    assert found["history.mag"][0].tolist() == [17, 17, 18, 18]  # the alert's own measurement counts where both are


def test_nothing_that_came_later_is_seen() -> None:
    history = [alert("a", [float(last - 1), float(last)]) for last in (3, 5, 7, 9)]
    store = points_of(pd.DataFrame(history))
    now = pd.DataFrame([alert("a", [6.0])])
    assert times(with_past(now, store)) == [[2, 3, 4, 5, 6]]  # the point at 6 that the alert at 7 brought is not the reason
    # a late measurement of an early time: forced photometry that the alert at 7 brought
    late = points_of(pd.DataFrame([alert("a", [1.0, 7.0], ["forced", "detection"])]))
    assert times(with_past(now, pd.concat([store, late]))) == [[2, 3, 4, 5, 6]]
    assert times(with_past(pd.DataFrame([alert("a", [8.0])]), pd.concat([store, late]))) == [[1, 2, 3, 4, 5, 6, 7, 8]]


def test_a_batch_is_the_past_of_its_later_alerts_in_any_order() -> None:
    batch = pd.DataFrame([alert("a", [1.0]), alert("a", [2.0]), alert("b", [3.0]), alert("a", [4.0])])
    assert times(with_past(batch, points_of(batch))) == [[1], [1, 2], [3], [1, 2, 4]]
    turned = batch.iloc[::-1].reset_index(drop=True)
    assert times(with_past(turned, points_of(turned))) == [[1, 2, 4], [3], [1, 2], [1]]
    for row in range(4):
        one = batch.iloc[[row]].reset_index(drop=True)
        assert times(with_past(one, points_of(batch)))[0] == times(with_past(batch, points_of(batch)))[row]


def test_kinds_and_bands_of_one_time_are_different_points() -> None:
    found = with_past(pd.DataFrame([alert("a", [1.0, 1.0 + 4e-6, 2.0], ["detection", "forced", "detection"])]))
    assert times(found) == [[1.0, 1.0 + 4e-6, 2.0]]
    twice = with_past(pd.DataFrame([alert("a", [1.0, 1.0 + 4e-6, 2.0])]))
    assert times(twice) == [[1.0, 2.0]]


def test_objects_without_a_name_have_no_past() -> None:
    batch = pd.DataFrame([alert(None, [1.0]), alert(None, [2.0])])
    assert times(with_past(batch, points_of(batch))) == [[1], [2]]


def test_random_histories_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(17)
    print("seed 17")
    alerts = []
    for _ in range(120):
        mjds = np.sort(rng.choice(60, rng.integers(1, 6), replace=False)).astype(float)
        alerts.append(alert(rng.choice(["a", "b", "c"]), list(mjds), mag=float(rng.uniform(15, 20))))
    frame = pd.DataFrame(alerts)
    found = with_past(frame, points_of(frame), ("history.mjd", "history.mag"))
    for row, this in enumerate(alerts):
        points: dict[float, tuple[float, float]] = {}
        for other in alerts:
            if other["object_id"] == this["object_id"] and other["mjd"] < this["mjd"]:  # type: ignore[operator]
                for mjd, mag in zip(other["lightcurve.mjd"], other["lightcurve.mag"], strict=True):  # type: ignore[call-overload]
                    if mjd not in points or other["mjd"] > points[mjd][0]:  # type: ignore[operator]
                        points[mjd] = (other["mjd"], mag)  # type: ignore[assignment]
        points |= {mjd: (np.inf, mag) for mjd, mag in zip(this["lightcurve.mjd"], this["lightcurve.mag"], strict=True)}  # type: ignore[call-overload]
        expected = sorted(points)
        assert found["history.mjd"][row].tolist() == expected
        tied = [mjd for mjd in expected if sum(o["mjd"] == points[mjd][0] for o in alerts) == 1 or np.isinf(points[mjd][0])]
        values = dict(zip(found["history.mjd"][row], found["history.mag"][row], strict=True))
        assert all(values[mjd] == points[mjd][1] for mjd in tied)


def test_unknown_fields_are_told() -> None:
    assert wanted(("mag", "history.mjd", "lightcurve.mag")) == ("history.mjd",)
    with pytest.raises(ModuleError, match=r"there is no 'history.magg'; the history has history.mjd"):
        with_past(pd.DataFrame([alert("a", [1.0])]), None, ("history.magg",))
