"""The ledger and the memory of alert ids."""

from pathlib import Path

from fink_broker.ledger import Entry, Ledger, Seen, positions


def test_a_batch_that_runs_again_replaces_its_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.write(Entry("live", "ztf", "c1", 0, 10.0, 1.0, rows_in=5, positions={"t": {"0": [0, 4]}}))
    ledger.write(Entry("live", "ztf", "c1", 0, 12.0, 1.0, rows_in=5, positions={"t": {"0": [0, 4]}}))
    ledger.write(Entry("live", "ztf", "c1", 1, 13.0, 1.0, rows_in=2, positions={"t": {"0": [5, 6], "1": [0, 0]}}))
    with (ledger.folder / "live-ztf.jsonl").open("a") as file:
        file.write('{"job": "live", "cut')  # a kill in the middle of a line
    assert [entry.rows_in for entry in ledger.entries()] == [5, 2]
    assert ledger.done("live", "ztf") == {"t": {0: 7, 1: 1}}


def test_positions_span_each_partition() -> None:
    assert positions([("t", 0, 5), ("t", 0, 3), ("t", 1, 9), ("u", 0, 1)]) == {"t": {"0": [3, 5], "1": [9, 9]}, "u": {"0": [1, 1]}}


def test_the_first_position_wins_and_a_rerun_is_no_duplicate(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "seen.sqlite")
    first = [("a", "t", 0, 0, 11, 100.0), ("b", "t", 0, 1, 12, 100.0)]
    assert list(seen.judge(first)) == []
    assert list(seen.judge(first)) == []  # the batch runs again
    again = [("a", "t", 0, 7, 11, 101.0), ("b", "t", 1, 0, 99, 101.0), ("c", "t", 1, 1, 13, 101.0)]
    assert sorted(seen.judge(again)) == [(0, "duplicate"), (1, "changed")]
    assert sorted(seen.judge(again)) == [(0, "duplicate"), (1, "changed")]
    seen.forget(100.5)
    assert list(seen.judge([("a", "t", 0, 9, 11, 900.0)])) == []


def test_within_a_batch_the_earlier_one_wins(tmp_path: Path) -> None:
    seen = Seen(tmp_path / "seen.sqlite")
    assert list(seen.judge([("a", "t", 1, 4, 1, 200.0), ("a", "t", 0, 9, 1, 100.0)])) == [(0, "duplicate")]
