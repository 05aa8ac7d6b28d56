"""The steps: plain functions from DataFrame to DataFrame."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fink_broker.frame import names
from fink_broker.survey import Survey, load_survey

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import DataFrame

    from fink_broker.science import Chain
    from fink_broker.settings import Settings


def science_chain(settings: "Settings", survey: str, history: bool = False) -> "Chain":
    """The enabled science modules of a survey, in their order; with `history` they read the points of earlier nights from HBase, as in a job."""
    from fink_broker.earlier import Earlier
    from fink_broker.science import Chain, Registry

    science = settings.science
    params = {name: dict(values) for name, values in science.params.items()}
    if "xmatch" in science.modules:
        params.setdefault("xmatch", {}).setdefault("folder", str(settings.catalogs_path))
    registry = Registry.load(settings.modules_path)
    site = load_survey(settings.schemas_path, survey)
    earlier = Earlier(settings, survey, site.longitude_deg) if history and science.history_alerts else None
    return Chain(registry, science.modules, params, survey, science.budget_seconds, science.on_failure, earlier)


def enrich(frame: "DataFrame", chain: "Chain", survey: Survey) -> "DataFrame":
    """Adds one struct column per science module, and `provenance`; one Python pass for all modules.

    A module gets only usable alerts for which its `where` holds; for the others its fields are null.
    """
    if not chain.fields:
        return frame.selectExpr("*", _provenance(chain))
    inputs, selected = given(frame, chain, survey)
    grouped: dict[str, list[str]] = {}
    for module, name, _ in chain.fields:
        grouped.setdefault(module, []).append(f"'{name}', _science.`{module}.{name}`")
    structs = [f"named_struct({', '.join(fields)}) `{module}`" for module, fields in grouped.items()]
    computed = frame.select("*", _computation(chain, frame.sparkSession.sparkContext)(inputs, selected).alias("_science"))
    return computed.selectExpr("* except (_science)", *structs, _provenance(chain))


@lru_cache(maxsize=8)
def _computation(chain: "Chain", context: "SparkContext") -> Any:
    """The chain as a function of two columns, made once: Spark's workers are sent it with every batch."""
    from pyspark.sql.functions import arrow_udf  # type: ignore[attr-defined]

    del context  # the function belongs to the one that it was made in
    columns, modules = list(chain.columns), list(chain.conditions)
    flat = ", ".join(f"`{module}.{name}` {kind}" for module, name, kind in chain.fields)

    def run(alerts: pa.Array, mask: pa.Array) -> pa.Array:
        given, chosen = (pa.RecordBatch.from_struct_array(part).to_pandas() for part in (alerts, mask))
        made = chain.arrays(given.set_axis(columns, axis=1), chosen.set_axis(modules, axis=1))
        return pa.StructArray.from_arrays(list(made.values()), names=list(made))

    # of Arrow's arrays: two hundred columns through pandas and back are 20 ms a batch, however few its alerts
    return arrow_udf(run, returnType=flat)


def given(frame: "DataFrame", chain: "Chain", survey: Survey) -> tuple[Any, Any]:
    """Two struct columns: what the modules read (c0, c1, …), and which of them get the alert (m0, m1, …).

    One text each: a hundred columns made one by one are a hundred calls of Java, a second for each batch.
    """
    from pyspark.sql import functions as F

    usable = "reason is null and " if "reason" in names(frame) else ""
    inputs = (f"'c{i}', {_wanted(name, chain, survey)}" for i, name in enumerate(chain.columns))
    selected = (f"'m{i}', coalesce({usable}(\n{where}\n), false)" for i, where in enumerate(chain.conditions.values()))
    return F.expr(f"named_struct({', '.join(inputs)})"), F.expr(f"named_struct({', '.join(selected)})")


def reads(chain: "Chain", survey: Survey) -> list[str]:
    """Expressions over the packet that the modules' inputs and conditions are."""
    cutouts = [
        survey.cutouts[name.removeprefix("cutout_")] for name in chain.columns if name.startswith("cutout_") and name.removeprefix("cutout_") in survey.cutouts
    ]
    return [*chain.columns, *chain.conditions.values(), *cutouts]


def _wanted(name: str, chain: "Chain", survey: Survey) -> str:
    """A module's input; cutouts only of the alerts that a module which reads them is given: they are the largest part of a packet."""
    if not name.startswith("cutout_"):
        return column(name, survey)
    asked = " or ".join(f"({chain.conditions[module]})" for module in chain.readers[name] if module in chain.conditions)
    return f"if(\n{asked or 'false'}\n, {column(name, survey)}, null)"


def column(name: str, survey: Survey) -> str:
    """The SQL of an input of a science module."""
    if name.startswith("cutout_"):
        return survey.cutouts.get(name.removeprefix("cutout_"), "cast(null as binary)")
    return ".".join(f"`{part}`" for part in name.split("."))


def _provenance(chain: "Chain") -> str:
    """What the results of a row were made with: versions of broker and modules, and the packet's schema."""
    made = (f"'{part}'" for pair in sorted(chain.provenance.items()) for part in pair)
    return f"map({', '.join(made)}, 'schema', schema) provenance"
