"""For evaluations: alerts of any survey, out of files or simulated, in the columns that modules get, decoded as the jobs decode them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from fink_broker.conversion import Conversion, closest
from fink_broker.past import points_of
from fink_broker.replay import Reader, dig
from fink_broker.science import Chain
from fink_broker.settings import data_folder, load
from fink_broker.skysim.alerts import Campaign
from fink_broker.survey import load_survey
from fink_broker.testing import encode

AT_ONCE = 500  # alerts that are decoded together: cutouts take memory

Alert = tuple[dict[str, Any], bytes]  # what is known of an alert, and its packet as the survey sends it


def real(paths: Iterable[Path], survey: str) -> list[Alert]:
    """Each alert of Avro and Parquet files, and folders of them, once and in time order, with its record.

    Avro records that Spark wrote come without the columns that are not the survey's own.
    """
    reader = Reader(data_folder("schemas"), say=lambda text: None, keep=True)
    about, library = reader.surveys[survey], reader.libraries[survey]
    met: dict[Any, tuple[float, dict[str, Any], bytes]] = {}
    for path in paths:
        tables = [path] if path.suffix == ".parquet" else sorted(path.rglob("*.parquet"))
        for record in (row for file in tables for row in _rows(file)):
            if dig(record, about.paths["time"]) is not None:
                schema = closest(library, record)
                made = Conversion(schema).convert(record)
                found = float(dig(record, about.paths["time"])), record, encode(about, made, schema)
                met.setdefault(dig(made, about.paths["alert_id"]), found)
        if path.suffix != ".parquet" and not (path.is_dir() and all(file in tables for file in path.rglob("*.*"))):
            for packet in reader.read([path], [survey]):
                if time := dig(packet.display, about.paths["time"]):
                    met.setdefault(dig(packet.display, about.paths["alert_id"]), (float(time), packet.display, packet.value))
    return [(record, value) for _, record, value in sorted(met.values(), key=lambda one: one[0])]


def simulated(survey: str, number: int, seed: int, nights: int = 1, mix: str = "even") -> Iterator[Alert]:
    """Alerts of the simulated sky in time order, each at any time of its object's life, with their truth."""
    about = load_survey(data_folder("schemas"), survey)
    for made in Campaign(survey, number, seed, nights=nights, mix=mix).alerts():
        yield made.truth, encode(about, made.packet)


def columns(survey: str, packets: Sequence[bytes], wanted: Iterable[str], also: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Columns as modules name them, and `also` of Spark SQL; one row a packet that can be used, under its place among them."""
    from fink_broker.alert import Decoder
    from fink_broker.contract import packet_rows
    from fink_broker.jobs import steps
    from fink_broker.jobs.session import session
    from fink_broker.schema import SchemaLibrary

    about = load_survey(data_folder("schemas"), survey)
    asked = {name: steps.column(name, about) for name in wanted} | dict(also or {})
    spark, decoder = session(load(), "evaluate"), Decoder(about, SchemaLibrary.load(data_folder("schemas"), survey))
    chosen = [f"{sql} c{place}" for place, sql in enumerate(asked.values())]
    found = []
    for start in range(0, len(packets), AT_ONCE):
        with packet_rows(spark, decoder, packets[start : start + AT_ONCE]) as rows:
            found.append(rows.where("reason is null").selectExpr(f"origin.offset + {start} place", *chosen).toArrow().to_pandas())
    made = pd.concat([one for one in found if len(one)] or found[:1], ignore_index=True).set_index("place").sort_index()
    return made.set_axis(list(asked), axis=1)


def answers(chain: Chain, survey: str, alerts: Iterable[Alert], wanted: Sequence[str]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """What is known of each usable alert, and what all modules say of it, as MODULE.FIELD, beside the `wanted` columns.

    Alerts come in time order; the history of an object is what its earlier ones told.
    """
    known, found, past, waiting = [], [], [], iter(alerts)
    while part := list(islice(waiting, AT_ONCE)):
        where = {f"where {name}": f"coalesce(({sql}), false)" for name, sql in chain.conditions.items()}
        frame = columns(survey, [packet for _, packet in part], dict.fromkeys((*chain.columns, *wanted)), where)
        selected = frame[list(where)].set_axis(list(chain.conditions), axis=1)
        past.append(points_of(frame))
        made = chain.run(frame[list(chain.columns)], selected, pd.concat(past, ignore_index=True))
        found.append(pd.concat([frame[[name for name in wanted if name not in made]], made], axis=1))
        known += [part[place][0] for place in frame.index]
    return known, pd.concat(found, ignore_index=True)


def _rows(file: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = pq.read_table(file).to_pylist()
    return found
