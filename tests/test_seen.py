"""The memory of alert ids."""

from pathlib import Path

import pytest

from fink_broker.seen import DAY, Seen


def test_the_first_position_wins_and_a_rerun_is_no_duplicate(tmp_path: Path) -> None:
    seen = Seen(tmp_path)
    first = [("a", "t", 0, 0, 11, 100.0), ("b", "t", 0, 1, 12, 100.0)]
    assert list(seen.judge(first)) == []
    assert list(seen.judge(first)) == []  # the batch runs again
    again = [("a", "t", 0, 7, 11, 101.0), ("b", "t", 1, 0, 99, 101.0), ("c", "t", 1, 1, 13, 101.0)]
    for _ in range(2):
        assert sorted(seen.judge(again)) == [(0, "duplicate"), (1, "changed")]
    seen.close()
    assert sorted(Seen(tmp_path).judge(again)) == [(0, "duplicate"), (1, "changed")]  # after a new start


def test_within_a_batch_the_earlier_one_wins(tmp_path: Path) -> None:
    assert list(Seen(tmp_path).judge([("a", "t", 1, 4, 1, 200.0), ("a", "t", 0, 9, 1, 100.0)])) == [(0, "duplicate")]


def test_it_remembers_for_so_many_days_and_not_longer(tmp_path: Path) -> None:
    seen = Seen(tmp_path, days=8)
    assert list(seen.judge([("a", "t", 0, 0, 1, 0.9 * DAY)])) == []
    assert list(seen.judge([("a", "t", 0, 5, 1, 8.8 * DAY)])) == [(0, "duplicate")]
    assert list(seen.judge([("a", "t", 0, 6, 1, 9.0 * DAY)])) == []  # longer ago than 8 days: a new alert, the first from now on
    assert list(seen.judge([("a", "t", 0, 7, 1, 9.5 * DAY)])) == [(0, "duplicate")]
    seen.forget(9.5 * DAY)
    assert sorted(file.name for file in tmp_path.glob("*.sqlite")) == ["9.sqlite"]
    assert list(seen.judge([("a", "t", 0, 7, 1, 9.5 * DAY)])) == [(0, "duplicate")]


@pytest.mark.parametrize("alert_id", ["1", "2500000000000000000", "9223372036854775807", "9223372036854775808", "007", "7", "7.0", "é", "abc", "٣"])
def test_ids_are_told_apart_as_texts(tmp_path: Path, alert_id: str) -> None:
    seen = Seen(tmp_path)
    others = ["25", "2500000000000000001", "9223372036854775806", "9223372036854775809", "07", "0007", "70", "7.00", "e", "abcd", "3"]
    assert list(seen.judge([(other, "t", 0, place, 1, 5.0) for place, other in enumerate(others)])) == []
    assert list(seen.judge([(alert_id, "t", 0, 100, 1, 6.0)])) == []
    assert list(seen.judge([(alert_id, "t", 0, 101, 1, 6.0)])) == [(0, "duplicate")]
