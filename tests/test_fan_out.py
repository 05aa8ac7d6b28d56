"""When messages may be sent as they stand, without a shuffle."""

from __future__ import annotations

import pandas as pd
import pytest

from fink_broker.jobs.fan_out import _in_order


def facts(*rows: tuple[str, int, int, float]) -> pd.DataFrame:
    return pd.DataFrame([("t", *row) for row in rows], columns=["topic", "who", "partition", "offset", "mjd"])


@pytest.mark.parametrize(
    ("rows", "narrow"),
    [
        ([("a", 0, 0, 2.0), ("b", 1, 0, 1.0)], True),  # each object once
        ([("a", 0, 5, 2.0), ("a", 0, 3, 1.0)], True),  # later offset, later time
        ([("a", 0, 3, 2.0), ("a", 0, 5, 1.0)], False),  # a late alert
        ([("a", 0, 3, 1.0), ("a", 1, 0, 2.0)], False),  # in two partitions
        ([("a", 0, 3, 1.0), ("a", 0, 4, 2.0), ("b", 0, 1, 9.0), ("b", 0, 2, 8.0)], False),  # one of them is enough
    ],
)
def test_only_objects_in_one_partition_and_in_order_of_time_are_sent_as_they_stand(rows: list[tuple[str, int, int, float]], narrow: bool) -> None:
    assert _in_order(facts(*rows)) is narrow
