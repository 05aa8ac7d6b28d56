"""One class an alert, by the rules of the module's docstring; what other modules say is laid beside it rightly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from fink_broker.errors import ConfigError
from fink_broker.sample import sample
from fink_broker.science import Chain, Registry
from fink_broker.settings import data_folder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REGISTRY = Registry.load(data_folder("science_modules"))
MODULE = REGISTRY.get("summary")
OTHERS = ["solar_system", "xmatch", "early_snia", "variable_star", "stamp_class", "transient"]


def row(**said: object) -> dict[str, object]:
    """What the other modules say, nothing unless given; __ stands for a dot."""
    return {name: None for name in MODULE.inputs} | {name.replace("__", "."): value for name, value in said.items()}


def transient(**chances: float) -> dict[str, object]:
    left = (1 - sum(chances.values())) / (14 - len(chances))
    return {name.replace(".", "__"): chances.get(name.split(".")[1], left) for name in MODULE.inputs if name.startswith("transient.")}


def run(*rows: dict[str, object], **params: object) -> pd.DataFrame:
    return MODULE(**params).process(pd.DataFrame(list(rows), columns=list(MODULE.inputs)))


def test_a_known_asteroid_is_one_whatever_else_is_said() -> None:
    found = run(row(solar_system__known=True, solar_system__distance_arcsec=0.42, xmatch__catalog="gcvs", xmatch__distance_arcsec=1.0,
                    **{"xmatch__class": "RRAB"}, **transient(sn_ia=0.9))).iloc[0]  # fmt: skip
    assert found["class"] == "asteroid"
    assert found["reasons"][:2] == ["solar_system: known object at 0.4 arcsec", "xmatch: RRAB in gcvs at 1.0 arcsec"]
    assert found["reasons"][2].startswith("transient: SN Ia 0.90, ")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("RRAB", "RR Lyrae"), ("EA/SD", "eclipsing binary"), ("E:", "eclipsing binary"), ("M", "long-period variable"), ("M:", "long-period variable"),
     ("SRB", "long-period variable"),
     ("UGSS", "dwarf nova"), ("QSO", "AGN"), ("BL Lac", "AGN"), ("bll", "AGN"), ("Seyfert", "AGN"), ("Mira", "long-period variable"), ("T Tauri", "other"),
     ("Galaxy", "SN II"), ("Radio", "SN II"), (None, "SN II")],
)  # fmt: skip
def test_a_catalogued_star_or_nucleus_is_what_the_catalogue_says(kind: str | None, expected: str) -> None:
    found = run(row(xmatch__catalog="one" if kind else None, xmatch__distance_arcsec=0.5, **{"xmatch__class": kind}, **transient(sn_ii=0.8))).iloc[0]
    assert found["class"] == expected
    assert found["probability"] == pytest.approx(0.8 if expected == "SN II" else 0.95)


def test_early_snia_decides_between_supernovae_that_look_alike() -> None:
    alike = transient(sn_ia=0.35, sn_ibc=0.4)
    found = run(
        row(**alike),
        row(early_snia__probability=0.9, early_snia__n_detections=5, **alike),
        row(early_snia__probability=0.9, early_snia__n_detections=2, **alike),
    )
    assert found["class"].tolist() == ["SN Ib/c", "SN Ia", "SN Ib/c"]
    assert found["probability"][1] == pytest.approx(0.35 * 3 / (0.35 * 3 + 0.4 / 3 + 2 * 0.25 / 12 / 3 + 10 * 0.25 / 12))
    assert found["reasons"][1][-1] == "early_snia: 0.90"


def test_a_period_that_is_no_chance_makes_a_periodic_variable_of_its_kind() -> None:
    both = transient(agn=0.45, periodic_variable=0.4)
    star = {"variable_star__class": "RR Lyrae", "variable_star__probability": 0.8, "variable_star__periodic": 0.95}
    found = run(row(**both, **star, variable_star__false_alarm_probability=1e-9), row(**both, **star, variable_star__false_alarm_probability=0.2))
    assert found["class"].tolist() == ["RR Lyrae", "AGN"]
    assert found["reasons"][0][-1] == "variable_star: RR Lyrae 0.80"


def test_the_cutouts_of_a_first_alert_weigh_all_classes() -> None:
    alike = transient(sn_ia=0.3, kilonova=0.3, bogus=0.3)
    stamps = {
        f"stamp_class__{name}": value for name, value in (("bogus", 0.8), ("asteroid", 0.05), ("transient", 0.05), ("agn", 0.05), ("variable_star", 0.05))
    }
    found = run(row(**alike), row(**alike, **stamps, stamp_class__class="bogus", stamp_class__probability=0.8))
    assert found["class"][1] == "bogus"
    left, weights = 0.1 / 11, {"bogus": (4 * 1) ** 0.5, "others": 0.25**0.5}
    assert found["probability"][1] == pytest.approx(0.3 * weights["bogus"] / (0.3 * weights["bogus"] + (0.6 + 11 * left) * weights["others"]))
    assert found["reasons"][1][-1] == "stamp_class: bogus 0.80"
    assert found["reasons"][0][-1].startswith("transient: ")


def test_what_is_not_told_apart_is_unclear_and_nothing_said_is_null() -> None:
    found = run(row(**transient(agn=0.2, tde=0.2)), row(), row(**transient(agn=0.2, tde=0.2)), min_probability=0.3)
    assert found["class"].tolist() == ["unclear", None, "unclear"]
    assert found["probability"].isna().tolist() == [False, True, False]
    assert found["reasons"][1] == []
    assert run(row(**transient(agn=0.2)), min_probability=0.1)["class"].tolist() == ["AGN"]


def test_every_alert_has_one_class_when_all_modules_run() -> None:
    chain = Chain(REGISTRY, ["summary", *OTHERS], {}, "ztf", on_failure="fail")
    assert chain.names[-1] == "summary"
    alerts = sample(chain.columns, 120, 4)
    out = chain.run(alerts, pd.DataFrame(True, index=alerts.index, columns=list(chain.names)))
    assert out["summary.class"].notna().all()
    assert ((out["summary.probability"] > 0) & (out["summary.probability"] <= 1)).all()
    assert (out["summary.reasons"].map(len) >= 1).all()
    known = out["solar_system.known"].to_numpy(bool)
    assert (out["summary.class"][known] == "asteroid").all()
    assert np.array_equal(out["summary.class"], chain.run(alerts, pd.DataFrame(True, index=alerts.index, columns=list(chain.names)))["summary.class"])


def test_the_others_must_run_too() -> None:
    with pytest.raises(ConfigError, match=r"science module summary reads transient.sn_ia, and transient does not run for ztf; add it to \[science\] modules"):
        Chain(REGISTRY, ["summary", *OTHERS[:-1]], {}, "ztf")


def consistent(out: pd.DataFrame) -> None:
    """Each alert has one class that exists, or none where nothing is said; where a rule decides, it is that rule's."""
    from science_modules.summary import STARS, catalogued, evaluate

    assert evaluate.classes(out).endswith("0 against the rules, 0 errors")
    name = out["summary.class"]
    assert ((out["summary.probability"] > 0) & (out["summary.probability"] <= 1))[name.notna()].all()
    known = out["solar_system.known"].fillna(False).to_numpy(bool)
    assert (name[known] == "asteroid").all()
    listed = np.array([catalogued(value) for value in out["xmatch.class"]], object)
    by_list = np.array([one is not None for one in listed]) & ~known
    assert (name[by_list].to_numpy(object) == listed[by_list]).all()
    kinds = name.isin(STARS).to_numpy() & ~known & ~by_list
    assert (name[kinds] == out["variable_star.class"][kinds]).all()  # no alert has two kinds
    assert (out["summary.reasons"].map(len)[name.notna()] >= 1).all()


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_every_simulated_alert_has_one_class(spark: SparkSession, survey: str) -> None:
    from science_modules import _alerts
    from science_modules.summary import evaluate

    chain = Chain(REGISTRY, evaluate.MODULES, {}, survey, 600, "fail")
    truth, out = _alerts.answers(chain, survey, _alerts.simulated(survey, 300, 777), ())
    assert len(truth) == len(out) == 300
    consistent(out)
    said = evaluate.opinions(out)
    right = np.array([bool(one & {record["label"]}) for one, record in zip(said["summary"], truth, strict=True)])
    assert right.mean() > 0.5


@pytest.mark.parametrize(("survey", "name"), [("ztf", "labelled/fink_filters_regular_20211122_b.parquet"), ("lsst", "lsst_v10_0_fink_20260310")])
def test_every_real_alert_has_one_class(spark: SparkSession, shared: Path, survey: str, name: str) -> None:
    from science_modules import _alerts
    from science_modules.summary import evaluate

    chain = Chain(REGISTRY, evaluate.MODULES, {}, survey, 600, "fail")
    alerts = _alerts.real([shared / "alerts" / survey / name], survey)
    _, out = _alerts.answers(chain, survey, alerts, ())
    assert len(out) == len(alerts) > 50
    consistent(out)


def test_agreement_is_counted_by_hand() -> None:
    from science_modules.summary import evaluate

    one, two, none = frozenset(["SN Ia"]), frozenset(["AGN"]), frozenset[str]()
    said = {"mine": [one, one, two, none, one, one], "summary": [one, two, one, one, none, two]}
    *_, line = evaluate.agreement(said, [one, one, one, one, two, none])
    # overruled: the second (mine right), the third (the summary right), the fifth (neither), the sixth (no truth)
    assert line == "| mine | 5 | 1 (20.0 %) | 4 | 3 | 1 | 1 | 1 |"


def test_opinions_of_modules() -> None:
    from science_modules.summary import evaluate

    nothing = {
        "solar_system.known": None, "solar_system.candidate": None, "xmatch.class": None, "transient.class": None, "variable_star.class": None,
        "variable_star.false_alarm_probability": None, "stamp_class.class": None, "early_snia.probability": None, "early_snia.n_detections": None,
        "extragalactic.passes": None, "summary.class": None,
    }  # fmt: skip
    told = {
        "solar_system.known": True, "xmatch.class": "RRAB", "transient.class": "AGN", "variable_star.class": "Cepheid",
        "variable_star.false_alarm_probability": 0.5, "stamp_class.class": "transient", "early_snia.probability": 0.7, "early_snia.n_detections": 2,
        "summary.class": "unclear",
    }  # fmt: skip
    found = evaluate.opinions(pd.DataFrame([nothing, nothing | told]).astype(object))
    assert not any(values[0] for values in found.values())
    assert {name: sorted(values[1]) for name, values in found.items() if values[1]} == {
        "solar_system: known": ["asteroid"], "xmatch": ["periodic variable"], "transient": ["AGN"], "variable_star": ["periodic variable"],
        "stamp_class": ["SLSN", "SN II", "SN Ia", "SN Ib/c", "TDE", "kilonova"], "early_snia at 0.5": ["SN Ia"],
    }  # fmt: skip
