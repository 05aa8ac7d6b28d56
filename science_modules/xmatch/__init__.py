"""Cross-match against local catalogues: every catalogue imported by `fink catalog import`, and a small one of our own."""

from pathlib import Path

import numpy as np
import pandas as pd

from fink_broker import sky
from fink_broker.catalog import Catalog, open_catalogs
from fink_broker.science import ScienceModule

OWN = Path(__file__).parent / "bright.csv"
OWN_ARCSEC = 3.0


class CrossMatch(ScienceModule):
    """The nearest catalogue entry within each catalogue's own radius.

    `catalog`, `name` and `class` are of the nearest entry of all, `distance_arcsec` its separation; `matches` has one text
    CATALOG:CLASS:NAME:ARCSEC for each catalogue that has an entry near; there a colon in a class is written as ?, as in EA?.
    """

    name = "xmatch"
    version = "1.0"
    inputs = ("ra", "dec")
    outputs = {"catalog": "string", "name": "string", "class": "string", "distance_arcsec": "double", "matches": "array<string>"}
    model_files = ("bright.csv",)
    folder: str = ""  # of imported catalogues; the job gives [science] catalogs
    catalogs: list[str] = []  # names; none: all in the folder
    bright: bool = True  # match the built-in list of bright galaxies and variables too

    def setup(self) -> None:
        """Open the catalogues; their entries are read when the sky near them is asked for."""
        self._catalogs = self._imported()
        if self.bright:
            self._catalogs.append(Catalog.from_csv(OWN, "bright", OWN_ARCSEC))

    def process(self, alerts: pd.DataFrame) -> pd.DataFrame:
        """All positions against one catalogue after the other."""
        ra, dec = alerts["ra"].to_numpy(float), alerts["dec"].to_numpy(float)
        out = {field: np.full(len(alerts), None, object) for field in self.outputs}
        best = np.full(len(alerts), np.inf)
        matches: list[list[str]] = [[] for _ in range(len(alerts))]
        pixel = sky.healpix(np.nan_to_num(ra), np.clip(np.nan_to_num(dec), -90, 90)) if len(alerts) else None
        for catalog in self._catalogs:
            rows, entries, distance = catalog.nearest(ra, dec, pixel)
            names, classes = catalog.names(entries), catalog.classes(entries)
            for row, name, kind, apart in zip(rows, names, classes, distance, strict=True):
                matches[row].append(f"{catalog.name}:{(kind or '').replace(':', '?')}:{name or ''}:{apart:.2f}")
                if apart < best[row]:
                    best[row] = apart
                    out["catalog"][row], out["name"][row], out["class"][row] = catalog.name, name, kind
        out["distance_arcsec"] = np.where(np.isfinite(best), best, np.nan)
        out["matches"] = pd.Series(matches, index=alerts.index, dtype=object)
        return pd.DataFrame(out, index=alerts.index)

    def provenance(self) -> str:
        """The content of the catalogues counts, not where they lie."""
        used = {catalog.name: [catalog.radius_arcsec, catalog.about.get("sha256")] for catalog in self._imported()}
        return self.marked({"catalogs": used, "bright": self.bright})

    def _imported(self) -> list[Catalog]:
        return open_catalogs(Path(self.folder), self.catalogs) if self.folder else []
