"""An existing Fink processor, unchanged, as a science module."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fink_broker.adapter import FinkProcessor
from fink_broker.contract import check_module
from fink_broker.errors import BrokenContract
from fink_broker.science import Chain, Registry
from fink_broker.settings import load

# In the style of fink-science: decorated for Spark, sentinels for "not computed", a column of one value as a parameter.
PROCESSOR = """
import numpy as np
import pandas as pd
from pyspark.sql.functions import pandas_udf
from pyspark.sql.types import DoubleType, MapType, StringType


@pandas_udf(DoubleType())
def brightening(cjd: pd.Series, cmagpsf: pd.Series, cfid: pd.Series, fid: pd.Series, ndethist: pd.Series,
                cdsxmatch: pd.Series, limit: pd.Series) -> pd.Series:
    mask = (ndethist.astype(int) >= 2) & (cdsxmatch != "Star")
    out = np.full(len(cjd), -1.0)
    for i in np.flatnonzero(mask):
        mags = np.array(cmagpsf.iloc[i])[np.array(cfid.iloc[i]) == fid.iloc[i]]
        mags = mags[mags == mags]
        if len(mags) > 1:
            out[i] = min(mags[-2] - mags[-1], limit.iloc[0])
    return pd.Series(out)


@pandas_udf(MapType(StringType(), DoubleType()))
def both(magpsf: pd.Series, objectId: pd.Series) -> pd.Series:
    return magpsf.map(lambda mag: {"bright": 25 - mag, "twice": 2 * mag, "more": 1.0} if mag == mag else {})
"""
MODULE = '''
from fink_broker.adapter import FinkProcessor


class Brightening(FinkProcessor):
    """By how much it is brighter than before [mag]."""

    name, version, surveys = "brightening", "1.0", ("ztf",)
    function = "fink_like_processor:brightening"
    arguments = ("cjd", "cmagpsf", "cfid", "fid", "ndethist", "cdsxmatch")
    constants = {"limit": 3.0}
    outputs = {"magnitudes": "double"}


class Both(FinkProcessor):
    """Two values of a map."""

    name, version, surveys = "both", "1.0", ("ztf",)
    function = "fink_like_processor:both"
    arguments = ("magpsf", "objectId")
    outputs = {"bright": "double", "twice": "double"}
'''


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    (tmp_path / "modules").mkdir()
    (tmp_path / "fink_like_processor.py").write_text(PROCESSOR)
    (tmp_path / "modules" / "brightening.py").write_text(MODULE)
    (tmp_path / "modules" / "xmatch").mkdir()
    for file in (load().modules_path / "xmatch").glob("*.*"):
        (tmp_path / "modules" / "xmatch" / file.name).write_text(file.read_text())
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "fink_like_processor", raising=False)
    return Registry.load(tmp_path / "modules")


def alerts() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "packet.candidate.jd": [2460000.5] * 4,
            "packet.candidate.magpsf": [18.0, 18.0, 12.0, np.nan],
            "packet.candidate.fid": [1, 2, 1, 1],
            "packet.candidate.ndethist": [3, 3, 3, 1],
            "packet.objectId": ["a", "b", "c", "d"],
            "ra": [10.0] * 4,
            "dec": [20.0] * 4,
        }
    )
    history = {"jd": [2460000.1, 2460000.2], "magpsf": [18.5, np.nan], "fid": [1, 1]}
    for name, values in history.items():
        frame[f"packet.prv_candidates.{name}"] = pd.Series([np.array(values), np.array(values), np.array(values), None], dtype=object)
    return frame


def test_history_and_alert_are_joined_and_sentinels_are_null(registry: Registry) -> None:
    chain = Chain(registry, ["brightening", "both", "xmatch"], {}, "ztf", on_failure="fail")
    assert chain.names[-1] == "brightening"  # reads what the cross-match says
    assert "packet.prv_candidates.magpsf" in chain.columns
    frame = alerts()[list(chain.columns)]
    out = chain.run(frame, pd.DataFrame(True, index=frame.index, columns=list(chain.names)))
    assert out["brightening.magnitudes"].fillna(-9).tolist() == [0.5, -9, 3.0, -9]
    assert out["both.bright"].fillna(-9).tolist() == [7.0, 7.0, 13.0, -9]
    assert out["both.twice"].fillna(-9).tolist() == [36.0, 36.0, 24.0, -9]


def test_the_contract_is_kept(registry: Registry) -> None:
    assert check_module(registry.get("both")(), alerts()) > 0


def test_what_a_processor_needs_is_said() -> None:
    with pytest.raises(BrokenContract, match=r'Fink processor Lost needs function, arguments, and one survey of ztf, lsst, elasticc, as \("ztf",\)'):

        class Lost(FinkProcessor):
            name, version, function, arguments, outputs = "lost", "1", "a:b", ("cjd",), {"value": "double"}

    class Wrong(FinkProcessor):
        """Of LSST, with the wrong names."""

        name, version, surveys, outputs = "wrong", "1", ("lsst",), {"one": "double", "two": "double"}
        function, arguments = "tests.test_adapter:no_such_keys", ("cpsfFlux",)

    assert Wrong.inputs == ("packet.prvDiaSources.psfFlux", "packet.diaSource.psfFlux")
    made = Wrong()
    made.setup()
    frame = pd.DataFrame({"packet.prvDiaSources.psfFlux": [None], "packet.diaSource.psfFlux": [5.0]})
    with pytest.raises(BrokenContract, match="wrong: tests.test_adapter:no_such_keys gives sum, and not one, two"):
        made.process(frame)


def no_such_keys(fluxes: pd.Series) -> pd.Series:
    return fluxes.map(lambda flux: {"sum": float(np.sum(flux))})
