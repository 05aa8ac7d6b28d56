"""Made-up alerts: complete, plausible, the same for the same seed."""

import gzip
import io
import math
from collections import Counter
from itertools import islice
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from fink_broker import sky
from fink_broker.errors import BadPacket, ConfigError, SchemaError, UnknownSchema
from fink_broker.framing import read_body
from fink_broker.schema import SchemaLibrary
from fink_broker.settings import data_folder
from fink_broker.survey import load_survey
from fink_broker.testing import KINDS, MadeAlert, damage, encode, make_alerts, newest
from fink_broker.testing.encoder import encoder, varint
from fink_broker.testing.objects import make_objects
from fink_broker.testing.ztf import ztf_name

SURVEYS = ["ztf", "lsst", "elasticc"]
FOLDER = data_folder("schemas")
SOURCE = {"ztf": "candidate", "lsst": "diaSource", "elasticc": "diaSource"}


def alerts(survey: str, number: int = 200, **options: Any) -> list[MadeAlert]:
    return list(make_alerts(survey, number, **options))


def slowly(schema: Any, packet: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, packet, strict=True)
    return stream.getvalue()


@pytest.mark.parametrize("survey", SURVEYS)
def test_packets_have_every_field_of_the_schema_and_survive_the_wire(survey: str) -> None:
    schema = newest(survey)
    about, library = load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey)
    names = [field["name"] for field in schema.json["fields"]]
    for made in alerts(survey, 60):
        assert list(made.packet) == names
        body = slowly(schema.json, made.packet)  # strict: every field there, none besides
        value = encode(survey, made.packet)
        assert read_body(value, about, library).data == body
        back: Any = fastavro.schemaless_reader(io.BytesIO(body), schema.json, None)
        assert slowly(schema.json, back) == body
        assert str(back["candid"] if survey == "ztf" else back["diaSource"]["diaSourceId"]) == made.alert_id


def test_each_survey_has_its_framing() -> None:
    ztf, lsst, elasticc = (encode(name, next(make_alerts(name)).packet) for name in SURVEYS)
    assert len(list(fastavro.reader(io.BytesIO(ztf)))) == 1
    assert lsst[:5] == b"\0" + newest("lsst").confluent_id.to_bytes(4, "big")  # type: ignore[union-attr]
    assert elasticc[:4] != b"Obj\x01"


@pytest.mark.parametrize("survey", SURVEYS)
def test_ids_are_unique_times_in_order_and_the_seed_decides(survey: str) -> None:
    made = alerts(survey, 300, seed=5)
    assert len({one.alert_id for one in made}) == 300
    assert 30 < len({one.object_id for one in made}) < 300
    assert all(one.mjd <= other.mjd for one, other in zip(made, made[1:], strict=False))
    assert {one.truth["kind"] for one in made} == set(KINDS)
    again = alerts(survey, 300, seed=5)
    assert [encode(survey, one.packet) for one in again] == [encode(survey, one.packet) for one in made]
    assert [one.alert_id for one in alerts(survey, 20, seed=5)] == [one.alert_id for one in made[:20]]  # however many are asked for
    other = alerts(survey, 300, seed=6)
    assert not {one.alert_id for one in other} & {one.alert_id for one in made}
    assert not {one.object_id for one in other} & {one.object_id for one in made}


@pytest.mark.parametrize("survey", SURVEYS)
def test_alerts_are_of_few_nights_at_night_and_inside_the_visible_sky(survey: str) -> None:
    about = load_survey(FOLDER, survey)
    made = alerts(survey, 600)
    assert len(set(sky.night(np.array([one.mjd for one in made]), about.longitude_deg))) <= 6
    hours = [(one.mjd % 1 * 24 + about.longitude_deg / 15) % 24 for one in made]
    assert all(hour > 18 or hour < 6 for hour in hours)
    source = SOURCE[survey]
    dec = np.array([one.packet[source]["decl" if survey == "elasticc" else "dec"] for one in made])
    assert ((dec > -32) if survey == "ztf" else (dec < 35)).mean() > 0.95


def test_the_first_night_is_the_one_asked_for() -> None:
    first = next(make_alerts("ztf", 20, start_mjd=58000.9))
    assert 58001 < first.mjd < 58003
    assert next(make_alerts("lsst")).mjd == next(make_alerts("lsst")).mjd


def test_a_stream_without_end_goes_on_over_blocks() -> None:
    made = list(islice(make_alerts("elasticc", seed=2), 9000))
    assert len({one.alert_id for one in made}) == 9000
    assert all(one.mjd <= other.mjd for one, other in zip(made, made[1:], strict=False))
    assert made[-1].mjd - made[0].mjd > 3
    assert list(make_alerts("elasticc", 0)) == []
    assert len(alerts("elasticc", 7)) == 7


def test_magnitudes_errors_and_history_fit_together() -> None:
    own: dict[int, dict[str, Any]] = {}
    for made in alerts("ztf", 400):
        candidate = made.packet["candidate"]
        assert 0 < candidate["sigmapsf"] < 0.25
        assert candidate["magpsf"] < candidate["diffmaglim"] + 0.1
        assert candidate["isdiffpos"] in ("t", "f")
        assert candidate["candid"] == made.packet["candid"]
        assert 10**18 < candidate["candid"] < 10**19
        assert candidate["pid"] == candidate["candid"] // 10**6
        assert candidate["jdstarthist"] <= candidate["jd"] == candidate["jdendhist"]
        own[candidate["candid"]] = candidate
        for earlier in made.packet["prv_candidates"] or []:
            assert candidate["jd"] - 30.01 < earlier["jd"] < candidate["jd"]
            assert (earlier["magpsf"] is None) == (earlier["candid"] is None) == (earlier["isdiffpos"] is None)
            if earlier["candid"] in own:  # what its own alert said
                assert {name: own[earlier["candid"]][name] for name in ("magpsf", "rb", "fwhm", "ra")} == {
                    name: earlier[name] for name in ("magpsf", "rb", "fwhm", "ra")
                }
        for forced in made.packet["fp_hists"] or []:
            assert forced["forcediffimfluxunc"] > 0 or (forced["forcediffimflux"], forced["procstatus"]) == (-99999.0, "61")
    assert own


def test_ztf_counts_detections_and_names_asteroids() -> None:
    seen: dict[str, int] = {}
    names = set()
    for made in alerts("ztf", 500):
        candidate = made.packet["candidate"]
        assert candidate["ndethist"] > seen.get(made.object_id, 0)
        seen[made.object_id] = candidate["ndethist"]
        known = made.truth["kind"] == "asteroid" and made.truth["known"]
        assert (candidate["ssnamenr"] == "null") == (candidate["ssdistnr"] == -999.0) == (not known)
        names.add(candidate["ssnamenr"])
        low = made.truth["kind"] == "bogus"
        assert (candidate["drb"] < 0.65) if low else (candidate["drb"] > 0.65)
    assert len(names) > 5
    points = [point for made in alerts("ztf", 300) for point in made.packet["prv_candidates"] or []]
    assert 0.1 < np.mean([point["magpsf"] is None for point in points]) < 0.9


def test_a_moving_thing_moves_and_is_a_new_object_each_time() -> None:
    tracks: dict[str, list[MadeAlert]] = {}
    for made in alerts("ztf", 300, kinds=["asteroid"]):
        if made.truth["known"]:
            tracks.setdefault(made.packet["candidate"]["ssnamenr"], []).append(made)
    track = max(tracks.values(), key=len)
    assert len(track) > 2
    assert len({made.object_id for made in track}) == len(track)
    for one, other in zip(track, track[1:], strict=False):
        places = [(made.packet["candidate"]["ra"], made.packet["candidate"]["dec"]) for made in (one, other)]
        moved = float(sky.separation_arcsec(*places[0], *places[1])) / 3600 / (other.mjd - one.mjd)
        assert moved == pytest.approx(one.truth["speed_deg_per_day"], rel=0.1)


def test_lsst_ids_histories_and_orbits() -> None:
    known = alone = repeated = 0
    for made in alerts("lsst", 400):
        packet, source = made.packet, made.packet["diaSource"]
        assert source["psfFluxErr"] > 0
        assert source["snr"] == pytest.approx(abs(source["psfFlux"]) / source["psfFluxErr"])
        assert source["isNegative"] == (source["psfFlux"] < 0)
        assert source["scienceFlux"] == pytest.approx(source["psfFlux"] + source["templateFlux"])
        if packet["ssSource"]:
            known += 1
            assert (source["diaObjectId"], packet["diaObject"], packet["prvDiaSources"], packet["prvDiaForcedSources"]) == (0, None, None, None)
            assert packet["mpc_orbits"]["designation"] == packet["ssSource"]["designation"]
            assert packet["mpc_orbits"]["q"] == pytest.approx(packet["mpc_orbits"]["a"] * (1 - packet["mpc_orbits"]["e"]))
            continue
        assert source["ssObjectId"] == 0
        assert packet["diaObject"]["diaObjectId"] == source["diaObjectId"] == int(made.object_id)
        before = packet["prvDiaSources"] or []
        assert packet["diaObject"]["nDiaSources"] == len(before) + 1
        assert packet["diaObject"][f"{source['band']}_psfFluxNdata"] == 1 + sum(point["band"] == source["band"] for point in before)
        alone += packet["prvDiaSources"] is None and packet["prvDiaForcedSources"] == []
        repeated += len(before) > 1
        assert len(packet["prvDiaForcedSources"]) >= len(before)
    assert min(known, alone, repeated) > 5


def test_elasticc_keeps_its_sentinels() -> None:
    made = alerts("elasticc", 200)
    host = [one.packet["diaObject"] for one in made if one.truth["kind"] == "supernova"]
    none = [one.packet["diaObject"] for one in made if one.truth["kind"] == "variable"]
    assert all(0 < one["hostgal_zphot"] < 1 and one["hostgal_zphot_q000"] <= one["hostgal_zphot_q100"] and one["hostgal2_mag_r"] == 999 for one in host)
    assert all((one["hostgal_zphot"], one["hostgal_mag_g"], one["hostgal_snsep"]) == (-999.0, 999.0, -9.0) for one in none)
    assert all(one.packet["alertId"] == one.packet["diaSource"]["diaSourceId"] for one in made)
    assert {one.packet["diaSource"]["filterName"] for one in alerts("elasticc", 2000)} == set("ugrizY")


@pytest.mark.parametrize(("survey", "low", "high"), [("ztf", 48_000, 90_000), ("lsst", 100_000, 210_000), ("elasticc", 300, 10_000)])
def test_sizes_are_those_of_the_survey(survey: str, low: int, high: int) -> None:
    sizes = [len(encode(survey, made.packet)) for made in alerts(survey, 100)]
    assert low < min(sizes)
    assert max(sizes) < high


def test_light_curves_are_what_their_truth_says() -> None:
    things = list(make_objects(400, 3, ("g", "r", "i"), 61000.3, 3, KINDS))
    negative = {kind: 0.0 for kind in KINDS}
    for thing in things:
        negative[thing.kind] += sum(thing.flux[place] < 0 for place in thing.detections)
        assert min(thing.flux_err) > 0
        if thing.kind == "supernova" and thing.detections:
            brightest = max(thing.flux[place] for place in thing.detections)
            assert 31.4 - 2.5 * math.log10(brightest) > thing.truth["peak_mag"] - 0.5
    assert negative["variable"] > 0 < negative["bogus"]
    assert negative["supernova"] == negative["microlensing"] == negative["asteroid"] == 0
    shares = {kind: np.mean([thing.kind == kind for thing in things]) for kind in KINDS}
    assert shares["variable"] == pytest.approx(0.35, abs=0.1)


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_stamps_have_the_source_in_their_middle(survey: str) -> None:
    for made in alerts(survey, 60, kinds=["asteroid", "supernova", "variable"]):
        images = []
        for name in ("cutoutScience", "cutoutTemplate", "cutoutDifference"):
            stamp = made.packet[name]
            with fits.open(io.BytesIO(gzip.decompress(stamp["stampData"]) if survey == "ztf" else stamp)) as hdus:
                hdus.verify("exception")
                assert [hdu.name for hdu in hdus] == (["PRIMARY"] if survey == "ztf" else ["IMAGE", "UNCERT", "PSFIMAGE"])
                images.append(np.array(hdus[0].data, float))
                if survey == "lsst":
                    assert hdus[2].data.shape == (41, 41)
                    assert hdus[2].data.sum() == pytest.approx(1, abs=1e-4)
        science, template, difference = images
        assert science.shape == template.shape == ((63, 63) if survey == "ztf" else science.shape)
        np.testing.assert_allclose(difference, science - template, atol=1e-2)
        middle = difference.shape[0] // 2
        sign = -1 if (made.packet["candidate"]["isdiffpos"] == "f" if survey == "ztf" else made.packet["diaSource"]["isNegative"]) else 1
        inside = sign * difference[middle - 2 : middle + 3, middle - 2 : middle + 3].sum() / 5
        assert inside > 2 * np.std(difference[:8])


def test_stamps_of_bogus_may_be_cut_off() -> None:
    shapes = set()
    for made in alerts("ztf", 100, kinds=["bogus"]):
        with fits.open(io.BytesIO(gzip.decompress(made.packet["cutoutScience"]["stampData"]))) as hdus:
            shapes.add(hdus[0].data.shape)
    assert shapes == {(63, 63), (48, 63)}


def test_an_unknown_survey_or_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="no made-up alerts for survey 'atlas'; there are elasticc, lsst, ztf"):
        make_alerts("atlas")
    with pytest.raises(ConfigError, match="unknown kind nova; known: supernova"):
        make_alerts("ztf", kinds=["nova"])
    with pytest.raises(ConfigError, match="number is -1; expected 0 or more"):
        make_alerts("ztf", -1)


@pytest.mark.parametrize("survey", SURVEYS)
def test_thousands_are_of_few_nights(survey: str) -> None:
    about = load_survey(FOLDER, survey)
    nights = Counter(int(made.mjd + about.longitude_deg / 360 - 0.5) for made in make_alerts(survey, 3000))
    assert len(nights) <= 4
    assert nights[max(nights)] > 500


def test_names_are_unique_over_seeds() -> None:
    names = {ztf_name(seed, number) for seed in range(50) for number in range(100)}
    assert len(names) == 5000
    assert all(len(name) == 12 for name in names)


@given(st.integers(-(2**63), 2**63 - 1))
def test_varint_is_avros(value: int) -> None:
    assert varint(value) == slowly("long", value)


def test_the_encoder_leaves_what_it_does_not_know_to_fastavro() -> None:
    schema: Any = fastavro.parse_schema({"type": "record", "name": "r", "fields": [{"name": "a", "type": ["null", "int", "string"], "default": None}]})
    assert encoder(schema)({"a": "x"}) == slowly(schema, {"a": "x"})
    plain: Any = fastavro.parse_schema({"type": "record", "name": "p", "fields": [{"name": "a", "type": "int", "default": 7}]})
    assert encoder(plain)({}) == b"\x0e"
    with pytest.raises(TypeError, match="an integer is required"):
        encoder(plain)({"a": "seven"})


@pytest.mark.parametrize("survey", SURVEYS)
@pytest.mark.parametrize("name", list(damage.BYTES))
def test_damaged_bytes_are_refused(survey: str, name: str) -> None:
    value = damage.BYTES[name](encode(survey, next(make_alerts(survey)).packet))
    with pytest.raises(SchemaError):
        read_body(value, load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey))


def test_other_damage_of_bytes() -> None:
    ztf, lsst = (encode(name, next(make_alerts(name)).packet) for name in ("ztf", "lsst"))

    def read(survey: str, value: bytes) -> object:
        return read_body(value, load_survey(FOLDER, survey), SchemaLibrary.load(FOLDER, survey))

    for survey, value in (("ztf", ztf), ("lsst", lsst)):
        with pytest.raises(UnknownSchema):
            read(survey, damage.unknown_schema(value))
        with pytest.raises(BadPacket, match="cafe"):
            read(survey, damage.wrong_magic(value))
    with pytest.raises(BadPacket, match="damaged container"):
        read("ztf", damage.flipped(ztf))
    with pytest.raises(BadPacket, match="left over"):
        read("lsst", damage.trailing(lsst))
    with pytest.raises(ConfigError, match="carries no schema"):
        damage.unknown_schema(encode("elasticc", next(make_alerts("elasticc")).packet))
    assert damage.newlines_lost(b"a\r\nb") == b"a\nb"


@pytest.mark.parametrize("survey", SURVEYS)
def test_damaged_packets_still_encode_and_the_first_is_left_alone(survey: str) -> None:
    about = load_survey(FOLDER, survey)
    packet = next(make_alerts(survey)).packet
    before = encode(about, packet)
    for spoil in (*damage.PACKETS.values(), damage.changed):
        assert encode(about, spoil(packet, about)) != before
    assert encode(about, packet) == before
