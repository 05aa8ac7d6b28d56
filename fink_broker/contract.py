"""Whether science modules keep their contract: run on made-up alerts of every survey, alone and in parts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pandas as pd

from fink_broker.errors import BrokenContract
from fink_broker.science import Registry, ScienceModule, checked
from fink_broker.settings import Settings
from fink_broker.survey import load_surveys


def check_module(module: ScienceModule, alerts: pd.DataFrame) -> float:
    """Alerts per second of a module; BrokenContract when it does not keep the contract on these alerts.

    `alerts` has the module's input columns. Tried: all rows, none, one, and two halves, whose results must be those of the whole.
    """
    module.setup()
    columns = alerts[list(module.inputs)].reset_index(drop=True)
    checked(module, columns[:0], module.process(columns[:0].copy()))
    checked(module, columns[:1], module.process(columns[:1].copy()))
    started = time.perf_counter()
    whole = checked(module, columns, module.process(columns.copy()))
    seconds = time.perf_counter() - started
    middle = len(columns) // 2
    parts = [columns[:middle].reset_index(drop=True), columns[middle:].reset_index(drop=True)]
    halves = pd.concat([module.process(part) for part in parts], ignore_index=True)
    for field in module.outputs:
        if not _same(whole[field], halves[field]):
            raise BrokenContract(f"{module.name}: {field} of an alert changes with the batch it is in; use only the alert's own row")
    return len(columns) / seconds if seconds else float("inf")


def check_modules(
    settings: Settings, names: Sequence[str] | None = None, surveys: Sequence[str] | None = None, number: int = 300
) -> Iterator[tuple[str, bool]]:
    """A line for each module and survey, and whether it is good; the alerts pass through the real decoder."""
    registry = Registry.load(settings.modules_path)
    for survey in surveys or list(load_surveys(settings.schemas_path)):
        modules = [registry.get(name) for name in (names or registry)]
        modules = [module for module in modules if "*" in module.surveys or survey in module.surveys]
        made = [module(**settings.science.params.get(module.name, {})) for module in modules]
        columns = list(dict.fromkeys(column for module in made for column in module.inputs))
        alerts = decoded(settings, survey, number, columns)
        for module in made:
            try:
                rate = check_module(module, alerts)
                yield f"{module.name:<18}{survey:<10}good   {rate:>10,.0f} alerts/s on one core", True
            except Exception as error:
                yield f"{module.name:<18}{survey:<10}BROKEN {error}", False


def decoded(settings: Settings, survey: str, number: int, columns: Sequence[str], seed: int = 1) -> pd.DataFrame:
    """Columns of made-up alerts after the real decoding, as a module gets them."""
    from fink_broker.alert import Decoder
    from fink_broker.jobs import steps
    from fink_broker.jobs.session import session
    from fink_broker.schema import SchemaLibrary
    from fink_broker.survey import load_survey
    from fink_broker.testing import encode, make_alerts

    about = load_survey(settings.schemas_path, survey)
    spark = session(settings, "module-check")
    values = [bytearray(encode(about, made.packet)) for made in make_alerts(survey, number, seed)]
    rows = [(value, survey, 0, offset) for offset, value in enumerate(values)]
    records = spark.createDataFrame(rows, "value binary, topic string, partition int, offset bigint").selectExpr("*", "timestamp_millis(0) timestamp")
    frame = Decoder(about, SchemaLibrary.load(settings.schemas_path, survey)).decode(records)
    return frame.select(*(steps.column(name, about).alias(f"c{i}") for i, name in enumerate(columns))).toPandas().set_axis(list(columns), axis=1)


def _same(left: pd.Series, right: pd.Series) -> bool:
    for one, other in zip(left, right, strict=True):
        if isinstance(one, list) and one == other:
            continue
        if not isinstance(one, list) and (one == other or (pd.isna(one) and pd.isna(other))):
            continue
        return False
    return True
