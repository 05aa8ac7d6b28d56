"""Packets wait in time order, those without a time last, and may be read again."""

from pathlib import Path

import pytest

from fink_broker import spool
from fink_broker.spool import Packet, Spool


@pytest.mark.parametrize("in_memory", [1 << 20, 10])
def test_packets_come_back_in_time_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_memory: int) -> None:
    monkeypatch.setattr(spool, "IN_MEMORY", in_memory)  # 10 bytes: all goes to the file
    given = [Packet("ztf", b"b" * 7, "2", "o", 2.0), Packet("lsst", b"", "", ""), Packet("ztf", b"a", "1", "o", 1.0, {"x": 1}), Packet("ztf", b"zz")]
    kept = Spool()
    for packet in given:
        kept.add(packet)
    wanted = [given[2], given[0], given[1], given[3]]
    assert list(kept) == wanted
    assert list(kept) == wanted
    kept.add(Packet("ztf", b"c", "3", "o", 1.5))
    assert [packet.alert_id for packet in kept] == ["1", "3", "2", "", ""]
    assert len(kept) == 5
    assert kept.surveys == {"ztf": 4, "lsst": 1}
