"""Alert files: every packet is found, converted or sent as it is; nothing is lost in between."""

import csv
import gzip
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import fastavro
import pytest

from fink_broker.errors import ConfigError, SchemaError
from fink_broker.framing import read_body
from fink_broker.replay import Reader, dig, load_target
from fink_broker.settings import data_folder
from fink_broker.spool import Packet
from fink_broker.testing import damage, encode, make_alerts, newest

FOLDER = data_folder("schemas")


def quiet(text: str) -> None:
    """Say nothing."""


def container(schema: Any, *records: Any, codec: str = "null") -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema, records, codec=codec)
    return stream.getvalue()


def sparks(schema: Any) -> dict[str, Any]:
    """The same schema as Spark writes it: another name, everything nullable."""
    return {
        "type": "record",
        "name": "topLevelRecord",
        "fields": [
            {"name": field["name"], "type": [field["type"], "null"] if not isinstance(field["type"], list) else field["type"]} for field in schema["fields"]
        ],
    }


def outcome(reader: Reader, packets: Any) -> tuple[Counter[str], Counter[str]]:
    """Packets that decode, by survey, and the reasons of the others."""
    good, reasons = Counter[str](), Counter[str]()
    for packet in packets:
        try:
            read_body(packet.value, reader.surveys[packet.survey], reader.libraries[packet.survey])
            good[packet.survey] += 1
        except SchemaError as error:
            reasons[str(error).split(":")[0].split(" starts")[0]] += 1
    return good, reasons


def test_files_folders_tars_and_gz(tmp_path: Path) -> None:
    values = [encode("ztf", made.packet) for made in make_alerts("ztf", 4)]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.avro").write_bytes(values[3])
    (tmp_path / "b.avro.gz").write_bytes(gzip.compress(values[2]))
    (tmp_path / "note.md").write_text("no alert")
    for place in (0, 1):
        (tmp_path / f"in{place}.avro").write_bytes(values[place])
    with tarfile.open(tmp_path / "two.tar.xz", "w:xz") as tar:
        for place in (0, 1):
            tar.add(tmp_path / f"in{place}.avro")
            (tmp_path / f"in{place}.avro").unlink()
    (tmp_path / "broken.tar.gz").write_bytes(b"no tar at all")
    (tmp_path / "broken.avro.gz").write_bytes(gzip.compress(values[0])[:-200])
    said: list[str] = []
    reader = Reader(FOLDER, said.append)
    packets = reader.read([tmp_path])
    assert len(packets) == 4
    assert packets.surveys == {"ztf": 4}
    assert [packet.value for packet in packets] == values  # in time order, the bytes as they were
    assert [packet.value for packet in packets] == values  # and once more
    assert reader.skipped == {".md": 1}
    assert [Path(name).name for name in reader.unreadable] == ["broken.avro.gz", "broken.tar.gz"]
    assert any("2 unreadable archives, read as far as they go" in line for line in said)
    assert "1 files skipped: .md is not read" in said
    assert all(len(packet.alert_id) == 19 for packet in packets)


def test_what_lies_before_the_damage_of_a_tar_is_read(tmp_path: Path) -> None:
    values = [encode("ztf", made.packet) for made in make_alerts("ztf", 6)]
    for place, value in enumerate(values):
        (tmp_path / f"{place}.avro").write_bytes(value)
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for place in range(6):
            tar.add(tmp_path / f"{place}.avro")
    whole = (tmp_path / "all.tar").read_bytes()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "cut.tar").write_bytes(whole[: len(whole) // 2])
    reader = Reader(FOLDER, quiet)
    assert 1 < len(reader.read([tmp_path / "cut"])) < 6
    assert reader.unreadable == ["cut.tar"]


def test_paths_without_alerts_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file or folder"):
        Reader(FOLDER, quiet).read([tmp_path / "nowhere"])
    (tmp_path / "table.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"no alert packets in .*table.parquet; give .avro or .avro.gz files"):
        Reader(FOLDER, quiet).read([tmp_path / "table.parquet"])


def test_other_surveys_than_asked_for_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(encode("ztf", next(make_alerts("ztf")).packet))
    (tmp_path / "b.avro").write_bytes(encode("lsst", next(make_alerts("lsst")).packet))
    said: list[str] = []
    assert [packet.survey for packet in Reader(FOLDER, said.append).read([tmp_path], ["lsst"])] == ["lsst"]
    assert said == ["1 packets of ztf left out: not asked for"]


@pytest.mark.parametrize("survey", ["ztf", "lsst", "elasticc"])
@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_container_of_many_gives_each_its_packet_as_the_survey_sends_it(tmp_path: Path, survey: str, codec: str) -> None:
    made = list(make_alerts(survey, 5))
    schema = newest(survey)
    (tmp_path / "many.avro").write_bytes(container(schema.json, *(one.packet for one in made), codec=codec))
    packets = list(Reader(FOLDER, quiet).read([tmp_path]))
    assert [packet.value for packet in packets] == [encode(survey, one.packet) for one in made]
    assert [packet.alert_id for packet in packets] == [one.alert_id for one in made]
    assert [packet.mjd for packet in packets] == pytest.approx([one.mjd for one in made], abs=1e-8)


def test_bare_bodies_are_known_by_their_schema(tmp_path: Path) -> None:
    values = [encode(survey, next(make_alerts(survey)).packet) for survey in ("elasticc", "lsst")]
    for place, value in enumerate(values):
        (tmp_path / f"{place}.avro").write_bytes(value)
    packets = list(Reader(FOLDER, quiet).read([tmp_path]))
    assert {packet.survey: packet.value for packet in packets} == {"elasticc": values[0], "lsst": values[1]}
    assert all(packet.alert_id and packet.object_id for packet in packets)


def test_what_spark_wrote_is_converted_by_name(tmp_path: Path) -> None:
    made = [one for one in make_alerts("ztf", 30) if one.packet["prv_candidates"]][:2]
    schema = newest("ztf")
    records = [{**one.packet, "cutoutDifference": {"fileName": None, "stampData": None}} for one in made]
    written = sparks(json.loads(schema.source))
    for field in written["fields"]:
        if field["name"].startswith("cutout"):
            fields = [{"name": "fileName", "type": ["string", "null"]}, {"name": "stampData", "type": ["bytes", "null"]}]
            field["type"] = [{"type": "record", "name": field["name"] + "_", "fields": fields}, "null"]
    written["fields"].append({"name": "extra", "type": ["double", "null"]})
    (tmp_path / "spark.avro").write_bytes(container(fastavro.parse_schema(written), *({**record, "extra": 1.0} for record in records)))
    said: list[str] = []
    packets = list(Reader(FOLDER, said.append).read([tmp_path]))
    assert said == [f"2 records of spark.avro (schema topLevelRecord) converted by name to ztf {schema.version}"]
    wanted = [{**one.packet, "cutoutDifference": None} for one in made]  # a struct of nulls was null
    assert [packet.value for packet in packets] == [encode("ztf", record) for record in wanted]


def test_ids_that_became_floats_are_null_and_said(tmp_path: Path) -> None:
    made = next(one for one in make_alerts("ztf", 60) if any(point["candid"] for point in one.packet["prv_candidates"] or []))
    written = json.loads(newest("ztf").source)
    written["name"] = "topLevelRecord"
    inner = next(field["type"] for field in written["fields"] if field["name"] == "prv_candidates")
    point = next(part for part in inner if part != "null")["items"]
    next(field for field in point["fields"] if field["name"] == "candid").update(type=["double", "null"], default=0.0)
    before = [{**one, "candid": None if one["candid"] is None else float(one["candid"])} for one in made.packet["prv_candidates"]]
    (tmp_path / "pandas.avro").write_bytes(container(fastavro.parse_schema(written), {**made.packet, "prv_candidates": before}))
    said: list[str] = []
    packet = next(iter(Reader(FOLDER, said.append).read([tmp_path])))
    record: Any = next(iter(fastavro.reader(io.BytesIO(packet.value))))
    assert {one["candid"] for one in record["prv_candidates"]} == {None}
    assert record["candid"] == made.packet["candid"]  # 19 digits
    assert any("times candid had become a float and lost digits; left null" in line for line in said)


def test_a_value_that_the_schema_does_not_take_is_sent_as_it_was_written(tmp_path: Path) -> None:
    made = next(make_alerts("ztf"))
    written = json.loads(newest("ztf").source)
    written["name"] = "topLevelRecord"
    next(field for field in written["fields"] if field["name"] == "objectId")["type"] = ["string", "null"]
    schema = fastavro.parse_schema(written)
    (tmp_path / "null.avro").write_bytes(container(schema, {**made.packet, "objectId": None}))
    said: list[str] = []
    reader = Reader(FOLDER, said.append)
    packets = list(reader.read([tmp_path]))
    assert [record["candid"] for record in fastavro.reader(io.BytesIO(packets[0].value))] == [made.packet["candid"]]  # type: ignore[index, call-overload]
    assert any("cannot be written as ztf" in line and "sent as they are, for the quarantine" in line for line in said)
    assert outcome(reader, packets)[1] == {"unknown schema": 1}


def test_damage_and_strangers_are_sent_as_they_are(tmp_path: Path) -> None:
    value = encode("ztf", next(make_alerts("ztf")).packet)
    other = fastavro.parse_schema({"type": "record", "name": "comet", "fields": [{"name": "tail", "type": "int"}]})
    files = {
        "good": value, "cut": damage.truncated(value), "flipped": damage.flipped(value), "empty": b"", "junk": b"junk",
        "none": container(newest("ztf").json), "comet": container(other, {"tail": 1}),
        "lsst_unknown": damage.unknown_schema(encode("lsst", next(make_alerts("lsst")).packet)),
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / f"{name}.avro").write_bytes(content)
    said: list[str] = []
    reader = Reader(FOLDER, said.append)
    packets = list(reader.read([tmp_path]))
    assert sorted(packet.value for packet in packets) == sorted(files.values())
    assert packets[0].value == value  # the others have no time
    assert Counter(packet.survey for packet in packets) == {"ztf": 7, "lsst": 1}
    good, reasons = outcome(reader, packets)
    assert good == {"ztf": 1}
    assert sum(reasons.values()) == 7
    assert "1 packets fit no known schema (schema comet): sent as they are to ztf, for the quarantine" in said


def test_another_schema_and_framing_on_demand(tmp_path: Path) -> None:
    made = next(make_alerts("ztf"))
    (tmp_path / "a.avro").write_bytes(encode("ztf", made.packet))
    old = FOLDER / "ztf" / "3.3"
    source = next(old.glob("*.avsc")).read_bytes()
    (tmp_path / "old.avsc.gz").write_bytes(gzip.compress(source))
    target = load_target(tmp_path / "old.avsc.gz", FOLDER)
    assert target.version.startswith("3.3")
    packet = next(iter(Reader(FOLDER, quiet, target=target).read([tmp_path / "a.avro"])))
    record: Any = next(iter(fastavro.reader(io.BytesIO(packet.value))))
    assert "fp_hists" not in record
    assert record["candidate"]["jd"] == made.packet["candidate"]["jd"]
    assert load_target(tmp_path / "a.avro", FOLDER).version == newest("ztf").version
    bare = next(iter(Reader(FOLDER, quiet, framing="bare").read([tmp_path / "a.avro"])))
    assert fastavro.schemaless_reader(io.BytesIO(bare.value), newest("ztf").json, None)["candid"] == made.packet["candid"]  # type: ignore[index, call-overload]
    with pytest.raises(ConfigError, match="no schema file"):
        load_target(tmp_path / "none.avsc", FOLDER)
    (tmp_path / "bad.avsc").write_text('{"type": "record"}')
    with pytest.raises(ConfigError, match="holds no Avro schema"):
        load_target(tmp_path / "bad.avsc", FOLDER)
    (tmp_path / "comet.avsc").write_text('{"type": "record", "name": "comet", "fields": [{"name": "tail", "type": "int"}]}')
    with pytest.raises(ConfigError, match="resembles no known survey; known: elasticc, lsst, ztf"):
        load_target(tmp_path / "comet.avsc", FOLDER)


def test_the_displayed_field_is_kept_alone(tmp_path: Path) -> None:
    made = next(make_alerts("ztf"))
    (tmp_path / "a.avro").write_bytes(encode("ztf", made.packet))
    packet = next(iter(Reader(FOLDER, quiet, display="candidate.jd").read([tmp_path])))
    assert packet.display == {"candidate": {"jd": made.packet["candidate"]["jd"]}}
    assert next(iter(Reader(FOLDER, quiet, display="no.such").read([tmp_path]))).display == {}
    assert dig({"a": {"b": 3}}, "a.b") == 3
    assert dig({"a": {"b": 3}}, "a.b.c") is None


def test_all_shared_alerts(shared: Path) -> None:
    reader = Reader(FOLDER, quiet)
    packets = list(reader.read([shared / "alerts"]))
    assert Counter(packet.survey for packet in packets) == {"ztf": 968, "lsst": 234, "elasticc": 1034}
    good, reasons = outcome(reader, packets)
    assert good == {"ztf": 924, "lsst": 231, "elasticc": 1034}, reasons
    assert sum(reasons.values()) == 47
    assert sum(reader.converted.values()) == 605
    assert not reader.notes
    assert reader.skipped[".parquet"] == 64
    times = [packet.mjd for packet in packets]
    assert times == sorted(times)


def test_each_file_gives_what_the_manifest_says(shared: Path) -> None:
    with (shared / "alerts" / "MANIFEST.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"].endswith((".avro", ".tar.xz")) and "json" not in row["file"]]
    reader = Reader(FOLDER, quiet)
    for row in rows:
        packets = [packet for file in reader._files(shared / "alerts" / row["file"]) for packet in reader._packets(*file)]
        good, _ = outcome(reader, packets)
        if row["file"].startswith(("edge/crlf_stripped/", "edge/empty", "edge/bad_default", "edge/schemaless")):
            assert (len(packets), good.total()) == (1, 0), row["file"]  # sent, for the quarantine
        elif "Hsiao" in row["file"] or "fakeAlert_v4_0" in row["file"] or row["file"].startswith("other/"):
            assert good.total() == 0, row["file"]
        else:
            assert len(packets) == good.total() == int(row["n"]), row["file"]
    assert len(rows) > 70


def test_packets_know_little() -> None:
    assert Packet("ztf", b"x").mjd == float("inf")
