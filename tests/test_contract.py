"""The contract, on every module that is shipped and on modules that break it."""

import socket

import numpy as np
import pandas as pd
import pytest

from fink_broker.contract import check_module, columns_of, with_others
from fink_broker.errors import BrokenContract, ConfigError
from fink_broker.sample import sample
from fink_broker.science import COLUMNS, Registry, ScienceModule
from fink_broker.settings import data_folder

REGISTRY = Registry.load(data_folder("science_modules"))


def made_up(kind: type[ScienceModule], number: int, seed: int = 1) -> pd.DataFrame:
    return with_others(kind(), sample(columns_of(kind, REGISTRY), number, seed), REGISTRY)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_module_keeps_the_contract(name: str, seed: int) -> None:
    print("seed", seed)
    kind = REGISTRY.get(name)
    assert check_module(kind(), made_up(kind, 80, seed)) > 0


@pytest.mark.parametrize("name", list(REGISTRY))
@pytest.mark.filterwarnings("error")
def test_every_module_takes_batches_of_nothing_but_one_kind_of_point(name: str) -> None:
    kind = REGISTRY.get(name)
    for value in ("limit", "forced", "detection"):
        alerts = made_up(kind, 20)
        if "lightcurve.kind" in alerts:
            alerts["lightcurve.kind"] = alerts["lightcurve.kind"].map(lambda kinds, value=value: np.full(len(kinds), value, object))
        check_module(kind(), alerts)
    unknown = made_up(kind, 20)
    for column in unknown.columns:
        if unknown[column].dtype.kind == "f":
            unknown[column] = np.nan
    check_module(kind(), unknown)


def module(body: object, kind: str = "double") -> ScienceModule:
    class Made(ScienceModule):
        """Made for a test."""

        name, version, inputs, outputs = "made", "1", ("ra", "lightcurve.mag"), {"value": kind}

        def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"value": body(alerts)}, index=alerts.index)  # type: ignore[operator]

    return Made()


def shifted(alerts: pd.DataFrame) -> pd.Series:
    for mag in alerts["lightcurve.mag"]:
        mag -= 1
    return alerts["ra"]


def asking(alerts: pd.DataFrame) -> pd.Series:
    socket.create_connection(("127.0.0.1", 9))
    return alerts["ra"]


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (lambda alerts: alerts["ra"].rank(), "double", r"value of an alert is .* in a batch of 61 and .* in a half of the batch; use only the alert's own row"),
        (lambda alerts: np.full(len(alerts), np.random.default_rng().random()), "double", "use only the alert's own row"),
        (lambda alerts: ["Fail"] * len(alerts), "double", "made: value is not double: .*; return what is declared, null where not computed"),
        (lambda alerts: alerts["ra"], "int", "made: value is not int"),
        (lambda alerts: alerts["ra"], "string", "made: value is not string"),
        (lambda alerts: alerts["ra"], "array<double>", "made: value is not array<double>"),
        (asking, "double", r"made opens a connection to \('127.0.0.1', 9\); modules use no network: ship the data with it"),
        (shifted, "double", "made changes its input lightcurve.mag, which other modules read too; copy it first"),
    ],
)
def test_broken_modules_are_caught(body: object, kind: str, message: str) -> None:
    with pytest.raises(BrokenContract, match=message):
        check_module(module(body, kind), sample(("ra", "lightcurve.mag")))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (lambda alerts: alerts["lightcurve.mag"].map(lambda mag: np.append(mag, np.nan)), "array<double>"),
        (lambda alerts: [["a", None]] * len(alerts), "array<string>"),
        (lambda alerts: pd.Series([2**62 + 1] * len(alerts), index=alerts.index), "bigint"),
        (lambda alerts: np.where(alerts["ra"] > 100, 3.0, np.nan), "int"),
        (lambda alerts: [None] * len(alerts), "boolean"),
        (lambda alerts: alerts["ra"] * (1 + 1e-9 * len(alerts)), "double"),  # the last digits may differ
    ],
)
def test_good_modules_of_every_type(body: object, kind: str) -> None:
    check_module(module(body, kind), sample(("ra", "lightcurve.mag")))


def test_made_up_columns_are_those_of_an_alert() -> None:
    alerts = sample((*COLUMNS, "packet.candidate.rb"), 30, 4)
    assert alerts.equals(sample((*COLUMNS, "packet.candidate.rb"), 30, 4))
    assert all((curve[-1] == mjd) for curve, mjd in zip(alerts["lightcurve.mjd"], alerts["mjd"], strict=True))
    assert all(kinds[-1] == "detection" for kinds in alerts["lightcurve.kind"])
    assert len(sample(("ra", "lightcurve.mag"), 0)) == 0
    with pytest.raises(ConfigError, match="no made-up values for 'features.amplitude_r'"):
        sample(("features.amplitude_r",))
