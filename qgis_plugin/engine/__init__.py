"""The engine as a child process: where it is, how it is started, what it says, how it is stopped. No QGIS imports."""
