"""One error tree. Each class owns the stable slug that programs read and the exit code that scripts read.

CDEngineError
├── UsageError (2)      wrong option, key or combination
├── InputError (3)      a raster, vector or pair that cannot be used as it is
├── ModelError (4)      a model file that is broken or does not fit
├── ResourceError (5)   out of memory or the device went away
├── OutputError (6)     the result cannot be written
└── Cancelled (130)     the user stopped the run

A message is one line: the file, band or key concerned, the fact, and the remedy.
"""

from __future__ import annotations


class CDEngineError(Exception):
    """Root of every error that cdengine raises on purpose; anything else that escapes is a bug."""

    slug = "bug"
    exit_code = 1


# ---------------------------------------------------------------- 2: usage and configuration
class UsageError(CDEngineError):
    """An option, a key or a combination of them is wrong."""

    slug = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A configuration file is missing, broken, or has an unknown key."""

    slug = "config"


class DivergedError(UsageError):
    """The loss of a training run is no longer a number: its learning rate or precision does not suit it."""

    slug = "diverged"


class DeviceError(UsageError):
    """The requested device is unknown or absent on this machine."""

    slug = "device"


class BandNumberError(UsageError):
    """A band number or name on the command line is not among the raster's bands."""

    slug = "bands"


class OutputExistsError(UsageError):
    """The output is there already and ``--overwrite`` was not given."""

    slug = "exists"


class OutputIsInputError(UsageError):
    """An output path is, or leads to, an input file."""

    slug = "output-is-input"


class ResumeMismatchError(UsageError):
    """The journal on disk belongs to another job."""

    slug = "resume-mismatch"


# ---------------------------------------------------------------- 3: input data
class InputError(CDEngineError):
    """A raster, vector or pair cannot be used as it is."""

    slug = "input"
    exit_code = 3


class NotFoundInputError(InputError):
    """The file does not exist."""

    slug = "not-found"


class NotARasterError(InputError):
    """The path is a folder, empty, or of a format that no raster driver knows."""

    slug = "not-a-raster"


class NotAVectorError(InputError):
    """The file cannot be read as vector features."""

    slug = "not-a-vector"


class CorruptError(InputError):
    """The file is truncated or damaged as a whole."""

    slug = "corrupt"


class CorruptBlockError(InputError):
    """One block of the raster cannot be decoded."""

    slug = "corrupt-block"


class ChecksumError(InputError):
    """The file does not match the checksum that lies beside it."""

    slug = "checksum"


class PermissionInputError(InputError):
    """The file exists but may not be read."""

    slug = "permission"


class DriverError(InputError):
    """The format needs a driver that this build of GDAL lacks."""

    slug = "driver"


class SubdatasetsError(InputError):
    """The file holds several rasters and one must be named."""

    slug = "subdatasets"


class PathError(InputError):
    """The path is of a kind that is never opened (inline XML, a virtual file system outside the contract)."""

    slug = "path"


class VrtSourceError(InputError):
    """A VRT names a source that is missing."""

    slug = "vrt-source"


class VrtUnsafeError(InputError):
    """A VRT asks for something that could read other files or run code."""

    slug = "vrt-unsafe"


class RemoteError(InputError):
    """A remote raster cannot be reached, or was not allowed."""

    slug = "remote"


class TooLargeError(InputError):
    """The header claims a size that cannot be meant."""

    slug = "too-large"


class ChangedError(InputError):
    """An input was replaced or altered during the run."""

    slug = "changed"


class NoCrsError(InputError):
    """One date has a coordinate reference system and the other has none."""

    slug = "no-crs"


class NoOverlapError(InputError):
    """The two dates share no ground."""

    slug = "no-overlap"


class GridMismatchError(InputError):
    """The grids differ and ``--align strict`` was asked for."""

    slug = "grid-mismatch"


class ResolutionError(InputError):
    """The pixel sizes of the two dates are too far apart."""

    slug = "resolution"


class TransformError(InputError):
    """The geotransform is singular or not finite."""

    slug = "transform"


class GroundControlError(InputError):
    """The raster is located by RPCs only, which need a terrain model."""

    slug = "rpc"


class ProjError(InputError):
    """A coordinate transformation cannot be made on this machine."""

    slug = "proj"


class DtypeError(InputError):
    """The pixel type cannot be used (complex numbers, say)."""

    slug = "dtype"


class BandsError(InputError):
    """The bands of the two dates, or of a date and the model, do not fit each other."""

    slug = "bands"


class AoiError(InputError):
    """The area of interest is empty, outside the raster, or not made of polygons."""

    slug = "aoi"


class NothingToEstimateError(InputError):
    """Too few valid pixels, or too little texture, for a statistic that the method needs."""

    slug = "too-little-data"


class DatasetError(InputError):
    """Folders, lists or the index of a data set do not make complete pairs."""

    slug = "dataset"


class LabelError(InputError):
    """A label holds values or colours that its coding does not know."""

    slug = "label"


# ---------------------------------------------------------------- 4: models
class ModelError(CDEngineError):
    """A model is unknown, broken or unsuitable."""

    slug = "model"
    exit_code = 4


class UnknownModelError(ModelError):
    """No shipped model, method or file has this name."""

    slug = "model-unknown"


class NotSafetensorsError(ModelError):
    """The file is not in safetensors format (a pickle, say); it is not opened."""

    slug = "not-safetensors"


class ModelCorruptError(ModelError):
    """The safetensors container is damaged."""

    slug = "model-corrupt"


class ModelMetadataError(ModelError):
    """The model card in the file is missing, malformed or of a newer schema."""

    slug = "model-metadata"


class ModelWeightsError(ModelError):
    """Tensors are missing, superfluous, mis-shaped or not finite."""

    slug = "model-weights"


class ModelArchitectureError(ModelError):
    """The architecture is unknown or its arguments make no sense."""

    slug = "model-architecture"


class ModelTaskError(ModelError):
    """The model gives other outputs than those asked for, or members of an ensemble differ."""

    slug = "model-task"


class ModelHashError(ModelError):
    """A shipped or downloaded model does not match its recorded sha256."""

    slug = "model-hash"


class ModelNanError(ModelError):
    """The network gave values that are not finite, in fp32 as well."""

    slug = "model-nan"


# ---------------------------------------------------------------- 5: resources
class ResourceError(CDEngineError):
    """Memory or the device ran out after backing off."""

    slug = "oom"
    exit_code = 5


class DeviceLostError(ResourceError):
    """The accelerator failed in a way that must not be retried."""

    slug = "device-lost"


# ---------------------------------------------------------------- 6: outputs
class OutputError(CDEngineError):
    """The output cannot be written."""

    slug = "output"
    exit_code = 6


class OutputFolderError(OutputError):
    """The output's folder is missing, is a file, or may not be written to."""

    slug = "output-folder"


class DiskFullError(OutputError):
    """The disk ran full, or has too little room for the result."""

    slug = "disk-full"


class LockedError(OutputError):
    """Another run is writing this output, or the file is held open elsewhere."""

    slug = "locked"


# ---------------------------------------------------------------- 130: cancelled
class Cancelled(CDEngineError):
    """The user stopped the run."""

    slug = "cancelled"
    exit_code = 130
