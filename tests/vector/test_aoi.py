from __future__ import annotations

import time
import zipfile
from pathlib import Path

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

from cdengine.errors import AoiError, InputError, NotAVectorError, NotFoundInputError
from cdengine.raster.grid import Grid, Window
from cdengine.vector.aoi import load_aoi

KITE = shapely.Polygon([(400_503, 5_099_501), (402_007, 5_099_803), (402_501, 5_098_304), (401_004, 5_098_505)])


def save(path: Path, *geometries: shapely.Geometry, crs: int | None = 32633, **options) -> Path:
    pyogrio.write_dataframe(geopandas.GeoDataFrame(geometry=list(geometries), crs=crs), path, **options)
    return path


def burnt(geometry: shapely.Geometry, grid: Grid) -> np.ndarray:
    shape = (grid.height, grid.width)
    return rasterio.features.rasterize([geometry], out_shape=shape, transform=grid.transform).astype(bool)


def test_mask_is_gdals_and_its_window_is_tight(tmp_path: Path, utm: Grid) -> None:
    aoi = load_aoi(save(tmp_path / "a.gpkg", KITE))
    expected = burnt(KITE, utm)
    window = aoi.on(utm, utm.window)
    rows, cols = np.nonzero(expected)
    assert window == Window(rows.min(), cols.min(), np.ptp(rows) + 1, np.ptp(cols) + 1)
    assert (aoi.mask(utm, utm.window) == expected).all()
    assert (np.vstack([aoi.mask(utm, part) for part in utm.window.split(7)]) == expected).all()
    assert (aoi.mask(utm, window) == expected[window.slices]).all()
    assert aoi.on(utm, Window(0, 0, 100, 120)) == window.intersect(Window(0, 0, 100, 120))


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb", "a.shp", "a.parquet"])
def test_another_crs_with_long_edges(tmp_path: Path, name: str) -> None:
    """Straight edges in degrees are curves in UTM: 400 m off at the middle of these."""
    grid = Grid(CRS.from_epsg(32633), Affine(100, 0, 300_000, 0, -100, 6_800_000), 3000, 4000)
    box = shapely.box(12.0, 59.5, 17.5, 60.5)
    frame = geopandas.GeoDataFrame(geometry=[box], crs=4326)
    if name.endswith(".parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        save(tmp_path / name, box, crs=4326)
    true = frame.segmentize(0.001).to_crs(32633).geometry.iloc[0]
    aoi = load_aoi(tmp_path / name)
    aoi.on(grid, grid.window)
    wrong = aoi.mask(grid, grid.window) != burnt(true, grid)
    edge = shapely.length(true) / 100
    assert wrong.sum() < 0.1 * edge  # a twentieth of a pixel off at most
    straight = geopandas.GeoSeries([box], crs=4326).to_crs(32633).iloc[0]
    assert (burnt(straight, grid) != burnt(true, grid)).sum() > edge


def test_the_whole_world_covers_every_image(tmp_path: Path, utm: Grid) -> None:
    aoi = load_aoi(save(tmp_path / "a.geojson", shapely.box(-180, -90, 180, 90), crs=4326))
    assert aoi.on(utm, utm.window) == utm.window
    assert aoi.mask(utm, utm.window).all()


def test_both_sides_of_the_antimeridian(tmp_path: Path) -> None:
    aoi = load_aoi(save(tmp_path / "a.geojson", shapely.box(-179, 5, -178, 6), crs=4326))
    degrees = Grid(CRS.from_epsg(4326), Affine(0.01, 0, 170, 0, -0.01, 10), 1000, 2000)
    assert aoi.on(degrees, degrees.window) == Window(400, 1100, 100, 100)
    fiji = Grid(CRS.from_epsg(32660), Affine(1000, 0, 400_000, 0, -1000, 1_000_000), 600, 700)
    assert abs(aoi.on(fiji, fiji.window).pixels - 110 * 111) < 1500


def test_a_bow_tie_is_repaired_and_said(tmp_path: Path, utm: Grid) -> None:
    bow = shapely.Polygon([(400_500, 5_099_500), (402_500, 5_098_500), (402_500, 5_099_500), (400_500, 5_098_500)])
    aoi = load_aoi(save(tmp_path / "a.gpkg", bow))
    assert len(aoi.notes) == 1 and "repaired" in aoi.notes[0]
    assert aoi.on(utm, utm.window) == Window(50, 50, 100, 200)
    assert aoi.mask(utm, utm.window).sum() == pytest.approx(10_000, rel=0.02)


def test_polygons_that_overlap_or_hide_in_collections_count_once(tmp_path: Path, utm: Grid) -> None:
    one, two = shapely.box(400_000, 5_099_000, 401_000, 5_100_000), shapely.box(400_500, 5_099_000, 401_500, 5_100_000)
    nested = shapely.GeometryCollection([shapely.MultiPolygon([two]), shapely.Point(0, 0)])
    aoi = load_aoi(save(tmp_path / "a.gpkg", one, nested))
    assert aoi.mask(utm, utm.window).sum() == 150 * 100


@pytest.mark.parametrize(
    ("name", "geometries", "says"),
    [
        ("empty.gpkg", [], "is empty"),
        ("lines.gpkg", [shapely.LineString([(0, 0), (1, 1)])], "LineString, not polygons"),
        ("flat.gpkg", [shapely.Polygon([(0, 0), (1, 1), (2, 2)])], "encloses no area"),
    ],
)
def test_what_is_no_area_is_refused(tmp_path: Path, name: str, geometries: list, says: str) -> None:
    path = save(tmp_path / name, *geometries, geometry_type=None if geometries else "Polygon")
    with pytest.raises(AoiError, match=says):
        load_aoi(path)


@pytest.mark.parametrize(
    "where",
    [shapely.box(0, 0, 1, 1), shapely.box(400_011, 5_099_981, 400_013, 5_099_983), shapely.box(4e5, 6e6, 5e5, 7e6)],
)
def test_outside_or_between_pixel_centres_is_refused(tmp_path: Path, utm: Grid, where: shapely.Polygon) -> None:
    aoi = load_aoi(save(tmp_path / "a.gpkg", where))
    with pytest.raises(AoiError, match="holds no pixel"):
        aoi.on(utm, utm.window)


def test_on_the_other_side_of_the_earth_is_refused(tmp_path: Path, utm: Grid) -> None:
    aoi = load_aoi(save(tmp_path / "a.geojson", shapely.box(-170, -40, -160, -30), crs=4326))
    with pytest.raises(AoiError, match="holds no pixel"):
        aoi.on(utm, utm.window)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_crs_on_one_side_only_is_refused(tmp_path: Path, utm: Grid, pixels: Grid) -> None:
    with pytest.raises(AoiError, match="no CRS"):
        load_aoi(save(tmp_path / "a.gpkg", KITE, crs=None)).on(utm, utm.window)
    with pytest.raises(AoiError, match="images have no CRS"):
        load_aoi(save(tmp_path / "b.gpkg", KITE)).on(pixels, pixels.window)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.fgb"])
def test_pixel_coordinates_where_neither_has_a_crs(tmp_path: Path, pixels: Grid, name: str) -> None:
    aoi = load_aoi(save(tmp_path / name, shapely.box(5, 7, 15, 27), crs=None))
    assert aoi.on(pixels, pixels.window) == Window(7, 5, 20, 10)


def test_layers_by_name(tmp_path: Path, utm: Grid) -> None:
    path = save(tmp_path / "a.gpkg", KITE, layer="one")
    save(path, shapely.box(400_000, 5_099_900, 400_100, 5_100_000), layer="two", append=True)
    with pytest.raises(AoiError, match=r"layers one, two.*a\.gpkg\|layername=one"):
        load_aoi(path)
    for aoi in (load_aoi(f"{path}|layername=two"), load_aoi(path, layer="two"), load_aoi(f"{path}|layername=two|x=1")):
        assert aoi.on(utm, utm.window) == Window(0, 0, 10, 10)
    with pytest.raises(AoiError, match="no layer 'three'"):
        load_aoi(f"{path}|layername=three")


def test_files_that_are_no_vectors(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("print()")
    (tmp_path / "a.parquet").write_text("print()")
    (tmp_path / "a.vrt").write_text("<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>")
    with pytest.raises(NotFoundInputError):
        load_aoi(tmp_path / "none.gpkg")
    for name in ("a.py", "a.parquet", "a.vrt", "."):
        with pytest.raises(NotAVectorError):
            load_aoi(tmp_path / name)
    for path in ("<OGRVRTDataSource/>", "", "/vsicurl/http://localhost/a.gpkg", "https://localhost/a.geojson"):
        with pytest.raises(InputError):
            load_aoi(path)


def test_a_million_vertices(tmp_path: Path) -> None:
    grid = Grid(CRS.from_epsg(32633), Affine(10, 0, 400_000, 0, -10, 5_100_000), 2000, 3000)
    angle = np.linspace(0, 2 * np.pi, 1_000_001)[:-1]
    radius = 8000 * (1 + 0.2 * np.sin(5000 * angle))
    star = shapely.Polygon(np.column_stack([415_000 + radius * np.cos(angle), 5_090_000 + radius * np.sin(angle)]))
    path = save(tmp_path / "a.gpkg", star)
    began = time.perf_counter()
    aoi = load_aoi(path)
    aoi.on(grid, grid.window)
    for part in grid.window.split(16):
        aoi.mask(grid, part)
    assert time.perf_counter() - began < 30
    assert aoi.mask(grid, grid.window).sum() * 100 == pytest.approx(star.area, rel=1e-3)


def test_inside_an_archive(tmp_path: Path, utm: Grid) -> None:
    file = save(tmp_path / "aoi.geojson", shapely.box(*utm.bounds), crs=4326 if utm.crs is None else 32633)
    with zipfile.ZipFile(tmp_path / "aoi.zip", "w") as archive:
        archive.write(file, "aoi.geojson")
    assert load_aoi(f"/vsizip/{tmp_path}/aoi.zip/aoi.geojson").on(utm, utm.window) == utm.window


def test_a_name_longer_than_names_can_be(tmp_path: Path) -> None:
    with pytest.raises(NotFoundInputError, match="check the path"):
        load_aoi(tmp_path / ("x" * 300 + ".gpkg"))
