"""`fink replay`: what is asked, and how it is told; what it does is in integration/test_rerun.py."""

from __future__ import annotations

import pytest

from fink_broker.cli import replay
from fink_broker.errors import ConfigError
from fink_broker.jobs.rerun import Result, Span


def test_a_span_is_a_night_or_times() -> None:
    held = [20260307, 20260308, 20260309, 20260310]
    assert Span(night=20260308).nights(held, -116.863) == [20260308]
    assert Span(night=20260301).nights(held, -116.863) == []
    start, end = replay._mjd("--from", "2026-03-09"), replay._mjd("--to", "2026-03-10 12:00:00")
    assert start is not None
    assert end is not None
    assert end - start == pytest.approx(1.5)
    assert Span(start=start, end=end).nights(held, -116.863) == [20260308, 20260309]
    assert Span(start=start).nights(held, -116.863) == [20260308, 20260309, 20260310]
    with pytest.raises(ConfigError, match="give either a night or times: --night YYYY-MM-DD, or --from T --to T"):
        Span()
    with pytest.raises(ConfigError, match="give either"):
        Span(night=20260308, start=start)
    with pytest.raises(ConfigError, match="expected the earlier one first"):
        Span(start=end, end=start)


def test_words_that_are_no_times() -> None:
    with pytest.raises(ConfigError, match="night is '9 March'; expected YYYY-MM-DD or YYYYMMDD"):
        replay._night("9 March")
    with pytest.raises(ConfigError, match="--from is 'noon'; expected YYYY-MM-DD or YYYY-MM-DD hh:mm:ss, UTC"):
        replay._mjd("--from", "noon")
    assert replay._night("2026-03-09") == 20260309


def test_a_result_in_words() -> None:
    result = Result("id", "ztf", "/lake/replay/id", [20260309], 10, 9, 8, 1, {"features": 0, "purity": 3, "new": None}, {"fink_pure_ztf_replay": 2})
    text = replay.told(result)
    for said in (
        "9 of 10 alerts of 1 nights",
        "8 compared with the live results, which have 1 more",
        "3 differ",
        "not in the live results",
        "2 messages to fink_pure_ztf_replay",
    ):
        assert said in text
    assert "features                 equal" in text
