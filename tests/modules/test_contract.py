"""The contract, on every module that is shipped: empty batch, one alert, nulls, one batch or two."""

import numpy as np
import pandas as pd
import pytest

from fink_broker.contract import check_module
from fink_broker.errors import BrokenContract
from fink_broker.science import Registry, ScienceModule
from fink_broker.settings import data_folder
from tests.modules.curves import alerts, point

REGISTRY = Registry.load(data_folder("science_modules"))


def sample(seed: int = 11, number: int = 60) -> pd.DataFrame:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    curves = [[]]
    for _ in range(number - 1):
        times = np.sort(rng.uniform(0, 40, int(rng.integers(1, 25)))) + 60000
        kinds = rng.choice(["detection", "limit", "forced"], len(times), p=[0.7, 0.2, 0.1])
        curves.append(
            [point(t, rng.uniform(15, 20), rng.choice(["g", "r", "i"]), kind=str(k), sign=int(rng.choice([-1, 1]))) for t, k in zip(times, kinds, strict=True)]
        )
    some = rng.random(number) < 0.5
    return alerts(
        *curves,
        ra=rng.uniform(0, 360, number).tolist(),
        dec=rng.uniform(-90, 90, number).tolist(),
        ss_object_id=[f"{i}" if one else None for i, one in enumerate(some)],
        ss_distance_arcsec=np.where(some, rng.uniform(0, 20, number), np.nan).tolist(),
        n_detections=rng.integers(1, 4, number).tolist(),
        neighbour_distance_arcsec=np.where(some, rng.uniform(0, 10, number), np.nan).tolist(),
        neighbour_star_score=np.where(some, rng.uniform(0, 1, number), np.nan).tolist(),
        **{f"packet.candidate.{name}": np.where(some, rng.uniform(0, 2, number), np.nan).tolist() for name in ("rb", "nbad", "fwhm", "elong", "magdiff")},
    )


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_module_keeps_the_contract(name: str) -> None:
    assert check_module(REGISTRY.get(name)(), sample()) > 0


def test_a_module_that_looks_at_its_neighbours_is_caught() -> None:
    class Ranked(ScienceModule):
        """Rank in the batch."""

        name, version, inputs, outputs = "ranked", "1", ("ra",), {"rank": "double"}

        def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"rank": alerts["ra"].rank()}, index=alerts.index)

    with pytest.raises(BrokenContract, match="changes with the batch"):
        check_module(Ranked(), sample())
