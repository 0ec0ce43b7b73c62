#!/usr/bin/python3
"""Stands in for `python -m cdengine`: speaks the engine's protocol, and misbehaves on request.

The environment variable CDENGINE_FAKE names the scenario; CDENGINE_FAKE_LOG a file that gets the arguments of each run.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

scenario = os.environ.get("CDENGINE_FAKE", "ok")
CLASSES = ("water", "forest", "building")
TRANSITIONS = ("unchanged", *(f"{old} → {new}" for old in CLASSES for new in CLASSES))


def say(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def start(protocol=1):
    say(event="start", protocol=protocol, command="detect", version="9.9.9", device="cpu", device_name="Fake CPU")


def progress(stage, done, total, eta=None, unit="px"):
    say(event="progress", stage=stage, done=done, total=total, unit=unit, eta_s=eta)


def value(name, default=None):
    return next((word.split("=", 1)[1] for word in sys.argv if word.startswith(name + "=")), default)


def positional():
    words = sys.argv[4:]
    return [word for word in words[:2] if not word.startswith("--")]


def write_outputs():
    """Something on the first input's grid, where the options say: changed is the upper left quarter."""
    from osgeo import gdal, ogr, osr

    gdal.UseExceptions()
    ogr.UseExceptions()
    source = gdal.Open(positional()[0])
    width, height, transform = source.RasterXSize, source.RasterYSize, source.GetGeoTransform()
    outputs = {}

    def raster(option, kind, change, nodata, names=()):
        path = value(option)
        if path is None or path.endswith((".gpkg", ".geojson", ".fgb")):
            return
        out = gdal.GetDriverByName("GTiff").Create(path, width, height, 1, kind)
        out.SetGeoTransform(transform)
        out.SetProjection(source.GetProjection())
        out.GetRasterBand(1).SetNoDataValue(nodata)
        out.GetRasterBand(1).Fill(0)
        if names:
            table = gdal.ColorTable()
            for code in range(len(names)):
                table.SetColorEntry(code, (10 * code, 20 * code, 255 - 10 * code, 255))
            out.GetRasterBand(1).SetColorTable(table)
            out.GetRasterBand(1).SetCategoryNames(list(names))
        quarter = bytes([change]) * ((width // 2) * (height // 2))
        out.WriteRaster(0, 0, width // 2, height // 2, quarter, buf_type=gdal.GDT_Byte)
        outputs[option] = path

    raster("--output", gdal.GDT_Byte, 1, 255)
    is_bytes = value("--probability-dtype") == "uint8"
    raster("--probability", gdal.GDT_Byte if is_bytes else gdal.GDT_Float32, 1, 255 if is_bytes else -1)
    for option in ("--before-classes", "--after-classes"):
        raster(option, gdal.GDT_Byte, 1, 255, CLASSES)
    # from forest (1) to building (2)
    raster("--transitions", gdal.GDT_UInt16, 1 + 1 * 3 + 2, 65535, TRANSITIONS if scenario == "semantic" else ())
    path = value("--polygons") or (value("--output") if sys.argv[3] == "vectorize" else None)
    if path:
        driver = {"gpkg": "GPKG", "geojson": "GeoJSON", "fgb": "FlatGeobuf"}[path.rsplit(".", 1)[1]]
        if os.path.exists(path):
            os.remove(path)
        reference = osr.SpatialReference(wkt=source.GetProjection()) if source.GetProjection() else None
        data = ogr.GetDriverByName(driver).CreateDataSource(path)
        layer = data.CreateLayer("changes", reference, ogr.wkbPolygon)
        layer.CreateField(ogr.FieldDefn("area_m2", ogr.OFTReal))
        layer.CreateField(ogr.FieldDefn("probability", ogr.OFTReal))
        if scenario == "semantic":
            layer.CreateField(ogr.FieldDefn("from_class", ogr.OFTString))
            layer.CreateField(ogr.FieldDefn("to_class", ogr.OFTString))
        x, y, w, h = transform[0], transform[3], transform[1] * (width // 2), transform[5] * (height // 2)
        feature = ogr.Feature(layer.GetLayerDefn())
        feature.SetGeometry(
            ogr.CreateGeometryFromWkt(f"POLYGON(({x} {y},{x + w} {y},{x + w} {y + h},{x} {y + h},{x} {y}))")
        )
        feature["area_m2"], feature["probability"] = 2500.0, 0.9
        if scenario == "semantic":
            feature["from_class"], feature["to_class"] = "forest", "building"
        layer.CreateFeature(feature)
        outputs["polygons"] = path
    write_plain("--report", "--quicklook")
    return outputs


def model_file(path, name, bands=("red", "green", "blue")):
    """As much of a model file as a plugin reads: the header with the card."""
    card = {
        "schema": 1,
        "name": name,
        "task": "binary",
        "architecture": "fc-ef",
        "inputs": {"before": {"bands": bands}},
    }
    header = json.dumps({"__metadata__": {"cdengine": json.dumps(card)}}).encode()
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)


def learn(command):
    """Two epochs, or figures of one model, and the files that go with them."""
    if command == "train":
        folder = value("--output") or value("--resume")
        os.makedirs(folder, exist_ok=True)
        if scenario == "chain":
            chain()
        for epoch in (1, 2) if scenario != "chain" else ():
            progress(f"epoch {epoch}/2", 50 * (epoch - 1), 100, 3.0, "batches")
            for name, figure in (("f1", 0.4 + 0.1 * epoch), ("iou", None)):
                say(event="metric", epoch=epoch, name=name, value=figure)
        outputs = {"run": folder, "model": os.path.join(folder, "model.safetensors"), "report": folder + "/report.html"}
        given = [word.split("=", 2)[2] for word in sys.argv if word.startswith("--set=name=")]
        model_file(outputs["model"], json.loads(given[0]) if given else "model")
        for name in ("chain.yaml" if scenario == "chain" else "config.yaml", "report.html"):
            open(os.path.join(folder, name), "w").close()
        say(event="result", outputs=outputs, stats={"f1": 0.6, "threshold": 0.5, "epoch": 2})
    elif command == "evaluate":
        progress("evaluate", 1, 2)
        say(event="metric", step=1, name="f1", value=0.5)
        write_plain("--output", "--report", "--csv")
        say(event="result", outputs={}, stats={"f1": 0.5, "precision": 0.4, "pairs": 2})
    elif command == "pseudo-label":
        folder = value("--output")
        os.makedirs(os.path.join(folder, "label1"), exist_ok=True)
        progress("load model", 1, 1, 0.0, "model")
        progress("pseudo-label", 5, 10, 3.0, "pairs")
        report, picture = os.path.join(folder, "report.html"), os.path.join(folder, "pictures.jpg")
        for path in (report, picture, os.path.join(folder, "job.json")):
            open(path, "w").close()
        outputs = {"pseudo_labels": folder, "report": report, "picture": picture}
        say(
            event="result",
            outputs=outputs,
            stats={
                "pairs": 10,
                "labelled_share_of_pixels": 0.9,
                "labelled_share_of_unchanged": 0.8,
                "agreement": 0.75,
                "seconds": 2.5,
            },
        )
    else:
        os.makedirs(value("--output"), exist_ok=True)
        stats = {"patches": 12, "train_patches": 8, "train_change_share": 0.125, "left_out_invalid": 1}
        picture = os.path.join(value("--output"), "split.png")
        say(event="result", outputs={"dataset": value("--output"), "picture": picture}, stats=stats)


def chain():
    """A teacher, pseudo labels, a student, and their comparison."""
    for number, name in enumerate(("teacher-1", "pseudo labels", "student", "evaluation"), 1):
        say(event="log", level="info", message=f"stage {number} of 4: {name}")
        stages = ["epoch 1/2", "epoch 2/2"]
        stages = {"pseudo labels": ["pseudo-label", "pictures"], "evaluation": ["evaluate"]}.get(name, stages)
        for done, stage in enumerate(stages):
            total = len(stages) if stage.startswith("epoch") else 1
            progress(f"{name} ({number} of 4): {stage}", done if total > 1 else 0, total, 3.0, "batches")
            progress(f"{name} ({number} of 4): {stage}", done + 1 if total > 1 else 1, total, 0.0, "batches")
    for name, score in (("teacher-1", 0.2), ("student", 0.3)):
        say(event="metric", step=0, name=f"{name}_score", value=score)


def write_plain(*options):
    for option in options:
        if value(option):
            with open(value(option), "w") as file:
                file.write("<html></html>")


def result(outputs=None):
    stats = {"changed_area_m2": 2500.0, "changed_percent": 25.0, "polygons": 1, "changed_px": 25, "threshold": 0.5}
    if scenario == "semantic":
        stats["transition_m2 forest → building"] = 2500.0
    say(event="result", outputs=outputs or {}, stats=stats)


def watch_input():
    """Ends the process as the engine does when its standard input is closed."""

    def watch():
        while os.read(0, 4096):
            pass
        say(event="error", code="cancelled", message="cancelled", exit=130)
        os._exit(130)

    threading.Thread(target=watch, daemon=True).start()


def work(seconds):
    steps = int(seconds / 0.1)
    for step in range(steps):
        progress("detect", step, steps, (steps - step) * 0.1)
        time.sleep(0.1)


def ramble():
    """Scenarios that say something wrong, and mostly go on."""
    if scenario == "garbage":
        sys.stdout.buffer.write(b'\xff\xfe not json\n[1, 2]\n\n{"event": "unheard-of"}\n{"event": "progress"}\n')
        sys.stdout.flush()
    elif scenario == "half":
        sys.stdout.write('{"event": "result", "outp')
        sys.stdout.flush()
        sys.exit(1)
    elif scenario == "noresult":
        sys.exit(0)
    elif scenario == "flood":
        for _ in range(500):
            sys.stderr.write("x" * 99_999 + "\n")
        sys.stdout.write("y" * 3_000_000 + "\n")
    elif scenario in ("grandchild", "grandchild-slow"):
        child = subprocess.Popen(["/bin/sleep", "300"])
        with open(os.environ["CDENGINE_FAKE_LOG"] + ".grandchild", "w") as file:
            file.write(str(child.pid))
        if scenario == "grandchild-slow":
            time.sleep(60)
    elif scenario == "lingers":
        result()
        time.sleep(300)
    elif scenario == "crash-after-result":
        result()
        os.kill(os.getpid(), signal.SIGSEGV)


def detect():
    if scenario == "missing":
        sys.exit("/usr/bin/python3: No module named cdengine")
    if scenario == "newer":
        start(protocol=2)
        time.sleep(30)
    if scenario not in ("stubborn", "noresult"):
        watch_input()
    start()
    if scenario == "slow":
        work(60)
    elif scenario == "silent":
        time.sleep(60)
    elif scenario == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    elif scenario == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif scenario == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif scenario == "oom":
        say(event="error", code="oom", message="out of memory with --tile 512: use a smaller --tile", exit=5)
        sys.exit(5)
    elif scenario == "error" or (scenario == "one-bad" and "bad" in os.path.basename(positional()[0])):
        say(event="error", code="no-overlap", message="after.tif covers none of before.tif: check its CRS", exit=3)
        sys.stderr.write("error: after.tif covers none of before.tif: check its CRS\n")
        sys.exit(3)
    elif scenario == "model-error":
        say(event="error", code="model-unknown", message="no model is called 'nonsense'", exit=4)
        sys.exit(4)
    else:
        ramble()
    if sys.argv[3] in ("train", "evaluate", "prepare", "pseudo-label"):
        learn(sys.argv[3])
        return
    progress("open", 1, 1)
    progress("detect", 50, 100, 3.0)
    say(event="log", level="info", message="model irmad")
    say(event="log", level="warning", message="grids differ")
    outputs = write_outputs() if positional() and os.environ.get("CDENGINE_FAKE_WRITES", "1") == "1" else {}
    progress("detect", 100, 100, 0.0)
    result(outputs)


def main():
    if os.environ.get("CDENGINE_FAKE_LOG"):
        with open(os.environ["CDENGINE_FAKE_LOG"], "a") as log:
            log.write(json.dumps({"pid": os.getpid(), "argv": sys.argv[1:]}) + "\n")
    if sys.argv[1:3] != ["-m", "cdengine"]:
        sys.exit(f"called as {sys.argv}")
    command = sys.argv[3]
    if scenario == "missing":
        sys.exit("/usr/bin/python3: No module named cdengine")
    if command == "doctor":
        if scenario == "doctor-slow":
            time.sleep(60)
        checks = [{"name": "torch", "ok": scenario != "unwell", "detail": "no", "remedy": "get it", "required": True}]
        print(json.dumps({"versions": {"cdengine": "9.9.9"}, "checks": checks}, indent=1))
    elif command == "models":
        print(json.dumps({"architectures": [], "methods": [], "shipped": [{"name": "rgb-building", "task": "binary"}]}))
    else:
        detect()


if __name__ == "__main__":
    main()
