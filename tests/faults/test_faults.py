"""The fault matrix: each bad input ends with one clear line, the right slug and exit code, and nothing lost.

Rows are those of the design's matrix; "clean" means no output under its final name, old output intact, no
temporaries. Fault cases run in this process, through the same functions as the command line.
"""

import fault_makers as makers
import numpy as np
import pytest
import rasterio
from fault_runs import change, detect, fails, warned
from pairs import make_pair, write_raster
from rasterio.transform import from_origin

OPENING = {
    "1 missing": (makers.missing, "not-found", "gone.tif"),
    "2 folder": (makers.a_folder, "not-a-raster", "dir.tif"),
    "3 zero bytes": (makers.zero_bytes, "not-a-raster", "empty.tif"),
    "3 text": (makers.text, "not-a-raster", "text.tif"),
    "4 truncated": (makers.truncated, "corrupt", "truncated"),
    "5 ten bytes short": (makers.ten_bytes_short, "corrupt", "short.tif"),
    "7 sidecar": (makers.altered_behind_its_checksum, "checksum", "sha256"),
    "9 no driver": (makers.no_driver, "driver", "ECW"),
    "10 subdatasets": (makers.subdatasets, "subdatasets", "two"),
    "12 inline VRT": (makers.inline_vrt, "path", ""),
    "13 VRT source missing": (makers.vrt_without_source, "vrt-source", "not_there.tif"),
    "14 VRT raw band": (makers.vrt_raw_band, "vrt-unsafe", "v.vrt"),
    "14 VRT Python": (makers.vrt_python, "vrt-unsafe", "v.vrt"),
    "15 VRT of itself": (makers.vrt_of_itself, "vrt-unsafe", "v.vrt"),
    "15 VRT nested": (makers.vrt_nested, "vrt-unsafe", ""),
    "15 VRT entities": (makers.vrt_entities, "vrt-unsafe", "bomb.vrt"),
    "16 VRT remote": (makers.vrt_remote, "remote", "--allow-remote"),
    "17 huge": (makers.vrt_huge, "too-large", "v.vrt"),
    "17 many bands": (makers.many_bands, "too-large", "v.vrt"),
    "19 damaged zip": (makers.damaged_zip, "corrupt", "a.zip"),
}
GEOREFERENCING = {
    "22 one CRS": (makers.crs_left_out, "no-crs", "--assume-crs"),
    "22 one place": (makers.no_crs, "no-crs", "-a_ullr"),
    "24 no overlap": (makers.elsewhere, "no-overlap", "km"),
    "28 resolution": (makers.much_coarser, "resolution", "--allow-coarse"),
    "30 singular": (makers.singular, "transform", "sing.tif"),
    "30 NaN": (makers.nan_transform, "transform", "nan.tif"),
    "32 RPC only": (makers.ground_control_only_rpc, "rpc", "rpc.tif"),
    "39 complex": (makers.complex_pixels, "dtype", "complex.tif"),
    "39 palette": (makers.palette, "dtype", "palette.tif"),
    "40 bands": (makers.two_bands, "bands", "2"),
}


@pytest.mark.parametrize("case", [*OPENING, *GEOREFERENCING])
def test_input_that_cannot_be_used(folder, case):
    maker, slug, says = (OPENING | GEOREFERENCING)[case]
    assert fails(folder, slug, 3, None, maker(folder), says=says) < 5


def test_row_6_one_bad_block(folder):
    path = makers.bad_block(folder)
    fails(folder, "corrupt-block", 3, path, path, says=["block.tif", "row"])


def test_row_6_bad_block_as_nodata(folder):
    path = makers.bad_block(folder)
    good = path.with_name("good.tif")
    for other in (None, "moved"):  # read as it lies, and resampled
        if other:
            write_raster(good, makers.pixels(folder, "good.tif"), transform=from_origin(499_997, 5_300_004, 10, 10))
        arguments = ("--on-corrupt", "nodata", "--overwrite", "--report", folder / "out" / "r.html")
        result, events = detect(folder, good, path, *arguments)
        assert warned(events, "block.tif", "1 block(s)", "rows 256-383, columns 256-383")
        assert result.stats["corrupt_blocks"] == 1
        hole = change(folder) == 255
        assert hole[260:380, 260:380].all()
        assert hole[5:250].sum() == hole[:, 5:250][5:-5].sum() == hole[390:-5].sum() == 0


@pytest.mark.skipif(makers.running_as_root(), reason="root may read every file")
def test_row_8_no_permission(folder):
    (folder / "before.tif").chmod(0)
    fails(folder, "permission", 3, says="permission")


def test_row_27_strict(folder):
    fails(folder, "grid-mismatch", 3, None, makers.half_a_pixel(folder), "--align", "strict", says="0.5")


def test_row_21_no_crs_at_all(folder):
    plain = makers.no_crs(folder)
    result, events = detect(folder, plain, plain)
    assert result.stats["changed_area_m2"] is None
    assert any(event.get("level") == "warning" and "pixel" in event["message"] for event in events)


def test_rows_25_and_26_partial_overlap(folder):
    from rasterio.transform import from_origin

    part = write_raster(folder / "part.tif", makers.pixels(folder), transform=from_origin(500_800, 5_299_500, 10, 10))
    result, _ = detect(folder, None, part)
    with rasterio.open(folder / "out" / "c.tif") as file:
        change = file.read(1)
    assert change.shape == makers.SIZE
    assert (change[:50] == 255).all() and (change[:, :80] == 255).all() and (change[50:, 80:] != 255).all()
    assert result.stats["compared_px"] == 78 * 80


@pytest.mark.parametrize("model", ["cva", "irmad", "pca-kmeans", "sfa", "log-ratio"])
def test_row_37_values_that_are_not_finite(folder, model):
    odd = makers.nan_and_inf(folder)
    result, _ = detect(folder, None, odd, "--probability", folder / "out" / "p.tif", model=model)
    with rasterio.open(folder / "out" / "c.tif") as file:
        change = file.read(1)
    assert change[5, 5] == change[6, 6] == change[7, 7] == 255 and change[20, 20] != 255
    with rasterio.open(folder / "out" / "p.tif") as file:
        probability = file.read(1)
    assert np.isfinite(probability[change != 255]).all()
    assert result.stats["compared_px"] == change.size - 3


@pytest.mark.parametrize("model", ["cva", "irmad", "pca-kmeans", "sfa", "log-ratio"])
def test_row_38_constant_image(folder, model):
    constant = makers.constant(folder)
    detect(folder, constant, constant, model=model)
    with rasterio.open(folder / "out" / "c.tif") as file:
        assert (file.read(1) == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (7, 5), (127, 129)])
@pytest.mark.parametrize("model", ["cva", "irmad", "pca-kmeans", "sfa", "log-ratio"])
def test_row_43_any_size(tmp_path, shape, model):
    before, after, _ = make_pair(tmp_path, size=shape, change=None)
    (tmp_path / "out").mkdir()
    detect(tmp_path, before, after, model=model)
    with rasterio.open(tmp_path / "out" / "c.tif") as file:
        assert file.shape == shape and (file.read(1) != 255).all()


def test_row_35_nodata_outside_the_type(folder):
    """GDAL refuses to write it, other programs do not: the tag is edited in the file."""
    path = folder / "nd.tif"
    write_raster(path, makers.pixels(folder), nodata=111)
    path.write_bytes(path.read_bytes().replace(b"111\0", b"-99\0"))
    detect(folder, None, path)


MODELS = {
    "47 pickle": (makers.pickle_file, "not-safetensors"),
    "47 pickle in disguise": (makers.pickle_in_disguise, "not-safetensors"),
    "48 truncated": (makers.model_truncated, "model-corrupt"),
    "48 header of 90 MB": (makers.model_header_of_90_mb, "model-corrupt"),
    "48 overlapping": (makers.model_overlapping, "model-corrupt"),
    "48 duplicate keys": (makers.model_duplicate_keys, "model-corrupt"),
    "49 no card": (makers.model_without_card, "model-metadata"),
    "49 newer schema": (makers.model_newer_schema, "model-metadata"),
    "49 deep JSON": (makers.model_deep_json, "model-metadata"),
}


@pytest.mark.parametrize("case", MODELS)
def test_model_that_cannot_be_used(folder, case):
    maker, slug = MODELS[case]
    path = maker(folder)
    fails(folder, slug, 4, model=str(path), says=path.name)


def test_row_4_unknown_model(folder):
    fails(folder, "model-unknown", 4, model="irmda", says="irmad")


def test_row_52_classes_of_a_binary_method(folder):
    fails(folder, "model-task", 4, None, None, "--transitions", folder / "out" / "t.tif")


def test_row_55_absent_device(folder):
    fails(folder, "device", 2, None, None, "--device", "cuda:63", says="cuda:63")
    fails(folder, "device", 2, None, None, "--device", "abacus", says="abacus")


def test_row_60_output_folder(folder):
    (folder / "file").touch()
    for target in (folder / "none" / "p.tif", folder / "file" / "p.tif"):
        fails(folder, "output-folder", 6, None, None, "--probability", target)


def test_row_61_output_exists(folder):
    fails(folder, "exists", 2, None, None, "--probability", folder / "out" / "old.tif", says="--overwrite")


def test_row_62_output_is_an_input(folder):
    before = folder / "before.tif"
    content = before.read_bytes()
    (folder / "link.tif").symlink_to(before)
    (folder / "hard.tif").hardlink_to(before)
    for target in (before, folder / "link.tif", folder / "hard.tif"):
        fails(folder, "output-is-input", 2, None, None, "--probability", target, "--overwrite")
    mosaic = makers.vrt(folder, makers.simple_source("before.tif"))
    fails(folder, "output-is-input", 2, mosaic, mosaic, "--probability", before, "--overwrite")
    assert before.read_bytes() == content


def test_row_63_one_name_twice(folder):
    twice = folder / "out" / "p.tif"
    fails(folder, "usage", 2, None, None, "--probability", twice, "--transitions", twice)
    fails(folder, "usage", 2, None, None, "--polygons", folder / "out" / "c.docx", says="c.docx")


AOIS = {
    "outside": (makers.aoi_outside, ""),
    "lines": (makers.aoi_lines, "polygon"),
    "empty": (makers.aoi_empty, "aoi.gpkg"),
    "without CRS": (makers.aoi_without_crs, "aoi.shp"),
}


@pytest.mark.parametrize("case", AOIS)
def test_row_74_aoi(folder, case):
    maker, says = AOIS[case]
    fails(folder, "aoi", 3, None, None, "--aoi", maker(folder), says=says)


def test_row_74_a_folder(folder, monkeypatch):
    fails(folder, "not-a-vector", 3, None, None, "--aoi", folder, says="is a folder")
    monkeypatch.chdir(folder)
    fails(folder, "not-a-vector", 3, None, None, "--aoi", ".", says="is a folder")


def test_row_74_bow_tie_is_repaired(folder):
    result, events = detect(folder, None, None, "--aoi", makers.aoi_bow_tie(folder))
    assert 0 < result.stats["compared_px"] < 80 * 80
    assert any(event.get("level") == "warning" for event in events)


def test_row_81_names_are_escaped(folder):
    evil = folder / "<script>alert(1)<"
    (folder / "before.tif").rename(folder / "<script>alert(1).tif")
    detect(folder, folder / "<script>alert(1).tif", None, "--report", folder / "out" / "r.html")
    html = (folder / "out" / "r.html").read_text(encoding="utf-8")
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html, evil


def test_row_82_tokens_stay_out_of_tags():
    from cdengine.raster.source import display_uri

    shown = display_uri("/vsicurl/https://user:secret@example.org/a.tif?sig=TOKEN")
    assert "secret" not in shown and "TOKEN" not in shown and "a.tif" in shown
