"""Packets to alert rows, in the JVM: decode with the writer's schema, resolve into the union, add the neutral columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fink_broker import framing, lean, sky
from fink_broker.errors import SchemaError, Unavailable
from fink_broker.frame import names
from fink_broker.survey import NEUTRAL, POINT, Header, Survey

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from fink_broker.schema import Schema, SchemaLibrary

AGAIN = "not read in the fast way"  # reason of a packet that fastavro has to look at
FAST = 4  # most versions that the fast way reads at a time
MJD_RANGE = (47892, 88069)  # 1990 to 2100
_ID = "conv(hex(substring(value, 2, 4)), 16, 10)"  # schema id in the Confluent framing, as text
_ORIGIN = "struct<topic:string,partition:int,offset:bigint,timestamp:bigint>"


class Decoder:
    """Turns Kafka records of one survey into alert rows; made once, used for every batch.

    Rows that cannot be used keep their bytes in `value` and say why in `reason`; both are null for good alerts.
    """

    def __init__(self, survey: Survey, library: SchemaLibrary, headers: Sequence[Header] = (), versions: Sequence[str] = ()) -> None:
        self.survey = survey
        self.library = library
        self._union = library.union()
        self._texts: dict[str, tuple[str, str]] = {}  # by version, see `_texts_of`
        self.curve = True  # whether rows have a light curve
        self._needed: lean.Tree = {}
        self.lean = ""  # reader's schema of the part of a packet that is needed; empty: all of it
        # Versions that the fast way reads: those met last. Each is a branch of the plan, which Spark plans anew for every batch.
        known = {schema.version for schema in library.writers()}
        self.fast = [name for name in versions if name in known][:FAST] or [library.default.version]
        self.union = _compact(self._union)
        own = [framing.own_header(schema) for schema in reversed(library.schemas)] if survey.framing == "container" else []
        self.headers = list(dict.fromkeys([*survey.headers, *own, *headers]))
        self.met: list[str] = []  # versions of the bodies that the last `decode_again` found
        self.learned: list[Header] = []  # container headers that the last `decode_again` met for the first time

    def need(self, expressions: Iterable[str]) -> None:
        """From now on decode only what survey.toml and these expressions over `packet` read; `whole` gives the rest."""
        survey = self.survey
        own = [*survey.neutral.values(), *survey.quality.values(), *(f"packet.{path}" for path in survey.cutout_paths.values() if self._ends(path))]
        tree = lean.needed([*own, *expressions], survey.lightcurve if self.curve else ())
        if tree != self._needed:
            self._needed, self.lean = tree, _compact(lean.pruned(self._union, tree))

    def decode(self, records: DataFrame) -> DataFrame:
        """Alert rows of Kafka records (value, topic, partition, offset, timestamp); doubtful ones get `reason` AGAIN.

        After `need` their `packet` has only that much, and `body.bytes` the rest. Cache them before a `where`: Spark would move
        the condition below the decoding and copy the decoding into it.
        """
        located = self._locate(records.selectExpr("value", _origin_sql()))
        return self._rows(located, self.fast, AGAIN, f"'{AGAIN}'")

    def decode_again(self, doubtful: DataFrame) -> tuple[DataFrame, DataFrame]:
        """Read packets (origin, value) with fastavro: alert rows with final reasons, and the bodies found (cached: unpersist them).

        Versions and container headers that it meets are taken into the fast way; see `learned` and `met`.
        """
        survey, library = self.survey, self.library

        def read(parts: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
            for part in parts:
                found = [_read(value, survey, library) for value in part["value"]]
                yield part.assign(**{name: [row[name] for row in found] for name in ("version", "body", "fault", "header")})

        schema = f"origin {_ORIGIN}, value binary, version string, body binary, fault string, header string"
        located = doubtful.select("origin", "value").mapInPandas(read, schema).cache()  # type: ignore[arg-type]
        met = [(row[0], row[1]) for row in located.select("version", "header").where("version is not null").distinct().collect()]
        self.met = versions = sorted({version for version, _ in met})
        self.learned = [header for header in (Header(**json.loads(text)) for _, text in met if text) if header not in self.headers]
        self.headers.extend(self.learned)
        if self.survey.framing != "bare":  # a bare body does not say its version: it is tried with the default alone
            self.fast = list(dict.fromkeys([*versions, *self.fast]))[:FAST]
        if library.registry is not None and survey.framing == "confluent":
            self._learn_ids(located)
        found = located.selectExpr("origin", "version", "named_struct('value', value, 'body', body) raw", "fault")
        return self._rows(found, versions, "no alert id", "fault"), located

    def whole(self, rows: DataFrame, versions: Sequence[str], where: str = "true", keep: bool = False) -> DataFrame:
        """The rows with the complete packet in place of `body`; their bodies are of these versions.

        `where`: rows that need it, the others have no packet. `keep`: `body` stays beside it.
        """
        from pyspark.sql import functions as F

        if "body" not in names(rows):
            return rows
        packet = self._packet(versions, self.union, "substring_index(schema, '/', -1)", "body.bytes")
        rows = rows.withColumn("packet", packet if where == "true" else F.when(F.expr(where), packet))
        return rows if keep else rows.drop("body")

    @property
    def state(self) -> tuple[Any, ...]:
        """All that `decode` depends on besides the records; equal states give equal rows."""
        return self, self.curve, self.union, self.lean, tuple(self.fast), tuple(self.headers), tuple(self.library.ids())

    @property
    def fields(self) -> frozenset[str]:
        """Names that some packet of the survey has at its top."""
        return frozenset(field["name"] for field in self._union["fields"])

    def bodies(self, versions: Sequence[str]) -> dict[str, str]:
        """After `need`: `SchemaLibrary.fields` of each version, by what rows have in `schema`; they have its bytes in `body`."""
        known = self.library.writers() if self.lean else ()
        found = {f"{self.survey.name}/{schema.version}": self._texts_of(schema)[1] for schema in known if schema.version in versions}
        return {name: fields for name, fields in found.items() if fields}

    def derive(self, rows: DataFrame) -> DataFrame:
        """Alert rows anew from rows of the raw table, so that a mended expression needs no new packet."""
        frame = rows.selectExpr(
            "origin", "cast(null as struct<value:binary,body:binary>) raw", "substring_index(schema, '/', -1) version",
            "packet", "content", "true exact",
        )  # fmt: skip
        return self._derive(frame, "no alert id", "'not decoded'")

    def _learn_ids(self, located: DataFrame) -> None:
        """Take ids that the registry knew into the fast way; Unavailable when one brought a new schema, so that the batch runs again with its fields."""
        known = self.library.writers()
        for row in located.where("version is not null").selectExpr(f"cast({_ID} as bigint)").distinct().collect():
            if row[0] not in self.library.ids():
                self.library.by_confluent_id(row[0])
                self.library.keep(row[0])
        new = [schema.version for schema in self.library.writers() if schema not in known]
        if new:
            located.unpersist()
            self._union, self._needed, self._texts = self.library.union(), {}, {}
            self.union, self.lean = _compact(self._union), ""
            raise Unavailable(f"new {self.survey.name} schema in the registry: version {', '.join(new)}; it is known now, the batch runs again with it")

    def _texts_of(self, schema: Schema) -> tuple[str, str]:
        """A version's schema with the union's names, whole and as `SchemaLibrary.fields`; kept, since every batch asks several times."""
        if schema.version not in self._texts:
            self._texts[schema.version] = (self.library.text(schema), self.library.fields(schema))
        return self._texts[schema.version]

    def _locate(self, frame: DataFrame) -> DataFrame:
        """Adds `version` and `raw`, the value with its body, by comparing bytes; null where the fast way does not apply.

        Each mention of a binary column is a copy of it, and each step that hands it on two more; a struct is handed on as it stands.
        """
        if self.survey.framing == "confluent":
            version = _case(_ID, {str(key): schema.version for key, schema in self.library.ids().items() if schema.version in self.fast})
            frame = frame.selectExpr("origin", "named_struct('value', value) whole", "substring(value, 1, 5) value")
            body = "named_struct('value', whole.value, 'body', substring(whole.value, 6)) raw"
            return frame.selectExpr("origin", f"if(substring(value, 1, 1) = X'00', {version}, null) version", body)
        if self.survey.framing == "bare":
            return frame.selectExpr("origin", f"'{self.library.default.version}' version", "named_struct('value', value, 'body', value) raw")
        headers = [h for h in self.headers if h.version in self.fast]
        whens = " ".join(
            f"when crc32(substring(start, 1, {h.length})) = {h.crc32} then named_struct('version', '{h.version}', 'at', {h.length})" for h in headers
        )
        longest = max((h.length for h in headers), default=0) + 21  # what is behind it: the sync marker, how many packets, of how many bytes
        frame = frame.selectExpr(
            "origin", "named_struct('value', value) whole", f"substring(value, 1, {longest}) start", "substring(value, -16, 16) end", "length(value) size"
        )
        frame = frame.selectExpr("*", f"case {whens or _NO_HEAD} end head")
        frame = frame.selectExpr("*", "cast(conv(hex(substring(start, head.at + 18, 4)), 16, 10) as bigint) size4")
        b0, b1, b2, b3 = (f"(shiftright(size4, {shift}) & 255)" for shift in (24, 16, 8, 0))
        width = f"case when {b0} < 128 then 1 when {b1} < 128 then 2 when {b2} < 128 then 3 else 4 end"
        frame = frame.selectExpr("*", f"{width} width")
        bytes_told = (
            f"shiftright(({b0} & 127) | if(width > 1, shiftleft({b1} & 127, 7), 0)"
            f" | if(width > 2, shiftleft({b2} & 127, 14), 0) | if(width > 3, shiftleft({b3} & 127, 21), 0), 1)"
        )
        sound = f"substring(start, head.at + 17, 1) = X'02' and substring(start, head.at + 1, 16) = end and {bytes_told} + width = size - head.at - 33"
        body = "substring(whole.value, head.at + 18 + width, size - head.at - 33 - width)"
        return frame.selectExpr("origin", f"if({sound}, head.version, null) version", f"named_struct('value', whole.value, 'body', {body}) raw")

    def _rows(self, located: DataFrame, versions: Sequence[str], no_id: str, no_packet: str) -> DataFrame:
        """Alert rows of bodies of these versions."""
        from pyspark.sql import functions as F

        frame = located.withColumn("packet", self._packet(versions, self.lean or self.union, "version", "raw.body"))
        frame = frame.withColumn("exact", self._exact(versions) if no_id == AGAIN else F.lit(True))
        return self._derive(frame.withColumn("content", F.expr(_CONTENT)), no_id, no_packet, bool(self.lean))

    def _packet(self, versions: Sequence[str], reader: str, version: str, body: str) -> Any:
        """A column of bodies decoded into a reader's schema, each by its own writer's."""
        from pyspark.sql import functions as F
        from pyspark.sql.avro.functions import from_avro

        packet: Any = None
        for schema in self.library.writers():
            if schema.version in versions:
                options = {"mode": "PERMISSIVE", "avroSchema": reader}
                one = F.when(F.expr(version) == schema.version, from_avro(body, self._texts_of(schema)[0], options))
                packet = one if packet is None else one.otherwise(packet)
        return packet if packet is not None else from_avro(F.lit(None).cast("binary"), reader)  # a null of the right type

    def _ends(self, path: str) -> bool:
        """Whether a packet ends with the field that this path lies in."""
        return any(path.split(".")[0] == schema.json["fields"][-1]["name"] for schema in self.library.writers())

    def _derive(self, frame: DataFrame, no_id: str, no_packet: str, keep_body: bool = False) -> DataFrame:
        """Neutral columns, light curve and the rules, from `packet`."""
        body = ["if(reason is null, named_struct('bytes', raw.body), null) body"] if keep_body else []
        frame = frame.selectExpr(
            "origin",
            "raw",
            "version",
            "content",
            "packet",
            "exact",
            f"{no_packet} fault",
            *([f"{self._lightcurve()} points"] if self.curve else []),
            *self._neutral(),
        ).selectExpr("*", *self._derived())
        reason = f"""case when version is null then coalesce(fault, '{no_id}')
            when not coalesce(exact, false) or alert_id is null then '{no_id}'
            when ra is null or dec is null or isnan(ra) or isnan(dec) or not (ra between 0 and 360) or not (dec between -90 and 90)
            then concat('position off the sky: ra ', coalesce(ra, 'null'), ', dec ', coalesce(dec, 'null'))
            when mjd is null or isnan(mjd) or not (mjd between {MJD_RANGE[0]} and {MJD_RANGE[1]})
            then concat('time outside 1990 to 2100: mjd ', coalesce(mjd, 'null')) end"""
        points = ", ".join(f"'{name}', points.{name}" for name in ("mjd", *(n for n in POINT if n != "time")))
        curve = ["lightcurve"] if self.curve else []
        frame = frame.selectExpr("*", f"{reason} reason", *(f"named_struct({points}) {name}" for name in curve))
        return frame.selectExpr(
            *body,
            "origin",
            f"'{self.survey.name}' survey",
            f"concat('{self.survey.name}/', version) schema",
            "packet",
            *_NEUTRAL_OUT,
            *curve,
            "reason",
            "if(reason is null, null, raw.value) value",
            "content",
        )

    def _exact(self, versions: Sequence[str]) -> Any:
        """Whether a body was decoded to its last byte: its end is the last field's, else it encodes back to its length."""
        from pyspark.sql import functions as F
        from pyspark.sql.avro.functions import from_avro, to_avro

        exact = F.lit(False)
        for schema in self.library.writers():
            if schema.version not in versions:
                continue
            last = schema.json["fields"][-1]["name"]
            tails = [path for path in self.survey.cutout_paths.values() if path.split(".")[0] == last]
            if tails and self.survey.framing == "container":  # its length is known to be right: without a cutout it is read again
                again = F.lit(False)
            else:
                text, _ = self._texts_of(schema)
                again = F.length(to_avro(from_avro("raw.body", text, {"mode": "PERMISSIVE"}), text)) == F.length("raw.body")
            for path in tails:
                tail = F.col(f"packet.{path}")
                again = F.when(F.length(tail) > 64, F.endswith(F.col("raw.body"), tail)).otherwise(again)
            exact = F.when(F.col("version") == schema.version, again).otherwise(exact)
        # a packet that did not decode at all is a struct of nulls, which cannot be encoded
        return F.when(F.expr(self.survey.neutral["alert_id"]).isNotNull(), exact)

    def _time(self, expression: str) -> str:
        return sky.mjd_tai_sql(expression) if self.survey.time_scale == "jd_utc" else f"cast({expression} as double)"

    def _neutral(self) -> list[str]:
        names = {"time": "mjd", "first_time": "first_mjd"}
        columns = []
        for name, kind in NEUTRAL.items():
            expression = self.survey.neutral[name]
            value = self._time(expression) if name in names else f"cast({expression} as {kind})"
            if name == "ra":  # some surveys write 359.99 as -0.01
                value = f"if({value} between -180 and 360, pmod({value}, 360d), {value})"
            columns.append(f"{_finite(value)} {names[name]}" if kind == "double" and name in names else f"{value} {name}")
        flags = ", ".join(f"if({rule}, '{name}', null)" for name, rule in self.survey.quality.items())
        quality = f"array_compact(array({flags}))" if flags else "cast(array() as array<string>)"
        return [*columns, f"{quality} quality"]

    def _derived(self) -> list[str]:
        night = sky.night_sql("mjd", self.survey.longitude_deg)
        return [
            f"if(mjd between {MJD_RANGE[0]} and {MJD_RANGE[1]}, {night}, null) night",
            f"if(ra between 0 and 360 and dec between -90 and 90, {sky.healpix_sql('ra', 'dec')}, null) healpix",
        ]

    def _lightcurve(self) -> str:
        """Points of every source list, in time order."""
        parts = []
        for source in self.survey.lightcurve:
            points = f"coalesce({source['points']}, array())"
            if "where" in source:
                points = f"filter({points}, x -> {source['where']})"
            fields = [f"'mjd', {self._time(source['time'])}"]
            fields += [f"'{n}', cast({source.get(n, 'null')} as {kind})" for n, kind in POINT.items() if n != "time"]
            parts.append(f"transform({points}, x -> named_struct({', '.join(fields)}))")
        return f"sort_array(concat({', '.join(parts)}))"


_NEUTRAL_OUT = ("alert_id", "object_id", "ss_object_id", "ra", "dec", "mjd", "night", "healpix", "band", "flux", "flux_err", "mag",
                "mag_err", "snr", "reliability", "quality", "first_mjd", "n_detections", "ss_distance_arcsec",
                "neighbour_distance_arcsec", "neighbour_star_score", "template_flux", "public")  # fmt: skip


# Tells packets of one alert id apart. The processor has an instruction for crc32; xxhash64 took a tenth of the job's time.
_CONTENT = "shiftleft(cast(length(raw.body) as bigint), 32) | crc32(raw.body)"
_NO_HEAD = "when false then named_struct('version', '', 'at', 0)"


def _compact(schema: Any) -> str:
    return json.dumps(schema, separators=(",", ":"))


def _finite(value: str) -> str:
    return f"nanvl({value}, null)"


def _case(value: str, names: dict[str, str]) -> str:
    return f"case {value} " + " ".join(f"when '{key}' then '{name}'" for key, name in names.items()) + " end"


def _origin_sql() -> str:
    return "named_struct('topic', topic, 'partition', partition, 'offset', offset, 'timestamp', unix_millis(timestamp)) origin"


def _read(value: bytes | None, survey: Survey, library: framing.Library) -> dict[str, Any]:
    """One packet read carefully; `fault` says why it cannot be used."""
    try:
        body = framing.read_body(bytes(value or b""), survey, library)
    except SchemaError as error:
        return {"version": None, "body": None, "fault": str(error), "header": None}
    header = json.dumps(vars(body.header)) if body.header else None
    return {"version": body.version, "body": body.data, "fault": None, "header": header}
