"""HBase's keys, and what is told when it fails."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fink_broker import hbase
from fink_broker.errors import NotFound, StoreError, Unavailable
from fink_broker.settings import load

ADDRESS = ("there", 9090)


class IOError(Exception):  # what happybase raises is known by this name
    def __init__(self, message: bytes) -> None:
        self.message = message


@given(st.floats(47_000, 88_000), st.floats(47_000, 88_000))
def test_the_newer_time_sorts_first(one: float, other: float) -> None:
    first, second = hbase.reversed_time(one), hbase.reversed_time(other)
    assert len(first) == len(second) == 12
    assert (first < second) == (first != second and one > other)


def test_times_of_far_surveys_fit() -> None:
    assert hbase.reversed_time(60000.0) == "040000000000"
    assert hbase.reversed_time(99_999.999999) == "000000000001"


@given(st.text(max_size=20))
def test_a_salt_is_one_of_few(text: str) -> None:
    assert hbase.salt(text) in {f"{number:02x}" for number in range(hbase.SALTS)}


def test_salts_spread_objects() -> None:
    found = [hbase.salt(f"ztfZTF23a{number:06d}") for number in range(4000)]
    assert all(150 < found.count(salt) < 350 for salt in set(found))
    assert len(set(found)) == hbase.SALTS


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (b"org.apache.hadoop.hbase.TableNotFoundException: fink_alert\n\tat org...", NotFound, "`fink run live` or `fink run index` makes them"),
        (b"NoSuchColumnFamilyException: Column family n does not exist", StoreError, "set [hbase] prefix to a new one"),
        (b"RetriesExhaustedException: failed 6 actions", Unavailable, "refused: RetriesExhaustedException: failed 6 actions"),
        (b"", Unavailable, "does not answer (IOError)"),
    ],
)
def test_what_java_said_is_told_in_one_line(said: bytes, kind: type[Exception], text: str) -> None:
    error = hbase.failure(ADDRESS, IOError(said))
    assert type(error) is kind
    assert text in str(error)
    assert "HBase's Thrift server at there:9090" in str(error)
    assert "\n" not in str(error)


def test_our_own_errors_pass() -> None:
    error = NotFound("no such alert")
    assert hbase.failure(ADDRESS, error) is error


def test_nobody_there() -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    settings = load(options={"hbase": {"host": "127.0.0.1", "port": port, "timeout_seconds": 1}})
    with pytest.raises(Unavailable, match=f"HBase's Thrift server at 127.0.0.1:{port} does not answer"):
        hbase.connect(settings)
