#!/usr/bin/env bash
# Makes sure that QGIS, its Python bindings and pytest for them are there; installs them by apt when they are not.
set -euo pipefail

ready() {
  command -v qgis_process >/dev/null && command -v gdalinfo >/dev/null &&
    QT_QPA_PLATFORM=offscreen /usr/bin/python3 -c 'import qgis.core, osgeo.gdal, pytest' >/dev/null 2>&1
}
ready && exit 0
"$(dirname "$0")"/apt_install.sh qgis python3-qgis qgis-providers gdal-bin python3-pytest
ready || {
  echo "error: QGIS was installed, but /usr/bin/python3 cannot import qgis.core, osgeo.gdal and pytest" >&2
  exit 1
}
