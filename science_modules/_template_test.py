"""TEMPLATE: the contract, and values worked out by hand."""

import numpy as np
import pandas as pd

from fink_broker.contract import check_module
from fink_broker.sample import sample
from fink_broker.science import Registry
from fink_broker.settings import load

MODULE = Registry.load(load().modules_path).get("template")


def test_the_contract_is_kept() -> None:
    assert check_module(MODULE(), sample(MODULE.inputs)) > 0


def test_half_the_range() -> None:
    alerts = pd.DataFrame({"lightcurve.mag": [np.array([18.0, np.nan, 17.0]), np.array([18.0])]})
    found = MODULE(min_points=2).process(alerts)
    assert found["n_points"].tolist() == [2, 1]
    assert found["amplitude_mag"].fillna(-1).tolist() == [0.5, -1]
