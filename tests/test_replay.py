"""Alert files: every packet is found, converted or sent as it is; nothing is lost in between."""

import gzip
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from fink_broker.errors import ConfigError, SchemaError
from fink_broker.framing import read_body
from fink_broker.replay import Reader
from fink_broker.settings import data_folder
from fink_broker.testing import encode, make_alerts

FOLDER = data_folder("schemas")


def quiet(text: str) -> None:
    """Say nothing."""


def test_files_folders_tars_and_gz(tmp_path: Path) -> None:
    values = [encode("ztf", made.packet) for made in make_alerts("ztf", 4)]
    (tmp_path / "a.avro").write_bytes(values[3])
    (tmp_path / "b.avro.gz").write_bytes(gzip.compress(values[2]))
    (tmp_path / "note.md").write_text("no alert")
    for place in (0, 1):
        (tmp_path / f"in{place}.avro").write_bytes(values[place])
    with tarfile.open(tmp_path / "two.tar.xz", "w:xz") as tar:
        for place in (0, 1):
            tar.add(tmp_path / f"in{place}.avro")
            (tmp_path / f"in{place}.avro").unlink()
    (tmp_path / "broken.tar.gz").write_bytes(b"no tar at all")
    reader = Reader(FOLDER, quiet)
    packets = list(reader.read([tmp_path]))
    assert [packet.value for packet in packets] == values  # in time order, the bytes as they were
    assert reader.skipped == {".md": 1}
    assert reader.unreadable == ["broken.tar.gz"]
    assert all(len(packet.alert_id) == 19 for packet in packets)


def test_a_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file or folder"):
        list(Reader(FOLDER, quiet).read([tmp_path / "nowhere"]))


def test_all_shared_alerts(shared: Path) -> None:
    reader = Reader(FOLDER, quiet)
    packets = list(reader.read([shared / "alerts"]))
    assert Counter(packet.survey for packet in packets) == {"ztf": 968, "lsst": 234, "elasticc": 1034}
    good, reasons = Counter[str](), Counter[str]()
    for packet in packets:
        try:
            read_body(packet.value, reader.surveys[packet.survey], reader.libraries[packet.survey])
            good[packet.survey] += 1
        except SchemaError as error:
            reasons[str(error).split(":")[0][:14]] += 1
    assert good == {"ztf": 924, "lsst": 231, "elasticc": 1034}, reasons
    assert sum(reasons.values()) == 47
    assert sum(reader.converted.values()) == 605
    assert reader.skipped[".parquet"] == 64
