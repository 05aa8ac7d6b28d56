"""The ledger."""

from dataclasses import replace
from pathlib import Path

from fink_broker.ledger import Entry, Ledger, nights, positions


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


def entry(job: str, batch: int, by_night: dict[str, dict[str, int]]) -> Entry:
    return Entry(job=job, survey="ztf", checkpoint="c", batch=batch, time=float(batch), seconds=1.0, by_night=by_night)


def test_nights_balance_or_say_by_how_much() -> None:
    came = {"20260101": {"received": 10, "duplicate": 2, "quarantined/empty packet": 1, "raw": 7}, "20260102": {"received": 3, "raw": 3}}
    went = {"20260101": {"science": 7, "indexed": 7, "matched": 2, "published/fink_a_ztf": 2, "published/fink_b_ztf": 1, "failed/features": 1}}
    second, first = nights([entry("ingest", 0, came), entry("live", 0, went)])
    assert (first.night, first.received, first.duplicate, first.quarantined) == ("20260101", 10, 2, {"empty packet": 1})
    assert (first.published, first.failed) == ({"fink_a_ztf": 2, "fink_b_ztf": 1}, {"features": 1})
    assert not first.differs
    assert first.completeness == 1
    assert second.differs == {"science": 3}
    assert second.completeness == 0
    assert second.as_dict()["balanced"] is False


def test_a_batch_that_ran_again_counts_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for number in (4, 5):
        ledger.write(entry("ingest", 0, {"20260101": {"received": number, "raw": number}}))
    assert [night.received for night in nights(ledger.entries())] == [5]


def test_a_line_cut_short_by_a_kill_takes_no_other_along(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    entry = Entry("live", "ztf", "abc", 1, 0.0, 1.0, rows_in=3)
    ledger.write(entry)
    with (tmp_path / "ledger/live-ztf.jsonl").open("a") as file:
        file.write('{"job": "live", "sur')
    ledger.write(replace(entry, batch=2))
    ledger.write(replace(entry, batch=3))
    assert [one.batch for one in ledger.entries()] == [1, 2, 3]


def test_work_that_was_done_again_counts_once() -> None:
    def entry(job: str, checkpoint: str, batch: int, **counts: int) -> Entry:
        return Entry(job, "ztf", checkpoint, batch, 0.0, 1.0, by_night={"20260309": counts})

    entries = [entry("ingest", "i", 0, received=5, raw=5), entry("live", "a", 0, science=3, indexed=3), entry("live", "b", 0, science=2, indexed=2)]
    entries += [entry("index", checkpoint, batch, indexed=number) for checkpoint in "xy" for batch, number in enumerate((1, 4))]
    (night,) = nights(entries)
    assert (night.raw, night.science, night.indexed) == (5, 5, 5)
    assert not night.differs


def test_rows_that_another_checkpoint_counted_are_known(tmp_path: Path) -> None:
    import pandas as pd

    ledger = Ledger(tmp_path)
    for checkpoint, batch, first, last in (("a", 0, 0, 4), ("a", 1, 5, 6), ("b", 0, 7, 9)):
        ledger.write(Entry("live", "ztf", checkpoint, batch, 1.0, 1.0, positions={"t": {"1": [first, last]}}))
    rows = pd.DataFrame([("t", 1, offset) for offset in (0, 6, 7)] + [("t", 0, 1), ("u", 1, 1)], columns=["topic", "partition", "offset"])
    assert ledger.counted("live", "ztf", "b", rows).tolist() == [True, True, False, False, False]
    assert not ledger.counted("ingest", "ztf", "b", rows).any()
    assert len(ledger.counted("live", "ztf", "b", rows[:0])) == 0
