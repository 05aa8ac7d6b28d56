"""Plots of completeness and purity, one picture a module and one of the filters."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fink_broker.errors import ConfigError

TITLES = {"mag": "magnitude", "days": "days since the first detection", "density": "catalogued sources an arcmin²"}
COLOURS = 64  # of a picture
PANELS = (("completeness", "completeness"), ("purity_even", "purity, all labels alike"), ("purity_night", "purity in the night"))


def plots(found: pd.DataFrame, folder: Path) -> list[Path]:
    """Write a PNG for each module and for the filters; ConfigError when matplotlib is not on the machine."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("plots need matplotlib, which is not installed; pip install 'fink-broker[plots]', or give --no-plots") from error
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    return [_picture(str(of), rows, folder / f"{of}.png") for of, rows in found.groupby("of", sort=False)]


def _picture(of: str, rows: pd.DataFrame, file: Path) -> Path:
    import matplotlib.pyplot as plt
    from PIL import Image  # which comes with matplotlib

    names = list(dict.fromkeys(rows["name"]))
    meant = [name for name in names if rows.loc[rows["name"] == name, "completeness"].notna().any()]
    height = 0.3 * len(meant) + 1.1
    panels = [(column, title) for column, title in PANELS if rows[column].notna().any()]
    kinds = list(dict.fromkeys(rows.loc[rows["by"] == "type", "bin"]))
    tall = [height] * len(panels) + [0.3 * len(names) + 1.7]
    figure = plt.figure(figsize=(17, sum(tall) + 0.6), layout="constrained")
    grid = figure.add_gridspec(len(tall), 3, height_ratios=tall)
    for line, (column, title) in enumerate(panels):
        for place, (by, about) in enumerate(TITLES.items()):
            axis = figure.add_subplot(grid[line, place])
            _map(axis, rows[rows["by"] == by], meant, list(dict.fromkeys(rows.loc[rows["by"] == by, "bin"])), column)
            axis.set_title(f"{title} by {about}", fontsize=9)
    axis = figure.add_subplot(grid[-1, :])
    _map(axis, rows[rows["by"] == "type"], names, kinds, "share_chosen")
    axis.set_title("share of each type that is chosen", fontsize=9)
    figure.suptitle("filters" if of == "filter" else of, fontsize=12)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)  # a third of the size
    return file


def _map(axis: Any, rows: pd.DataFrame, names: list[str], bins: list[str], column: str) -> None:
    """Shares as colours and as percent; empty where there is nothing to divide by."""
    values = rows.pivot_table(index="name", columns="bin", values=column, aggfunc="first", dropna=False, sort=False)
    table = values.reindex(index=names, columns=bins).to_numpy(float)
    axis.imshow(np.ma.masked_invalid(table), vmin=0, vmax=1, cmap="viridis", aspect="auto")
    for (row, place), value in np.ndenumerate(table):
        if np.isfinite(value):
            axis.text(place, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7, color="white" if value < 0.6 else "black")
    axis.set_xticks(range(len(bins)), [name.replace("_", " ") for name in bins], fontsize=7, rotation=45 if len(bins) > 12 else 20, ha="right")
    axis.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=7)
