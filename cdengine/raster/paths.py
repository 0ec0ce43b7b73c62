"""Which paths may be opened, what kind they are, and how they are shown without secrets.

A path comes from a user or from a VRT that someone else wrote, so the rule is a list of what is allowed: plain files,
`/vsizip/`, `/vsicurl/` over http(s), the object stores, and a driver's name before a local file (a subdataset).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cdengine.errors import NotFoundInputError, PathError

_STORES = ("/vsis3/", "/vsigs/", "/vsiaz/")
_SCHEMES = {"http://": "/vsicurl/http://", "https://": "/vsicurl/https://", "s3://": "/vsis3/", "gs://": "/vsigs/"}
_SUBDATASET = re.compile(r"^(NETCDF|HDF5|HDF5_IMAGE|HDF4_SDS|HDF4_EOS|GTIFF_DIR|SENTINEL2_L1C|SENTINEL2_L2A):", re.I)
_URL = re.compile(r"(https?://)(?:[^/@\s]*@)?([^?#\s'\"]*)(?:[?#][^\s'\"]*)?", re.I)


@dataclass(frozen=True)
class SourcePath:
    """A path that passed the rules.

    Attributes:
        gdal: what GDAL is given.
        shown: for messages, tags and logs: without credentials and query strings.
        remote: it is fetched over a network.
        container: the local file that holds it (the file itself, or the zip); None when remote.
        member: name inside the zip, "" where there is none.
    """

    gdal: str
    shown: str
    remote: bool
    container: Path | None
    member: str = ""

    def clean(self, text: str) -> str:
        """A message of GDAL about this source, without secrets; GDAL names a source whole or by its last part."""
        for whole, shown in ((self.gdal, self.shown), (self.gdal.split("/")[-1], self.shown.split("/")[-1])):
            text = text.replace(whole, shown)
        return redact(text)


def display_uri(path: str | os.PathLike[str]) -> str:
    """The path as it may be shown: user names, passwords, query strings and fragments of URLs are left out."""
    return redact(os.fspath(path))


def redact(text: str) -> str:
    """A message of a library with the secrets of any URL in it left out, on one line."""
    return " ".join(_URL.sub(r"\1\2", text).split())


def parse(path: str | os.PathLike[str], label: str) -> SourcePath:
    """Applies the rules to a path.

    Args:
        path: as given.
        label: how a message names it ("BEFORE", "t1.vrt names").

    Raises:
        PathError: a kind of path that is never opened.
        NotFoundInputError: a zip, or the file of a subdataset, is not there.
    """
    text = os.fspath(path)
    if not text.strip() or "\0" in text:
        raise PathError(f"{label}: the path is empty; give a raster file")
    if text.lstrip().startswith(("<", "{")):
        raise PathError(f"{label}: inline XML or JSON is not opened as a raster; save it as a file")
    for scheme, prefix in _SCHEMES.items():
        if text.lower().startswith(scheme):
            text = prefix + text[len(scheme) :]
    if text.startswith("/vsi"):
        return _virtual(text, label)
    found = _SUBDATASET.match(text)
    if found:
        return SourcePath(text, redact(text), False, _file_within(text[found.end() :], label))
    if re.match(r"^[A-Za-z][A-Za-z0-9+.-]+:", text) and not os.path.exists(text):
        raise PathError(f"{label}: {redact(text)} is not a file, and no kind of address that is opened")
    return SourcePath(text, text, False, Path(text))


def _virtual(text: str, label: str) -> SourcePath:
    shown = redact(text)
    if text.lower().startswith(("/vsicurl/http://", "/vsicurl/https://")):
        return SourcePath(text, shown, True, None)
    if text.startswith(_STORES):
        return SourcePath(text, text.split("?")[0], True, None)
    if text.startswith("/vsizip/"):
        inner = text[len("/vsizip/") :]
        if inner.startswith("/vsi"):
            nested = _virtual(inner, label)
            if not nested.remote:
                raise PathError(f"{label}: {shown}: an archive inside an archive is not opened; unpack it first")
            return SourcePath(text, shown, True, None)
        container, member = _split_archive(inner.replace("{", "").replace("}", ""), label)
        return SourcePath(text, shown, False, container, member)
    raise PathError(
        f"{label}: {shown}: of GDAL's virtual file systems only /vsizip/, /vsicurl/, /vsis3/, /vsigs/ and /vsiaz/ are "
        "opened; give a file"
    )


def _split_archive(inner: str, label: str) -> tuple[Path, str]:
    path = Path(inner)
    for folder in (path, *path.parents):
        if folder.is_file():
            return folder, path.relative_to(folder).as_posix().removeprefix(".")
    raise NotFoundInputError(f"{label}: no archive is found on the way to {inner}; check the path")


def _file_within(text: str, label: str) -> Path:
    """The existing file inside a subdataset's name, as in ``"folder/file.nc":variable`` or ``1:file.tif``."""
    parts = text.split(":")
    for start in range(len(parts)):
        for stop in range(len(parts), start, -1):
            candidate = ":".join(parts[start:stop]).strip('"')
            if candidate and os.path.isfile(candidate):
                return Path(candidate)
    raise NotFoundInputError(f"{label}: no file is found in {text}; check the path")
