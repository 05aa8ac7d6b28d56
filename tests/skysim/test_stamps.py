"""Cutouts of the simulated sky: light is kept, signs are the surveys' own, templates are sharper, artefacts stand where the alert says."""

import numpy as np
import pytest

from fink_broker.skysim.blemishes import ANYWHERE, ON_STARS, blemish
from fink_broker.skysim.observatory import LSST, ZTF
from fink_broker.skysim.profiles import INDEX_COADDED, galaxy, grid, index_lsst, psf, resampled
from fink_broker.skysim.stamps import Scene, Source, stamps

STAR = Source(0.0, 0.0, 3e6)


def seen(scene: Scene, flux: float, seed: int = 1, site: object = ZTF) -> list[np.ndarray]:
    depth, seeing = (20.5, 2.0) if site is ZTF else (23.7, 1.0)
    return stamps(scene, site, 1, flux, depth, seeing, np.random.default_rng(seed))[0]


def middle(image: np.ndarray, half: int = 3) -> np.ndarray:
    at = len(image) // 2
    return image[at - half : at + half + 1, at - half : at + half + 1]


def width(image: np.ndarray) -> float:
    inner = middle(image, 6) - np.median(image)
    return 2 * np.sqrt((inner > inner.max() / 2).sum() / np.pi)


def test_a_point_source_has_unit_light_and_its_width() -> None:
    for x, y, stretch in ((0, 0, (0, 0)), (3.3, -2.2, (0, 0)), (0.2, 0.3, (0.1, 0.1))):
        image = psf(201, 3.0, x, y, stretch)
        assert image.sum() == pytest.approx(1, abs=0.03)
    assert (psf(201, 29.0) > psf(201, 29.0).max() / 2).sum() == pytest.approx(np.pi * 14.5**2, rel=0.02)


@pytest.mark.parametrize("radius", [0.2, 3.0, 6.5, 12.0])
def test_a_galaxy_is_no_narrower_than_the_seeing_and_keeps_its_light(radius: float) -> None:
    axis = grid(401)
    whole = galaxy(axis[None, :], axis[:, None], 8.0, *np.array([2.0, radius, 0.6, 0.4], np.float32))
    assert whole.sum() == pytest.approx(2, rel=0.03)
    alone, flat = 2 * np.log(2) * radius / 1.68, 0.6
    expected = np.sqrt(np.hypot(8.0, alone) * np.hypot(8.0, flat * alone))  # widths of disc and seeing, added in squares
    assert 2 * np.sqrt((whole > whole.max() / 2).sum() / np.pi) == pytest.approx(expected, rel=0.05)


def alike(noise: np.ndarray, rows: int, columns: int) -> float:
    size = len(noise)
    return float(np.corrcoef(noise[rows:, columns:].ravel(), noise[: size - rows, : size - columns].ravel())[0, 1])


def test_resampled_noise_is_alike_in_neighbours_and_as_high_as_before() -> None:
    noise = resampled(np.random.default_rng(3).standard_normal((1000, 1000), dtype=np.float32), 0.11, -0.055)
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert [alike(noise, 0, 1), alike(noise, 1, 0), alike(noise, 1, 1)] == pytest.approx([0.20, 0.20, 0.04], abs=0.01)  # real templates: 0.20, 0.22, 0.07
    assert alike(noise, 0, 2) == pytest.approx(-0.095, abs=0.01)  # -0.09


def test_noise_of_a_difference_is_that_of_the_sharper_image() -> None:
    found = {}
    for name, template_fwhm in (("sharper template", 1.2), ("sharper exposure", 6.0)):
        images = [seen(Scene(63, template_fwhm=template_fwhm), 1.0, seed) for seed in range(20)]
        found[name] = np.mean([[alike(image, rows, columns) for rows, columns in ((0, 1), (1, 0), (0, 2))] for _, _, image in images], axis=0)
        rows = np.mean([alike(science, 0, 1) for science, _, _ in images])
        assert rows == pytest.approx(-0.07, abs=0.03)  # the electronics overshoot
    assert found["sharper template"] == pytest.approx([-0.07, 0, 0], abs=0.03)
    assert found["sharper exposure"] == pytest.approx([0.06, 0.14, -0.1], abs=0.03)


@pytest.mark.parametrize(("flux", "site", "up"), [(2e5, ZTF, True), (-2e5, ZTF, True), (2e4, LSST, True), (-2e4, LSST, False)])
def test_a_negative_difference_of_ztf_is_turned_over_and_one_of_lsst_is_not(flux: float, site: object, up: bool) -> None:
    science, template, difference = seen(Scene(63, (STAR,)), flux, site=site)
    inner = middle(difference)
    assert (inner.max() > -inner.min()) == up
    assert np.abs(inner).max() > 10 * np.median(np.abs(difference))
    if site is ZTF:  # of equal widths, brighter stars are higher
        assert np.sign(middle(science, 8).sum() - middle(template, 8).sum()) == np.sign(flux)


def test_the_template_has_its_own_width() -> None:
    science, template, _ = seen(Scene(63, (STAR,), template_fwhm=4.6), 1e4)
    assert width(template) > width(science)
    science, template, _ = seen(Scene(63, (STAR,)), 1e4)
    assert width(template) == pytest.approx(width(science), rel=0.15)


def test_a_bright_star_leaves_a_little_when_it_is_subtracted() -> None:
    left = []
    for seed in range(30):
        science, _, difference = seen(Scene(63, (Source(10.0, 10.0, 3e7),)), 1e4, seed)
        left.append(np.abs(difference[36:47, 36:47]).max() / (science.max() - np.median(science)))
    assert 0.005 < np.median(left) < 0.1


def test_parts_without_data_are_so_in_all_three() -> None:
    for image in seen(Scene(63, (STAR,), blank=((0, 5, 0, 63), (50, 70, 10, 20))), 1e5):
        assert np.isnan(image[:5]).all()
        assert np.isnan(image[50:, 10:20]).all()
        assert np.isfinite(image[5:50]).all()


@pytest.mark.parametrize("kind", [*ANYWHERE, *ON_STARS])
@pytest.mark.parametrize("flux", [5e4, -5e4])
def test_an_artefact_stands_out_where_the_alert_is(kind: str, flux: float) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        image = blemish(kind, 63, flux, 2.4, 0.2, -0.3, 1.1, rng)
        assert np.isfinite(image).all()
        assert (middle(image, 5) * np.sign(flux)).max() > 0.02 * abs(flux) / 2.4**2
        _, _, difference = seen(Scene(63, (STAR,) if kind in ON_STARS else (), artefact=kind), flux, seed)
        assert middle(difference, 6).max() > 3.5 * 1.48 * np.median(np.abs(difference - np.median(difference)))


def test_shares_of_artefacts_are_whole() -> None:
    assert sum(ANYWHERE.values()) == pytest.approx(1)
    assert sum(ON_STARS.values()) == pytest.approx(1)


def test_behind_clouds_the_star_is_faint_and_the_template_is_not() -> None:
    science, template, _ = seen(Scene(63, (STAR,), artefact="faded"), 2e4)
    assert middle(science, 8).sum() - 289 * np.median(science) < 0.5 * (middle(template, 8).sum() - 289 * np.median(template))


def test_stars_of_lsst_fall_off_as_in_real_alerts_slower_in_templates() -> None:
    def at(fwhm: float, distance: int, index: float) -> float:
        image = psf(201, fwhm, index=index)
        assert image.sum() == pytest.approx(1, rel=0.01)
        return float(image[100, 100 + distance] / image[100, 100])

    # medians of 41 templates, and of point-spread functions of visits that are about as wide
    assert at(4.4, 8, INDEX_COADDED) == pytest.approx(0.0122, rel=0.2)
    assert at(4.0, 4, index_lsst(4.0)) == pytest.approx(0.100, rel=0.2)
    assert at(6.0, 6, index_lsst(6.0)) == pytest.approx(0.077, rel=0.2)
    assert at(8.0, 8, index_lsst(8.0)) < 0.12


def test_the_sky_is_taken_off_lsst_cutouts() -> None:
    found = []
    for seed in range(20):
        images, variances, _ = stamps(Scene(41, steep=True, template_fwhm=4.4), LSST, 1, 0.0, 23.9, 1.2, np.random.default_rng(seed))
        found.append([np.median(image) / np.median(variances[0]) ** 0.5 for image in images])
    assert np.abs(np.median(found, axis=0)).max() < 0.05  # 0.00 to 0.05 in three sets of real alerts
    assert np.std(found, axis=0).max() < 0.1
