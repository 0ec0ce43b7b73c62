"""Change detection for QGIS: the plugin's entry. The work is done by the engine, a program of its own."""


def classFactory(iface):  # noqa: N802, ANN001, ANN201, D103: name and arguments are QGIS's
    from .plugin import ChangeDetectionPlugin

    return ChangeDetectionPlugin(iface)
