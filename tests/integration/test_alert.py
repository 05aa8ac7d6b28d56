"""Decoding in the JVM: real packets against values worked out from the packet itself; every kind of bad packet."""

from __future__ import annotations

import gzip
import io
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import numpy as np
import pytest

from fink_broker import sky
from fink_broker.alert import AGAIN, Decoder
from fink_broker.replay import Reader
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.survey import load_survey
from fink_broker.testing import encode, make_alerts, newest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FOLDER = data_folder("schemas")
RECORD = "value binary, topic string, partition int, offset bigint, timestamp timestamp"


def decoder(survey: str) -> Decoder:
    return Decoder(load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey))


def records(spark: SparkSession, values: list[bytes]) -> DataFrame:
    now = datetime.now(UTC).replace(tzinfo=None)
    return spark.createDataFrame([(bytearray(value), "t", 0, place, now) for place, value in enumerate(values)], RECORD)


def both(spark: SparkSession, survey: str, values: list[bytes]) -> tuple[dict[int, Any], dict[int, str]]:
    """Rows of good alerts and reasons of bad ones, by offset, after the fast way and the careful one."""
    one = decoder(survey)
    fast = one.decode(records(spark, values)).cache()
    again, located = one.decode_again(fast.where(f"reason = '{AGAIN}'"))
    rows = [row.asDict(recursive=True) for row in fast.where(f"reason is null or reason <> '{AGAIN}'").unionByName(again).collect()]
    assert len(rows) == len(values)
    located.unpersist()
    good = {row["origin"]["offset"]: row for row in rows if row["reason"] is None}
    bad = {row["origin"]["offset"]: (row["reason"], bytes(row["value"])) for row in rows if row["reason"]}
    for place, (_, value) in bad.items():
        assert value == values[place]
    left = one.decode(records(spark, [values[place] for place in good])).cache().where("reason is not null").count() if good else 0
    spark.catalog.clearCache()
    # compressed blocks, containers without a cutout to end with, and more versions than the fast way has branches for
    slow = sum(b"deflate" in values[place][:400] or row["schema"].partition("/")[2] not in one.fast or _bare(row["packet"]) for place, row in good.items())
    assert left <= slow  # what was learned is read in the fast way now
    return good, {place: reason for place, (reason, _) in bad.items()}


def _bare(packet: dict[str, Any]) -> bool:
    return "cutoutDifference" in packet and packet.get("schemavsn") is not None and not (packet["cutoutDifference"] or {}).get("stampData")


def real(path: Path) -> list[tuple[bytes, Any]]:
    """Single-record containers of a tar with their records."""
    with tarfile.open(path) as tar:
        values = [file.read() for member in tar if (file := tar.extractfile(member)) is not None]
    return [(value, next(iter(fastavro.reader(io.BytesIO(value))))) for value in values]


def nano(mag: float) -> float:
    return float(10 ** ((31.4 - mag) / 2.5))


@pytest.mark.parametrize("name", ["ztf_v3_3_fink_local_20200101", "ztf_v4_02_boom_20240715", "ztf_v1_8_skyportal_201806", "ztf_v3_5_ampel_forcedphot_20210720"])
def test_real_ztf_alerts(spark: SparkSession, shared: Path, name: str) -> None:
    packets = real(shared / "alerts/ztf" / f"{name}.tar.xz")
    good, bad = both(spark, "ztf", [value for value, _ in packets])
    assert not bad
    for place, (_, packet) in enumerate(packets):
        row, candidate = good[place], packet["candidate"]
        assert (row["alert_id"], row["object_id"]) == (str(packet["candid"]), packet["objectId"])
        assert (row["ra"], row["dec"]) == (candidate["ra"], candidate["dec"])
        assert row["mjd"] == pytest.approx(candidate["jd"] - 2400000.5 + 37 / 86400, abs=1e-9)
        assert row["night"] == sky.night(row["mjd"], -116.863)[0]
        assert row["healpix"] == pytest.approx(sky.healpix(row["ra"], row["dec"])[0], abs=3)
        assert row["band"] == "gri"[candidate["fid"] - 1]
        sign = 1 if candidate["isdiffpos"] in ("t", "1") else -1
        assert row["flux"] == pytest.approx(sign * nano(candidate["magpsf"]), rel=1e-6)
        assert row["flux_err"] / abs(row["flux"]) == pytest.approx(candidate["sigmapsf"] * np.log(10) / 2.5, rel=1e-6)
        assert row["reliability"] == pytest.approx(candidate["drb"] if candidate.get("drb") is not None else candidate["rb"], rel=1e-6)
        assert row["ss_object_id"] == (None if candidate["ssnamenr"] in (None, "null") else candidate["ssnamenr"])
        assert row["public"] is (candidate["programid"] == 1)
        assert ("bad_pixels" in row["quality"]) == bool(candidate["nbad"])
        points = row["lightcurve"]
        earlier = [p for p in packet["prv_candidates"] or [] if "magpsf" in p]
        assert points["kind"].count("detection") == 1 + sum(p["magpsf"] is not None for p in earlier)
        assert points["mjd"] == sorted(points["mjd"])
        assert row["packet"]["candidate"]["candid"] == packet["candid"]
        if packet["cutoutScience"]:
            assert bytes(row["packet"]["cutoutScience"]["stampData"]) == packet["cutoutScience"]["stampData"]


def test_19_digit_ids_of_the_history_survive(spark: SparkSession, shared: Path) -> None:
    packets = real(shared / "alerts/ztf/ztf_v4_01_kowalski_20231012.tar.xz")
    good, _ = both(spark, "ztf", [value for value, _ in packets])
    for place, (_, packet) in enumerate(packets):
        ids = [p["candid"] for p in packet["prv_candidates"] or []]
        assert [p["candid"] for p in good[place]["packet"]["prv_candidates"] or []] == ids
        assert good[place]["lightcurve"]["kind"].count("forced") == sum(p["forcediffimflux"] > -99998 for p in packet["fp_hists"] or [])


def test_real_lsst_alerts_of_three_versions_in_one_batch(spark: SparkSession, shared: Path) -> None:
    reader = Reader(FOLDER, lambda text: None, keep=True)
    folder = shared / "alerts/lsst"
    paths = [folder / "lsst_v10_0_as_raw_avro_20260310.tar.xz", folder / "confluent/boom_7912941781254298.avro", folder / "confluent/fake"]
    packets = [packet for packet in reader.read(paths) if packet.alert_id]
    good, bad = both(spark, "lsst", [packet.value for packet in packets])
    assert len(good) == 36
    assert len({row["schema"] for row in good.values()}) >= 5
    assert all(reason.startswith("time outside") for reason in bad.values())  # the fake alerts of 7.x have no real time
    for place, row in good.items():
        source = packets[place].display["diaSource"]
        assert row["alert_id"] == str(source["diaSourceId"])
        assert (row["ra"], row["dec"], row["mjd"]) == (source["ra"], source["dec"], source["midpointMjdTai"])
        assert row["object_id"] == (str(source["diaObjectId"]) if source["diaObjectId"] else None)
        assert row["flux"] == pytest.approx(source["psfFlux"])
        under = source.get("templateFlux")
        assert row["template_flux"] == (None if under is None or np.isnan(under) else pytest.approx(under))
        if source["psfFlux"] > 0:
            assert row["mag"] == pytest.approx(31.4 - 2.5 * np.log10(source["psfFlux"]), abs=1e-5)
        earlier, forced = packets[place].display["prvDiaSources"] or [], packets[place].display["prvDiaForcedSources"] or []
        assert len(row["lightcurve"]["mjd"]) == 1 + len(earlier) + sum(p["psfFlux"] is not None for p in forced)
        about = packets[place].display["diaObject"] or {}
        assert row["n_detections"] == max(about.get("nDiaSources") or 1, len(earlier) + 1)
    moving = [row for row in good.values() if row["object_id"] is None]
    assert moving
    assert sum(row["ss_object_id"] is not None for row in moving) >= 8  # the fake alerts have neither object nor orbit


def test_real_elasticc_alerts_keyed_by_source(spark: SparkSession, shared: Path) -> None:
    packets = list(Reader(FOLDER, lambda text: None, keep=True).read([shared / "alerts/elasticc/elasticc_v0_9_as_raw_avro.avro"]))[:200]
    good, bad = both(spark, "elasticc", [packet.value for packet in packets])
    assert not bad
    assert len({row["alert_id"] for row in good.values()}) == 200
    for place, row in good.items():
        source = packets[place].display["diaSource"]
        assert (row["alert_id"], row["flux"]) == (str(source["diaSourceId"]), pytest.approx(source["psFlux"]))
        assert row["band"] == source["filterName"].lower()
        assert row["n_detections"] == 1 + len(packets[place].display["prvDiaSources"] or [])
        host = packets[place].display["diaObject"]["hostgal_snsep"]
        assert row["neighbour_distance_arcsec"] == (pytest.approx(host) if host >= 0 else None)
        assert row["neighbour_star_score"] is None
        assert row["template_flux"] is None
    assert {row["neighbour_distance_arcsec"] is None for row in good.values()} == {False, True}


def test_bad_packets_have_their_reason_and_keep_their_bytes(spark: SparkSession) -> None:
    made = [one.packet for one in make_alerts("ztf", 4)]
    made[1]["candidate"]["ra"] = float("nan")
    made[2]["candid"] = 0
    made[3]["candidate"]["jd"] = 1.0
    whole = [encode("ztf", packet) for packet in made]
    flipped = bytearray(whole[0])
    flipped[-20] ^= 0xFF
    deflated = io.BytesIO()
    fastavro.writer(deflated, newest("ztf").json, [made[0]], codec="deflate")
    two = io.BytesIO()
    fastavro.writer(two, newest("ztf").json, made[:1] * 2)
    values = [*whole, whole[0][:-100], b"", b"junk", whole[0] + b"\0", deflated.getvalue(), two.getvalue(), bytes(flipped)]
    good, bad = both(spark, "ztf", values)
    assert set(good) >= {0, 8}
    assert {place: reason.split(":")[0] for place, reason in bad.items() if place != 10} == {
        1: "position off the sky", 2: "no alert id", 3: "time outside 1990 to 2100", 4: "damaged container", 5: "empty packet",
        6: "wrong magic 6a756e6b", 7: "damaged container", 9: "2 records in one packet, one expected",
    }  # fmt: skip


@pytest.mark.parametrize("survey", ["lsst", "elasticc"])
def test_bad_packets_without_a_container(spark: SparkSession, survey: str) -> None:
    whole = [encode(survey, one.packet) for one in make_alerts(survey, 2)]
    good, bad = both(spark, survey, [*whole, whole[0][:-3], whole[0] + b"\n", b"", b"\0\0\0\x30\x39body"])
    assert set(good) == {0, 1}
    assert set(bad) == {2, 3, 4, 5}
    if survey == "lsst":
        assert bad[5].startswith("unknown schema: id 12345")
        assert "1 bytes left over" in bad[3]


def test_pixels_of_the_jvm_are_cdshealpixs(spark: SparkSession) -> None:
    rng = np.random.default_rng(17)
    ra = np.concatenate([rng.uniform(0, 360, 3000), [0, 360, 359.9999999, 45, 90, 180, 270, 0, 123]])
    dec = np.concatenate([np.degrees(np.arcsin(rng.uniform(-1, 1, 3000))), [0, 0, 0, 41.8, -41.8, 89.999, -89.999, 90, -90]])
    frame = spark.createDataFrame([(float(r), float(d)) for r, d in zip(ra, dec, strict=True)], "ra double, dec double")
    found = np.array([row[0] for row in frame.selectExpr(f"{sky.healpix_sql('ra', 'dec')} p").collect()])
    expected = sky.healpix(ra, dec)
    # at order 29 a pixel is 2e-9 rad wide: rounding moves a few points to a neighbour, never further than that
    assert (found == expected).mean() > 0.9
    assert ((found[:3000] >> 12) == (expected[:3000] >> 12)).all()


def test_gzipped_stamps_stay_gzipped(spark: SparkSession) -> None:
    value = encode("ztf", next(make_alerts("ztf", 1)).packet)
    good, _ = both(spark, "ztf", [value])
    assert gzip.decompress(bytes(good[0]["packet"]["cutoutScience"]["stampData"]))[:6] == b"SIMPLE"


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
def test_decoding_only_what_is_needed_changes_nothing(spark: SparkSession, survey: str) -> None:
    values = [encode(survey, made.packet) for made in make_alerts(survey, 12, seed=5)]
    full, few, none = decoder(survey), decoder(survey), decoder(survey)
    few.need(["packet.nothing_of_this_name"])
    none.curve = False
    none.need(())
    given = records(spark, values).cache()
    all_of_it = full.decode(given).cache()
    lean = few.decode(given).cache()
    assert "body" in lean.columns
    assert len(lean.schema["packet"].dataType.jsonValue()["fields"]) < len(all_of_it.schema["packet"].dataType.jsonValue()["fields"])
    wanted = sorted(all_of_it.collect(), key=lambda row: row.alert_id)
    assert sorted(few.whole(lean, few.fast).select(all_of_it.columns).collect(), key=lambda row: row.alert_id) == wanted
    bare = none.whole(none.decode(given), none.fast)
    assert "lightcurve" not in bare.columns
    assert sorted(bare.collect(), key=lambda row: row.alert_id) == sorted(all_of_it.select(bare.columns).collect(), key=lambda row: row.alert_id)
    spark.catalog.clearCache()
