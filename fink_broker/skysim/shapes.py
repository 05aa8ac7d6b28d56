"""Numbers that ZTF's pipeline measures on the image of a detection, with their spreads and their ties to one another as real alerts have them."""

from __future__ import annotations

from math import exp, log
from typing import Any

BELLS = 10  # independent normal numbers that one detection needs


def shapes(
    mag: float, mag_err: float, above_limit: float, significance: float, narrow: bool, seeing_arcsec: float, good: bool, trail_pixels: float, bell: list[float]
) -> dict[str, Any]:
    """Widths, elongation, aperture photometry and pixel counts of a detection; medians and slopes fitted by eye to 531 alerts of January 2024.

    `above_limit`: how much brighter than the limit [mag]; `narrow`: a spike of a pixel or two, as the subtraction of a star often leaves.
    """
    worse = (mag_err - 0.115) / 0.05
    snr = 1.0857 / mag_err
    stronger = (log(max(snr, 1.0)) - 2.3) / 0.6
    fwhm = 1.26 * seeing_arcsec * exp(0.08 * stronger + (0.26 if bell[0] > 0 else 0.1) * bell[0] + (0.0 if good else 0.3 * bell[8]))
    fwhm = 1.4 * exp(0.06 * bell[0]) if narrow else min(max(fwhm, 1.2 + 0.1 * abs(bell[1])), 7.0)
    points = 0.45 * (mag - 18.6) + 0.4 * worse + (1.7 if bell[4] > 1.2 else 0.0)
    negative = max(0, round(3 + 1.1 * worse - 0.9 * (log(fwhm) - 0.75) / 0.4 + 1.5 * bell[1] + (0.0 if good else 2.0)))
    elongated = 0.01 + 0.095 * exp(0.22 * worse + 0.65 * bell[2] - 0.1) * (1.4 if narrow else 1.0 if good else 1.3) + 0.1 * min(trail_pixels, 10.0)
    aperture = (0.09 if narrow else 0.01) + (0.1 + 0.05 * abs(worse)) * bell[3] * (1.0 if good else 1.5) + (0.12 * abs(bell[9]) if bell[7] > 0.3 else 0.0)
    return {
        "fwhm": fwhm, "seeratio": min(2.0, 1.16 * (2.3 / fwhm) ** (0.95 if fwhm > 2 else 1.8) * exp(0.08 * bell[4])), "nneg": min(negative, 13),
        "sumrat": max(1 - 0.031 * (max(negative - 3, 0) / 2) ** 1.9 * exp(0.3 * bell[5]), 0.3), "elong": 1 + elongated, "aimage": fwhm / 3.1,
        "bimage": fwhm / 3.1 / (1 + elongated), "aimagerat": 0.32 * exp(0.2 * bell[6]), "bimagerat": 0.3 * exp(0.2 * bell[6] - elongated),
        "magdiff": aperture, "magap": mag + aperture, "magapbig": mag + aperture - 0.03, "sigmagap": mag_err * 1.1, "sigmagapbig": mag_err * 1.45,
        "chipsf": 0.6 + exp(min(1.1 * above_limit - 0.8 + 0.4 * bell[7], 7.0)),
        "classtar": max(1 - 0.021 * exp(1.0 * bell[9] + points), 0.02),
        "scorr": max(significance * exp(0.2 * bell[8] - (0.3 if narrow else 0.0)), 5.0 + 0.3 * abs(bell[6])),
        "sky": 0.42 * bell[4] * exp(0.75 * bell[2]), "chinr": exp(0.35 * bell[6] - 0.2), "sharpnr": 0.03 * bell[8],
    }  # fmt: skip
