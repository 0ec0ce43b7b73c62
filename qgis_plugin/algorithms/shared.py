"""Fields that several algorithms have: the pair, how it is computed, what comes out."""

from __future__ import annotations

from typing import List

from ..engine.modelfolder import DEFAULT, METHODS
from . import destinations, fields

MODEL_HELP = (
    "default, the name of a model that comes with the engine or lies in your folder of models, a training-free method "
    f"({', '.join(METHODS)}), or a model file (.safetensors). default chooses by the bands: the engine's model for RGB "
    "imagery (buildings at 0.3 to 2 m pixels), irmad for other bands."
)

BEFORE = fields.Raster(
    "BEFORE",
    "Image before",
    "The earlier image: any raster that GDAL opens. The outputs lie on its grid unless you choose another.",
)
AFTER = fields.Raster(
    "AFTER",
    "Image after",
    "The later image. It may differ in CRS, pixel size and extent; it is aligned while it is read.",
)
MODEL = fields.Model("MODEL", "Model", MODEL_HELP, "--model", default=DEFAULT, wrapper="widgets.ModelWidgetWrapper")
METHOD = fields.Choice(
    "METHOD",
    "Method",
    "irmad: iteratively reweighted multivariate alteration detection, for multispectral images and different light. "
    "cva: change vector analysis, fast. sfa: slow feature analysis. pca-kmeans: for one to four bands, two clusters. "
    "log-ratio: for radar intensities.",
    "--model",
    choices=METHODS,
    default="irmad",
)
MIN_AREA = fields.Number(
    "MIN_AREA",
    "Smallest polygon (m²)",
    "Changed areas smaller than this are left out of the polygons. In pixels where the rasters have no CRS.",
    "--min-area",
    default=0.0,
)
SIMPLIFY = fields.Number(
    "SIMPLIFY", "Simplify outlines by (m)", "Largest distance an outline may move. 0 keeps pixel edges.", "--simplify",
    advanced=True, default=0.0,
)  # fmt: skip
FILL_HOLES = fields.Number(
    "FILL_HOLES",
    "Fill holes up to (m²)",
    "Unchanged holes inside polygons, smaller than this, are filled.",
    "--fill-holes",
    advanced=True,
    default=0.0,
)
THRESHOLD = fields.Number(
    "THRESHOLD",
    "Threshold of the change probability",
    "Changed is where the probability is at least this. Empty: the model's own, or found from the images.",
    "--threshold",
    advanced=True,
    optional=True,
    most=1.0,
)
DEVICE = fields.Text(
    "DEVICE",
    "Device",
    "auto, cpu, cuda, cuda:0, cuda:1, … or mps. auto takes a graphics card where there is one.",
    "--device",
    advanced=True,
    default="auto",
)

ALLOW_REMOTE = fields.Switch(
    "ALLOW_REMOTE",
    "Let local VRT files read from the network",
    "Off: a VRT file on this computer that names sources elsewhere is refused, for it may come from a stranger.",
    "--allow-remote",
    advanced=True,
)
ASSUME_CRS = fields.Crs(
    "ASSUME_CRS",
    "CRS of an image without one",
    "Which coordinate reference system an image has whose file does not tell.",
    "--assume-crs",
    advanced=True,
    optional=True,
)
ALLOW_COARSE = fields.Switch(
    "ALLOW_COARSE",
    "Allow very different pixel sizes",
    "Off: images whose pixels differ 100 times or more in size are refused, for that is mostly a mistake.",
    "--allow-coarse",
    advanced=True,
)
COG = fields.Switch(
    "COG", "Write cloud-optimised GeoTIFFs", "For serving the rasters over the web.", "--cog", advanced=True
)

COMPUTING: List[fields.Field] = [
    fields.Bands(
        "BANDS_BEFORE",
        "Bands of the image before",
        "Which bands are compared, in the model's order (red, green, blue for the shipped one). Empty: all.",
        "--bands-before",
        advanced=True,
        optional=True,
        parent="BEFORE",
    ),
    fields.Bands(
        "BANDS_AFTER",
        "Bands of the image after",
        "The corresponding bands of the later image, as many as of the earlier one. Empty: all.",
        "--bands-after",
        advanced=True,
        optional=True,
        parent="AFTER",
    ),
    THRESHOLD,
    fields.Polygons(
        "AOI",
        "Area of interest",
        "Only inside these polygons; elsewhere the outputs are nodata. Selection and filter of the layer count.",
        "--aoi",
        advanced=True,
        optional=True,
    ),
    fields.Choice(
        "ALIGN",
        "Alignment",
        "auto: the later image is warped onto the common grid. strict: refuse grids that differ. "
        "register: also estimate a residual shift between the images, and remove it.",
        "--align",
        advanced=True,
        choices=("auto", "strict", "register"),
        default="auto",
    ),
    fields.Choice(
        "GRID",
        "Grid of the outputs",
        "Whose pixels the outputs have: before, after, or finer (the smaller pixel of the two).",
        "--grid",
        advanced=True,
        choices=("before", "after", "finer"),
        default="before",
    ),
    fields.Choice(
        "ON_CORRUPT",
        "Blocks that cannot be read",
        "error: a damaged block of an image stops the run and is named. nodata: it counts as nodata, with a warning, "
        "and the rest is done.",
        "--on-corrupt",
        advanced=True,
        choices=("error", "nodata"),
        default="error",
    ),
    ASSUME_CRS,
    ALLOW_COARSE,
    ALLOW_REMOTE,
    DEVICE,
]

TILING: List[fields.Field] = [
    fields.Number(
        "TILE",
        "Tile size (pixels)",
        "A multiple of 32. Smaller tiles need less memory. Empty: the model's own, or 512.",
        "--tile",
        advanced=True,
        optional=True,
        least=32,
        most=8192,
        whole=True,
    ),
    fields.Number(
        "OVERLAP",
        "Tile overlap (pixels)",
        "How far neighbouring tiles overlap; they are blended there. Empty: what the model needs.",
        "--overlap",
        advanced=True,
        optional=True,
        whole=True,
    ),
    fields.Number(
        "BATCH_SIZE",
        "Tiles at a time",
        "Empty: as many as memory allows.",
        "--batch-size",
        advanced=True,
        optional=True,
        least=1,
        most=4096,
        whole=True,
    ),
    fields.Number(
        "WORKERS",
        "Reading threads",
        "Empty: one for each processor core, at most four.",
        "--workers",
        advanced=True,
        optional=True,
        least=1,
        most=256,
        whole=True,
    ),
]

TTA = ("none", "flip", "six", "d4")
TTA_HELP = (
    "Averages over views of the images: flip (mirrored, 4 views), six (also turned by a quarter) or d4 (all 8 ways to "
    "lay them): somewhat better, and as many times slower."
)
NETWORK: List[fields.Field] = [
    fields.Choice(
        "PRECISION",
        "Arithmetic of the network",
        "auto takes the fastest that is safe on the device. fp32 is the reference.",
        "--precision",
        advanced=True,
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
    ),
    fields.Choice("TTA", "Test-time augmentation", TTA_HELP, "--tta", advanced=True, choices=TTA, default="none"),
    fields.Number(
        "TIME_BUDGET",
        "Time limit of the augmentation (s)",
        "Seconds the run may take: as many tiles have test-time augmentation as fit into them. Empty: all tiles.",
        "--time-budget",
        advanced=True,
        optional=True,
        least=0.1,
    ),
    fields.Models(
        "ENSEMBLE",
        "Further models",
        "Models (names or files, separated by semicolons) whose probabilities are averaged with the model's.",
        "--ensemble",
        advanced=True,
        optional=True,
    ),
]

WRITING: List[fields.Field] = [
    fields.Choice(
        "PROBABILITY_DTYPE",
        "Type of the probability raster",
        "float32 from 0 to 1, or uint8 from 0 to 200, a quarter of the size.",
        "--probability-dtype",
        advanced=True,
        choices=("float32", "uint8"),
        default="float32",
    ),
    COG,
    fields.Switch(
        "RESUME",
        "Resume an interrupted run",
        "Goes on where an earlier run with the same inputs, options and output files stopped. "
        "Useless with temporary outputs.",
        "--resume",
        advanced=True,
    ),
]

CHANGE = destinations.RasterOutput(
    "CHANGE", "Change", "0 unchanged, 1 changed, 255 nodata.", "--output", style="change"
)
POLYGONS = destinations.PolygonOutput(
    "POLYGONS",
    "Changed areas",
    "Polygons with area in square metres and mean probability: GeoPackage, GeoJSON, FlatGeobuf or GeoParquet.",
    "--polygons",
    optional=True,
    style="polygons",
)
PROBABILITY = destinations.RasterOutput(
    "PROBABILITY",
    "Change probability",
    "Probability of change for each pixel.",
    "--probability",
    optional=True,
    created=False,
    style="probability",
)
REPORT = destinations.FileOutput(
    "REPORT",
    "Report",
    "A web page with maps, areas, parameters and provenance.",
    "--report",
    advanced=True,
    optional=True,
    created=False,
    suffixes=("html", "htm"),
    filter="HTML (*.html)",
)
QUICKLOOK = destinations.FileOutput(
    "QUICKLOOK",
    "Quick look",
    "A picture of both dates, the probability and the outlined changes.",
    "--quicklook",
    advanced=True,
    optional=True,
    created=False,
    suffixes=("png",),
    filter="PNG (*.png)",
)
TRANSITIONS = "TRANSITIONS"
TRANSITION_TABLE = "TRANSITION_TABLE"
FOR_CLASSES = "For models with classes only."
SEMANTIC: List[fields.Field] = [
    *(
        destinations.RasterOutput(
            name, label, f"{text} {FOR_CLASSES}", option, advanced=True, optional=True, created=False, style=style
        )
        for name, label, text, option, style in (
            ("BEFORE_CLASSES", "Classes before", "Class of each pixel at the first date.", "--before-classes",
             "classes"),
            ("AFTER_CLASSES", "Classes after", "Class of each pixel at the second date.", "--after-classes", "classes"),
            (TRANSITIONS, "Transitions", "What changed into what, 0 where nothing did.", "--transitions",
             "transitions"),
        )
    ),
    fields.Choice(
        "CLASS_EXTENT",
        "Where the class rasters tell classes",
        "everywhere, or changed: on changed pixels alone, so that both dates leave the same pixels empty. "
        f"{FOR_CLASSES}",
        "--class-extent",
        advanced=True,
        choices=("everywhere", "changed"),
        default="everywhere",
    ),
    destinations.TableOutput(
        TRANSITION_TABLE,
        "Table of transitions",
        "Class before, class after, pixels and area of all that changed, small areas included: GeoPackage, CSV or a "
        f"spreadsheet. {FOR_CLASSES}",
        advanced=True,
        optional=True,
        created=False,
        style="table",
    ),
]  # fmt: skip
