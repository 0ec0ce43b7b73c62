"""Change detection for QGIS: the plugin's entry. The work is done by the engine, a program of its own."""


def classFactory(iface):  # noqa: ANN001, ANN201, D103 (the name and the argument are QGIS's)
    from .plugin import ChangeDetectionPlugin

    return ChangeDetectionPlugin(iface)
