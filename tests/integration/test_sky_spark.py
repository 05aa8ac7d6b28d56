"""What sky.py writes as Spark SQL gives in the JVM what it gives in numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from fink_broker import sky
from tests.test_sky import points

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NUMBER = 100_000


def computed(spark: SparkSession, frame: pd.DataFrame, **columns: str) -> pd.DataFrame:
    """The frame with these Spark SQL expressions as more columns."""
    return spark.createDataFrame(frame).selectExpr("*", *(f"{text} {name}" for name, text in columns.items())).toPandas()


@pytest.mark.integration
def test_pixels_of_the_jvm_are_cdshealpixs(spark: SparkSession) -> None:
    ra, dec = points(NUMBER, 17)
    found = computed(spark, pd.DataFrame({"ra": ra, "dec": dec}), pixel=sky.healpix_sql("ra", "dec"))
    other = found["pixel"].to_numpy() != sky.healpix(found["ra"], found["dec"])
    assert other.sum() <= 5  # rounding, within 1e-14 rad of a border
    nearby = found[other]
    for ra1, dec1, pixel in zip(nearby["ra"], nearby["dec"], nearby["pixel"], strict=True):
        ring = [sky.healpix(ra1 + a * 1e-9, dec1 + b * 1e-9)[0] for a in (-1, 0, 1) for b in (-1, 0, 1)]
        assert pixel in ring


@pytest.mark.integration
def test_latitudes_of_the_jvm_are_numpys(spark: SparkSession) -> None:
    ra, dec = points(2000, 18)
    found = computed(
        spark, pd.DataFrame({"ra": ra, "dec": dec}), galactic=sky.galactic_latitude_sql("ra", "dec"), ecliptic=sky.ecliptic_latitude_sql("ra", "dec")
    )
    assert np.allclose(found["galactic"], sky.galactic_latitude(ra, dec), atol=1e-5)  # an arc sine at the poles
    assert np.allclose(found["ecliptic"], sky.ecliptic_latitude(ra, dec), atol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("longitude", [-116.863, -70.749, 0.0, 149.06])
def test_times_of_the_jvm_are_numpys(spark: SparkSession, longitude: float) -> None:
    jd = np.concatenate(
        [np.random.default_rng(19).uniform(2447893, 2488000, 5000), [2400000.5 + mjd for mjd, _ in sky.LEAP_SECONDS], [2457754.4999, 2457754.5]]
    )
    tai = sky.mjd_tai(jd)
    found = computed(spark, pd.DataFrame({"jd": jd, "tai": tai}), mjd=sky.mjd_tai_sql("jd"), night=sky.night_sql("tai", longitude))
    assert np.allclose(found["mjd"], tai, rtol=0, atol=1e-9)
    assert np.array_equal(found["night"], sky.night(tai, longitude))
