"""How complete and pure the answers of modules and filters are: simulated objects among a night's alerts, through the unchanged chain."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker import __version__, sky
from fink_broker.alert import Decoder
from fink_broker.contract import packet_rows
from fink_broker.earlier import Replayed
from fink_broker.errors import ConfigError
from fink_broker.filters import load_filters, route, topic_name, understood
from fink_broker.jobs import sources, steps
from fink_broker.jobs.session import session
from fink_broker.past import NEEDED
from fink_broker.question import MODULES, Question, module_of, questions_of
from fink_broker.schema import SchemaLibrary
from fink_broker.science import Registry
from fink_broker.settings import Settings
from fink_broker.simulate import Packet, read_alerts
from fink_broker.skysim.alerts import Campaign
from fink_broker.skysim.kind import LABELS, source_density
from fink_broker.skysim.observation import START_MJD
from fink_broker.skysim.population import KINDS
from fink_broker.survey import Survey, load_survey
from fink_broker.testing import encode

AT_ONCE = 1000  # alerts that go through the chain together
SIGMA = 1.0  # of the intervals
# Edges of the bins: magnitude, days since the first detection, catalogued sources an arcmin^2 (9 at the pole, 117 in the plane).
BINS = {"mag": (0, 17, 18, 19, 20, 21, 22, 23, 24, 30), "days": (0, 0.5, 3, 10, 30, 100, 100_000), "density": (0, 12, 20, 40, 80, 200)}


@dataclass(frozen=True)
class Plan:
    """What is injected into which night; the same plan gives the same table."""

    survey: str = "ztf"
    number: int = 2000  # injected alerts, each label alike
    night: int = 2000  # alerts of the night itself
    seed: int = 1
    nights: int = 1  # over which injected and simulated alerts lie: what those of earlier nights told is the history of later ones
    modules: tuple[str, ...] = ()  # none: those that are enabled
    filters: tuple[str, ...] = ()  # none: all
    alerts: tuple[str, ...] = ()  # files of a real night, into which they are injected at its own time; none: simulated, as the sky is
    models: str = "auto"  # spectra of supernovae: see skysim.templates


def measure(settings: Settings, plan: Plan, say: Callable[[str], None] = lambda text: None) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The table (a row a question and bin), the alerts with truth and answers, and what they were made with."""
    if plan.number < 1 or plan.night < 0:
        raise ConfigError(f"{plan.number} injected alerts into {plan.night}; expected 1 or more, and 0 or more")
    if plan.nights < 1:
        raise ConfigError(f"{plan.nights} nights; expected 1 or more")
    with tempfile.TemporaryDirectory(prefix="fink-efficiency-") as folder:
        run = _Run(settings, plan, Path(folder))
        real = list(islice(read_alerts([Path(name) for name in plan.alerts], settings.schemas_path, say, [plan.survey]), plan.night)) if plan.alerts else []
        times = [packet.mjd for packet in real if math.isfinite(packet.mjd)]
        start = busiest(times, run.survey.longitude_deg, plan.nights) if times else START_MJD
        found, packets = [], _packets(run.survey, plan, real, start, settings.schemas_path)
        while part := list(islice(packets, AT_ONCE)):
            found.append(run.answers(part))
            say(f"{sum(map(len, found)):,} alerts")
    alerts = pd.concat(found, ignore_index=True)
    about = {"broker": __version__, **asdict(plan), "start_mjd": start, "alerts_used": len(alerts), "night": int((alerts["source"] == "night").sum()),
             "models": sorted(set(alerts["models"].dropna())),
             "provenance": run.chain.provenance, "filters_used": {rule.name: rule.version for rule in run.rules},
             "questions": [asdict(one) for one in run.questions]}  # fmt: skip
    return table(alerts, run.questions), alerts, about


def _packets(about: Survey, plan: Plan, real: Sequence[Packet], start: float, schemas: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Packets in time order with their truth: those injected among those of the night."""
    made = [(Campaign(plan.survey, plan.number, plan.seed, start, plan.nights, "even", plan.models, schemas), "injected")]
    if plan.night and not plan.alerts:
        made.append((Campaign(plan.survey, plan.night, plan.seed + 5_000_000, start, plan.nights, "natural", plan.models, schemas), "night"))
    found = [(one.mjd, encode(about, one.packet), one.truth | {"source": source}) for campaign, source in made for one in campaign.alerts()]
    found += [(packet.mjd, packet.value, {"source": "night"}) for packet in real]
    found.sort(key=lambda one: one[0])
    return iter([(value, truth) for _, value, truth in found])


def busiest(mjd: Sequence[float], longitude_deg: float, nights: int = 1) -> float:
    """First of so many nights in a row that have most of these times [d, TAI], as the simulated sky counts nights: by the day of local midnight."""
    night = np.round(np.asarray(mjd, float) - (-longitude_deg / 360) % 1)
    first = np.unique(night)
    return float(first[np.argmax([np.sum((night >= one) & (night < one + nights)) for one in first])])


class _Run:
    """Decoder, modules, filters and questions, ready for batches."""

    def __init__(self, settings: Settings, plan: Plan, folder: Path) -> None:
        """`folder`: for what earlier alerts told, where modules ask for it."""
        asked = {name: questions_of(settings, name) for name in plan.modules}
        names = [*settings.science.modules, *(name for module in plan.modules for name in _with_others(settings, module))]
        settings = settings.model_copy(update={"science": settings.science.model_copy(update={"modules": tuple(dict.fromkeys(names))})})
        self.survey = load_survey(settings.schemas_path, plan.survey)
        self.spark = session(settings, "efficiency")
        self.decoder = Decoder(self.survey, SchemaLibrary.load(settings.schemas_path, plan.survey))
        self.chain = steps.science_chain(settings, plan.survey)
        self.earlier = None
        if self.chain.history and settings.science.history_alerts:
            self.chain.earlier = self.earlier = Replayed(settings, plan.survey, self.survey.longitude_deg, folder)
        rules = load_filters(settings.filters_path, plan.survey)
        if unknown := set(plan.filters) - {rule.name for rule in rules}:
            raise ConfigError(f"no filter named '{min(unknown)}' for {plan.survey}; known: {', '.join(rule.name for rule in rules)}")
        if wrong := {aim for rule in rules for aim in rule.aims} - {*LABELS, *KINDS}:
            raise ConfigError(f"a filter aims at '{min(wrong)}'; labels are {', '.join(LABELS)}, kinds {', '.join(KINDS)}")
        empty = self._through(self.spark.createDataFrame([], sources.RECORD), [])
        self.rules = [rule for rule in rules if (rule.name in plan.filters or not plan.filters) and (rule.python or understood(empty, rule.where))]
        if not (plan.modules or plan.filters):
            asked = {name: questions_of(settings, name) for name in self.chain.names if module_of(settings, name) in MODULES}
        self.questions = [question for name in self.chain.names for question in asked.get(name, ())]
        if plan.filters or not plan.modules:
            topics = {rule.name: f"array_contains(topics, '{topic_name(rule, plan.survey)}')" for rule in self.rules}
            self.questions += [Question("filter", rule.name, topics[rule.name], rule.aims) for rule in self.rules]

    def _through(self, records: Any, rules: Sequence[Any]) -> Any:
        return route(steps.enrich(self.decoder.decode(records), self.chain, self.survey), rules, self.survey)

    def answers(self, packets: Sequence[tuple[bytes, dict[str, Any]]]) -> pd.DataFrame:
        """Truth and answers of some packets, in their order."""
        asked = [f"coalesce(({one.sql}), false) q{place}" for place, one in enumerate(self.questions)]
        asked += [f"coalesce(({one.asked}), false) a{place}" for place, one in enumerate(self.questions)]
        columns = ["origin.offset", "alert_id", "object_id", "ra", "dec", "mjd", "first_mjd", "mag", "band", "reason", *asked]
        with packet_rows(self.spark, self.decoder, [value for value, _ in packets], self.spark.sparkContext.defaultParallelism) as rows:
            if self.earlier:  # before they are enriched, as a job's alerts of the night before are in HBase
                self.earlier.add(rows.where("reason is null and public").selectExpr(*(f"{name} `{name}`" for name in NEEDED)).toPandas())
            found = route(steps.enrich(rows, self.chain, self.survey), self.rules, self.survey).selectExpr(*columns).toPandas()
        frame = found.sort_values("offset", ignore_index=True)
        names = ("source", "kind", "label", "models", "redshift")
        truth = pd.DataFrame([{name: packets[place][1].get(name) for name in names} for place in frame.pop("offset")], columns=list(names))
        return pd.concat([truth, frame], axis=1)


def _with_others(settings: Settings, module: str) -> list[str]:
    """A module and those that it reads."""
    registry = Registry.load(settings.modules_path)
    others = [name.split(".")[0] for name in registry.get(module_of(settings, module)).inputs]
    return [*(name for other in dict.fromkeys(others) if other in set(registry) for name in _with_others(settings, other)), module]


def table(alerts: pd.DataFrame, questions: Sequence[Question]) -> pd.DataFrame:
    """Completeness and purity of every question, over all alerts and by magnitude, type, days since the first detection and sky density.

    `completeness` is the share of those meant that are chosen, with its interval of one sigma (Wilson 1927). Purity is the share of those meant
    among the chosen whose truth is known, once with each label alike (`purity_even`) and once as common as in the night (`purity_night`;
    null for a real night, of which nobody knows the truth). `chance_even` and `chance_night` are the purities of a choice by lot, whatever its
    completeness, and of always giving this one answer, which is complete.
    """
    alerts = alerts[alerts["reason"].isna()].reset_index(drop=True)
    latitude = np.abs(sky.galactic_latitude(alerts["ra"].to_numpy(float), alerts["dec"].to_numpy(float)))
    values = {"mag": alerts["mag"].to_numpy(float), "days": (alerts["mjd"] - alerts["first_mjd"]).to_numpy(float), "density": source_density(latitude) * 3600}
    parts: list[tuple[str, str, float, float, NDArray[np.bool_]]] = [("all", "all", math.nan, math.nan, np.ones(len(alerts), bool))]
    for by, edges in BINS.items():
        for low, high in pairwise(edges):
            inside = (values[by] >= low) & (values[by] < high)
            parts.append((by, f"{low:g} to {high:g}" if (low, high) != edges[-2:] or by == "density" else f"over {low:g}", low, high, inside))
    parts += [("type", name, math.nan, math.nan, (alerts["kind"] == name).to_numpy()) for name in KINDS]
    label, night = alerts["label"], (alerts["source"] == "night").to_numpy()
    known = label.notna().to_numpy()
    even, common = _weights(label, np.ones(len(alerts), bool)), _weights(label, night & known, natural=True)
    rows = []
    for place, question in enumerate(questions):
        chosen, asked = alerts[f"q{place}"].to_numpy(bool), alerts[f"a{place}"].to_numpy(bool)
        meant = (label.isin(question.aims) | alerts["kind"].isin(question.aims)).to_numpy()
        for by, name, low, high, inside in parts:
            if not inside.any():
                continue
            right, found, true = (inside & mask for mask in (meant & chosen, known & chosen, meant))
            rows.append({
                "of": question.of, "name": question.name, "aims": ", ".join(question.aims), "by": by, "bin": name, "low": low, "high": high,
                "alerts": int((inside & known).sum()),
                "meant": int(true.sum()), "asked": int((true & asked).sum()), "right": int(right.sum()), "chosen": int(found.sum()),
                "chosen_of_night": int((inside & night & chosen).sum()), "share_chosen": _share(found.sum(), (inside & known).sum()),
                **_interval(int(right.sum()), int(true.sum())),
                "purity_even": _share(even[right].sum(), even[found].sum()) if question.aims else math.nan,
                "purity_night": _share(common[right].sum(), common[found].sum()) if question.aims and common.any() else math.nan,
                "chance_even": _share(even[true].sum(), even[inside & known].sum()) if question.aims else math.nan,
                "chance_night": _share(common[true].sum(), common[inside & known].sum()) if question.aims and common.any() else math.nan,
            })  # fmt: skip
    return pd.DataFrame(rows)


def _weights(label: pd.Series[Any], of: NDArray[np.bool_], natural: bool = False) -> NDArray[np.float64]:
    """Of each alert: such that labels are alike, or (`natural`) as common as among `of`."""
    counts, wanted = label.value_counts(), label[of].value_counts()
    share = {name: (float(wanted.get(name, 0)) if natural else 1.0) / number for name, number in counts.items()}
    return np.array([share.get(name, 0.0) for name in label], float)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan


def _interval(right: int, meant: int) -> dict[str, float]:
    """A share and its interval (Wilson 1927)."""
    if not meant:
        return {"completeness": math.nan, "completeness_low": math.nan, "completeness_high": math.nan}
    share, z = right / meant, SIGMA**2 / meant
    middle, half = (share + z / 2) / (1 + z), math.sqrt(z * (share * (1 - share) + z / 4)) / (1 + z)
    return {"completeness": share, "completeness_low": max(0.0, middle - half), "completeness_high": min(1.0, middle + half)}


def folder_of(settings: Settings, survey: str) -> Path:
    """Where the tables and plots of a survey lie, for the page."""
    return settings.home / "efficiency" / survey


def write(folder: Path, found: pd.DataFrame, alerts: pd.DataFrame, about: dict[str, Any]) -> None:
    """Table and alerts as Parquet, what they were made with as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    found.to_parquet(folder / "efficiency.parquet", compression="zstd", index=False)
    alerts.to_parquet(folder / "alerts.parquet", compression="zstd", index=False)
    (folder / "about.json").write_text(json.dumps(about, indent=2, default=str))


def read(folder: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table that was written there, and what it was made with."""
    return pd.read_parquet(folder / "efficiency.parquet"), json.loads((folder / "about.json").read_text())
