"""Whether science modules keep their contract: run on alerts of every survey, whole, in parts, one by one, with nothing known."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fink_broker import past
from fink_broker.errors import BrokenContract
from fink_broker.science import Registry, ScienceModule, checked
from fink_broker.settings import Settings
from fink_broker.survey import load_survey, load_surveys

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from fink_broker.alert import Decoder

TOLERANCE = 1e-6  # relative; a neural net may differ in the last digits with the size of a batch


@dataclass(frozen=True)
class Check:
    """What `fink module check` found of one module on the alerts of one survey."""

    module: str
    survey: str
    alerts_per_s: float = 0.0
    fault: str = ""
    alerts: int = 0

    def __str__(self) -> str:
        """One line."""
        good = f"good   {self.alerts_per_s:>10,.0f} alerts/s on one core, {self.alerts:,} alerts" if self.alerts else "no alert of this survey in the files"
        found = f"BROKEN {self.fault}" if self.fault else good
        return f"{self.module:<18}{self.survey:<10}{found}"


def check_module(module: ScienceModule, alerts: pd.DataFrame, bench_seconds: float = 0.0) -> float:
    """Alerts per CPU second of a module; BrokenContract when it does not keep the contract on these alerts.

    `alerts` has the module's input columns. Tried: all rows, none, single rows, two halves, an alert of which nothing is known;
    each alert must get the same result every time, the inputs must stay as they were, and nothing may be asked of the network.
    With `bench_seconds` the speed is the best of as many runs as that time allows.
    """
    with _no_network(module.name):
        return _check(module, alerts, bench_seconds)


def _check(module: ScienceModule, alerts: pd.DataFrame, bench_seconds: float) -> float:
    module.setup()
    columns = with_nothing(alerts[list(module.inputs)])
    before = {name: [np.copy(value) if isinstance(value, np.ndarray) else value for value in columns[name]] for name in columns}
    _run(module, columns[:0])
    whole = _run(module, columns)
    middle = len(columns) // 2
    single = [*range(min(5, len(columns))), len(columns) - 1]
    parts = [("in a half of the batch", [*range(middle)]), ("in a half of the batch", [*range(middle, len(columns))]), *(("alone", [row]) for row in single)]
    for how, rows in parts:
        found = _run(module, columns.iloc[rows].reset_index(drop=True))
        for field in module.outputs:
            for row, value in zip(rows, found[field], strict=True):
                if not _same(value, whole[field][row]):
                    raise BrokenContract(
                        f"{module.name}: {field} of an alert is {whole[field][row]} in a batch of {len(columns)} and {value} {how}; "
                        "use only the alert's own row"
                    )
    for name in columns:
        if not all(_same_input(old, new) for old, new in zip(before[name], columns[name], strict=True)):
            raise BrokenContract(f"{module.name} changes its input {name}, which other modules read too; copy it first")
    return _speed(module, columns, bench_seconds)


def check_modules(
    settings: Settings,
    names: Sequence[str] | None = None,
    surveys: Sequence[str] | None = None,
    number: int = 300,
    paths: Sequence[Path] = (),
    bench_seconds: float = 0.0,
) -> Iterator[Check]:
    """Each module on alerts of each survey (made up, or read from `paths`) that passed through the real decoder."""
    registry = Registry.load(settings.modules_path)
    if names is None:
        yield from (Check(name, "", fault=str(error)) for name, error in registry.broken.items())
    for survey in surveys or list(load_surveys(settings.schemas_path)):
        kinds = [registry.get(name) for name in (names or registry)]
        made = [kind(**params_of(settings, kind.name)) for kind in kinds if "*" in kind.surveys or survey in kind.surveys]
        if not made:
            continue
        inputs = list(dict.fromkeys(column for module in made for column in columns_of(type(module), registry)))
        history = past.wanted(inputs)
        columns = list(dict.fromkeys([*(column for column in inputs if column not in history), *(past.NEEDED if history else ())]))
        alerts = decoded(settings, survey, number, columns, paths=paths)
        if paths and alerts.empty:
            yield from (Check(module.name, survey) for module in made)
            continue
        if history:
            alerts = pd.concat([alerts, past.with_past(alerts, past.points_of(alerts), history)], axis=1)
        for module in made:
            try:
                given = with_others(module, alerts, registry, partial(params_of, settings))
                yield Check(module.name, survey, check_module(module, given, bench_seconds), alerts=len(alerts))
            except Exception as error:
                fault = str(error) if isinstance(error, BrokenContract) else f"{type(error).__name__}: {error}"
                yield Check(module.name, survey, fault=fault, alerts=len(alerts))


def params_of(settings: Settings, name: str) -> dict[str, Any]:
    """Parameters of a module from [science.params], with the folder of catalogues for the cross-match."""
    params = dict(settings.science.params.get(name, {}))
    if name == "xmatch":
        params.setdefault("folder", str(settings.catalogs_path))
    return params


def decoded(settings: Settings, survey: str, number: int, columns: Sequence[str], seed: int = 1, paths: Sequence[Path] = ()) -> pd.DataFrame:
    """Columns of alerts after the real decoding, as a module gets them."""
    from fink_broker.jobs import steps

    about = load_survey(settings.schemas_path, survey)
    chosen = [f"{steps.column(name, about)} c{i}" for i, name in enumerate(columns)]
    with alert_rows(settings, survey, number, seed, paths) as frame:
        found = frame.selectExpr(*chosen, "reason").toPandas()  # a filter on the reason in Spark would plan for minutes
    return found[found.pop("reason").isna()].set_axis(list(columns), axis=1).reset_index(drop=True)


@contextmanager
def alert_rows(settings: Settings, survey: str, number: int, seed: int = 1, paths: Sequence[Path] = ()) -> Iterator[DataFrame]:
    """Rows of alerts (made up, or read from `paths`) after the real decoding; see `packet_rows`."""
    from fink_broker.alert import Decoder
    from fink_broker.jobs.session import session
    from fink_broker.schema import SchemaLibrary

    about = load_survey(settings.schemas_path, survey)
    decoder = Decoder(about, SchemaLibrary.load(settings.schemas_path, survey))
    with packet_rows(session(settings, "module-check"), decoder, list(_packets(settings, survey, number, seed, paths))) as frame:
        yield frame


@contextmanager
def packet_rows(spark: SparkSession, decoder: Decoder, packets: Sequence[bytes], partitions: int | None = None) -> Iterator[DataFrame]:
    """Alert rows of packets of any version, as the jobs decode them; `origin.offset` is a packet's place. They are cached until the block ends."""
    from fink_broker.alert import AGAIN

    rows = [(bytearray(value), decoder.survey.name, 0, place) for place, value in enumerate(packets)]
    records = spark.createDataFrame(rows, "value binary, topic string, partition int, offset bigint").selectExpr("*", "timestamp_millis(0) timestamp")
    first = decoder.decode(records.repartition(partitions, "offset") if partitions else records).persist()
    doubtful = first.where(f"reason = '{AGAIN}'")
    again = decoder.decode_again(doubtful) if doubtful.count() else ()
    try:
        yield first.where(f"reason is null or reason != '{AGAIN}'").unionByName(again[0]) if again else first
    finally:
        for frame in (first, *again):
            frame.unpersist()


def with_nothing(alerts: pd.DataFrame) -> pd.DataFrame:
    """The alerts, and one of which nothing is known: no points, and null in every other column."""
    columns = {}
    for name in alerts:
        curve = next((value for value in alerts[name] if isinstance(value, np.ndarray)), None)
        number = alerts[name].dtype.kind in "fiu"
        blank: Any = curve[:0] if curve is not None else np.nan if number else None
        columns[name] = pd.Series([*alerts[name], blank], dtype=float if number else object)
    return pd.DataFrame(columns)


def _packets(settings: Settings, survey: str, number: int, seed: int, paths: Sequence[Path]) -> Iterator[bytes]:
    from itertools import islice

    from fink_broker.simulate import read_alerts
    from fink_broker.testing import encode, make_alerts

    if paths:
        found = read_alerts(paths, settings.schemas_path, lambda text: None)
        yield from islice((packet.value for packet in found if packet.survey == survey), number)
    else:
        about = load_survey(settings.schemas_path, survey)
        yield from (encode(about, made.packet) for made in make_alerts(survey, number, seed))


def with_others(module: ScienceModule, alerts: pd.DataFrame, registry: Registry, params: Callable[[str], dict[str, Any]] = lambda name: {}) -> pd.DataFrame:
    """The module's inputs: columns of the alerts, and what the other modules that it reads make of them."""
    columns: dict[str, Any] = {}
    made: dict[str, dict[str, Any]] = {}
    for name in module.inputs:
        other, _, field = name.partition(".")
        if name not in alerts and other in set(registry):
            if other not in made:
                source = registry.get(other)(**params(other))
                source.setup()
                made[other] = _run(source, with_others(source, alerts, registry, params), plain=True)
            columns[name] = made[other][field]
        else:
            columns[name] = alerts[name]
    return pd.DataFrame(columns, index=alerts.index)


def columns_of(kind: type[ScienceModule], registry: Registry) -> tuple[str, ...]:
    """Columns of the alert row that a module needs, those included that the modules need which it reads."""
    found: list[str] = []
    for name in kind.inputs:
        other = name.partition(".")[0]
        found += columns_of(registry.get(other), registry) if other in set(registry) and other not in ("lightcurve", "history") else [name]
    return tuple(dict.fromkeys(found))


@contextmanager
def _no_network(name: str) -> Iterator[None]:
    """Refuses connections that this thread opens."""
    thread, connect = threading.get_ident(), socket.socket.connect

    def refused(self: socket.socket, address: Any) -> None:
        if threading.get_ident() == thread and self.family != socket.AF_UNIX:
            raise BrokenContract(f"{name} opens a connection to {address}; modules use no network: ship the data with it, or `fink catalog import FILE`")
        connect(self, address)

    socket.socket.connect = refused  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]


def _run(module: ScienceModule, columns: pd.DataFrame, plain: bool = False) -> dict[str, Any]:
    """Outputs by name, as lists or (`plain`) as pandas columns."""
    found = checked(module, columns, module.process(columns.copy()))
    return {name: values.to_pandas() if plain else values.to_pylist() for name, values in found.items()}


def _speed(module: ScienceModule, columns: pd.DataFrame, seconds: float) -> float:
    best, until = math.inf, time.perf_counter() + seconds
    while best == math.inf or time.perf_counter() < until:
        started = time.process_time()
        module.process(columns.copy())
        best = min(best, max(time.process_time() - started, 1e-6))
    return len(columns) / best


def _same(one: Any, other: Any) -> bool:
    """Equal but for the last digits of numbers."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _same_input(old: Any, new: Any) -> bool:
    if isinstance(old, np.ndarray):
        return isinstance(new, np.ndarray) and bool(np.array_equal(old, new, equal_nan=old.dtype.kind == "f"))
    return old is new or bool(pd.isna(old) and pd.isna(new)) or bool(old == new)
