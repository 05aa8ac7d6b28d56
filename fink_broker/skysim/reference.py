"""What either survey tells of its template at the place of a thing."""

from __future__ import annotations

import numpy as np

from fink_broker.skysim.cosmos import Floats
from fink_broker.skysim.observatory import nanojansky

PIXEL_ARCSEC = 1.01  # of ZTF
REACH_ARCSEC = 2.5  # within it the source of ZTF's reference image is the catalogued one, which the thing lies on


def measured(under: Floats | float, dark: Floats | float, bell: Floats | float) -> Floats:
    """LSST's flux in the template [nJy]: the light under the thing, with a part of the noise in the dark; `bell`: normal numbers."""
    found: Floats = np.asarray(under + dark * (0.15 * bell - 0.1))
    return found


def pixels(apart: Floats | float, bell: Floats | float) -> Floats:
    """Distance of the source of ZTF's reference image [pixels] from that of the catalogued one [arcsec]."""
    found: Floats = apart / PIXEL_ARCSEC * np.exp(0.15 * np.asarray(bell))
    return found


def nearest(under: Floats | float, apart: Floats | float, near_mag: Floats | float) -> Floats:
    """Flux of the source of ZTF's reference image [nJy]: the light under the thing, or another source, of a magnitude in the catalogue."""
    return np.where(np.greater(under, 0) & np.less(apart, REACH_ARCSEC), under, nanojansky(near_mag + 0.5))
