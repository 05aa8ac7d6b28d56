"""The simulated sky: populations from the literature, observed as ZTF and LSST would, with the truth beside every alert."""

from fink_broker.skysim.kind import LABELS
from fink_broker.skysim.lightcurves import block_rows, blocks, light_curves
from fink_broker.skysim.observation import BLOCK, Observed, Sky
from fink_broker.skysim.population import KINDS, shares

__all__ = ["BLOCK", "KINDS", "LABELS", "Observed", "Sky", "block_rows", "blocks", "light_curves", "shares"]
