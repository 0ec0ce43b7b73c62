"""Reads a VRT before GDAL does: only plain mosaics, masks, warps and overviews of files that are there get through.

A VRT can map any file of the machine as pixels, run Python, and name itself. So the elements are an allow-list.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from cdengine.errors import CorruptError, PathError, RemoteError, VrtSourceError, VrtUnsafeError
from cdengine.raster.paths import SourcePath, parse

MAX_BYTES = 16 << 20
MAX_DEPTH = 4
_HEAD = 4096

_ALLOWED = frozenset(
    """
    VRTDataset VRTRasterBand MaskBand SRS GeoTransform GCPList GCP Metadata MDI Description NoDataValue NodataValue
    HideNoDataValue ColorInterp ColorTable Entry CategoryNames Category UnitType Offset Scale Histograms HistItem
    HistMin HistMax BucketCount IncludeOutOfRange Approximate HistCounts Overview OverviewList BlockXSize BlockYSize
    SimpleSource ComplexSource SourceFilename SourceBand SourceProperties SrcRect DstRect NODATA UseMaskBand LUT
    ScaleOffset ScaleRatio Exponent SrcMin SrcMax DstMin DstMax Clamp ColorTableComponent ResampleAlg
    GDALWarpOptions WarpMemoryLimit WorkingDataType Option SourceDataset Transformer ApproxTransformer MaxError
    BaseTransformer GenImgProjTransformer SrcGeoTransform SrcInvGeoTransform DstGeoTransform DstInvGeoTransform
    SrcGCPTransformer GCPTransformer Order Reversed ReprojectTransformer ReprojectionTransformer SourceSRS TargetSRS
    Options SourceCRS TargetCRS CENTER_LONG CoordinateOperation BandList BandMapping SrcNoDataReal SrcNoDataImag
    DstNoDataReal DstNoDataImag SrcAlphaBand DstAlphaBand InitDest Cutline CutlineBlendDist
    """.split()  # noqa: SIM905 (a hundred quoted words are harder to read)
)
_SUBCLASSES = {"", "VRTSourcedRasterBand", "VRTWarpedRasterBand", "VRTWarpedDataset"}
_NAMES_A_FILE = ("SourceFilename", "SourceDataset")


def is_vrt(path: SourcePath) -> bool:
    """Whether a local file's beginning makes GDAL take it for a VRT, whatever its name."""
    if path.remote:
        return path.shown.lower().endswith(".vrt")
    if path.container is None or not os.path.isfile(path.container):  # Path.is_file raises on too long a name
        return False
    return b"<VRTDataset" in _bytes(path, _HEAD)


def sources(path: SourcePath, label: str, *, allow_remote: bool, _above: tuple[str, ...] = ()) -> list[SourcePath]:
    """All sources of a VRT, nested ones included, each checked.

    Args:
        path: the VRT.
        label: how a message names it.
        allow_remote: it may name remote sources.

    Raises:
        VrtUnsafeError: an element outside the allow-list, itself among its sources, or nesting deeper than MAX_DEPTH.
        VrtSourceError: a source is missing.
        RemoteError: a remote source without `allow_remote`.
        PathError: a source of a kind that is never opened.
        CorruptError: it is not well-formed XML.
    """
    if path.remote:
        raise VrtUnsafeError(f"{label}: {path.shown}: a remote VRT cannot be checked before opening; download it first")
    own = f"{(path.container or Path()).resolve()}!{path.member}"
    if own in _above:
        raise VrtUnsafeError(f"{label}: {path.shown} names itself as a source; build it again from the rasters")
    if len(_above) >= MAX_DEPTH:
        raise VrtUnsafeError(f"{label}: VRTs are nested more than {MAX_DEPTH} deep; name the rasters directly")
    found: list[SourcePath] = []
    seen: set[str] = set()
    for name in _checked_names(path, label):
        if name in seen:  # a mosaic names each file once per band
            continue
        seen.add(name)
        source = _source(name, path, label, allow_remote)
        found.append(source)
        if is_vrt(source):
            found += sources(source, label, allow_remote=allow_remote, _above=(*_above, own))
    return found


def _source(name: str, vrt: SourcePath, label: str, allow_remote: bool) -> SourcePath:
    try:
        source = parse(name, f"{label}: {vrt.shown} names a source")
    except PathError:
        raise
    except Exception as error:
        raise VrtSourceError(f"{label}: {vrt.shown} names {name}, which does not exist") from error
    if source.remote and not allow_remote:
        raise RemoteError(
            f"{label}: {vrt.shown} fetches {source.shown} over the network; allow it with --allow-remote or download it"
        )
    if source.container is not None and not source.container.is_file():
        raise VrtSourceError(
            f"{label}: {vrt.shown} names {source.shown}, which does not exist; put it there or rebuild the VRT"
        )
    return source


def _checked_names(path: SourcePath, label: str) -> list[str]:
    """The file names in a VRT whose every element is allowed, relative ones resolved."""
    data = _bytes(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise VrtUnsafeError(f"{label}: {path.shown} is a VRT of more than {MAX_BYTES >> 20} MB; split the mosaic")
    if b"<!" in data.replace(b"<!--", b"") or b"\0" in data[:_HEAD]:
        raise VrtUnsafeError(f"{label}: {path.shown} declares a document type or entities, or is not UTF-8; refused")
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise CorruptError(f"{label}: {path.shown} is not well-formed XML ({error}); build the VRT again") from error
    names = []
    for element in root.iter():
        _check_element(element, path, label)
        if element.tag in _NAMES_A_FILE:
            name = (element.text or "").strip()
            relative = element.get("relativeToVRT", element.get("relativetoVRT", "0")) == "1"
            names.append(_resolved(name, path) if relative else name)
    return names


def _check_element(element: ElementTree.Element, path: SourcePath, label: str) -> None:
    subclass = element.get("subClass", "")
    if element.tag not in _ALLOWED or subclass not in _SUBCLASSES:
        what = subclass if subclass not in _SUBCLASSES else element.tag
        raise VrtUnsafeError(
            f"{label}: {path.shown} uses {str(what)[:60]}, which could read other files or run code; only mosaics, "
            "masks, warps and overviews are opened: write the VRT's result to a GeoTIFF if you trust it"
        )


def _resolved(name: str, vrt: SourcePath) -> str:
    if name.startswith(("/", "http://", "https://")):
        return name
    if vrt.member:
        folder = Path(vrt.member).parent.as_posix()
        return f"/vsizip/{vrt.container}/{folder}/{name}" if folder != "." else f"/vsizip/{vrt.container}/{name}"
    return str((vrt.container or Path()).parent / name)


def _bytes(path: SourcePath, most: int) -> bytes:
    assert path.container is not None
    if not path.member:
        with open(path.container, "rb") as stream:
            return stream.read(most)
    try:
        with zipfile.ZipFile(path.container) as archive, archive.open(path.member) as member:
            return member.read(most)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError):
        return b""  # not there or damaged: the archive's own check says so
