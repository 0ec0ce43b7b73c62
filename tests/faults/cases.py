# ruff: noqa: E501 (a table: one line a case)
"""Every row of the fault matrix that `detect` answers for: what happens, and the tests that hold it.

docs/faults.md is made from this table by tools/make_faults_page.py, which also looks whether the tests exist and
whether slug and exit code are those of cdengine/errors.py. "(s)" marks tests of the slow tier.
"""

from __future__ import annotations

from dataclasses import dataclass

FAULTS = "faults/test_faults.py"
PLACES = "faults/test_places.py"
PIXELS = "faults/test_pixels.py"
RUNNING = "faults/test_running.py"
REMOTE = "faults/test_remote.py"
WRITING = "faults/test_writing.py"
AROUND = "faults/test_surroundings.py"


@dataclass(frozen=True)
class Case:
    """One promise.

    Attributes:
        row: number in the matrix.
        fault: what goes wrong, or what is odd.
        promise: what cdengine does.
        slugs: of the errors; () where the run ends well.
        tests: "file::function", relative to tests/.
    """

    row: int
    fault: str
    promise: str
    slugs: tuple[str, ...]
    tests: tuple[str, ...]


def _in(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{file}::{name}" for name in names)


BAD = _in(FAULTS, "test_input_that_cannot_be_used")
MODEL = _in(FAULTS, "test_model_that_cannot_be_used")
SOURCE = "raster/test_source.py"
PUBLISH = "raster/test_publish.py"
CONTAINER = "models/test_container.py"
FILE = "models/test_modelfile.py"
NETWORK = "inference/test_network.py"
RUN = "inference/test_run.py"
COMMAND = "cli/test_detect.py"

GROUPS: dict[str, tuple[Case, ...]] = {
    "Opening": (
        Case(1, "missing file", "refused", ("not-found",), BAD),
        Case(2, "a folder in place of a file", "refused", ("not-a-raster",), BAD),
        Case(3, "zero bytes; a text named .tif", "refused", ("not-a-raster",), BAD),
        Case(4, "truncated at half", "refused before any work", ("corrupt",), (*BAD, *_in(SOURCE, "test_truncated_tiffs", "test_truncated_png_and_jpeg2000"))),
        Case(5, "the last ten bytes missing", "refused before any work", ("corrupt",), BAD),
        Case(6, "one block that cannot be decoded", "refused with rows and columns; `--on-corrupt nodata` fills the block, counts it in `corrupt_blocks` and warns, pictures included", ("corrupt-block",), _in(FAULTS, "test_row_6_one_bad_block", "test_row_6_bad_block_as_nodata")),
        Case(7, "bytes altered without an error of the codec", "refused where a `.sha256` or `.md5` file lies beside it; the inputs' sha256 are in the tags", ("checksum",), (*BAD, *_in(RUNNING, "test_row_7_inputs_are_hashed_into_the_tags"), *_in("raster/test_checksum.py", "test_sidecar"))),
        Case(8, "no permission to read", "refused, and told apart from a missing file", ("permission",), (*_in(FAULTS, "test_row_8_no_permission"), *_in(SOURCE, "test_permission_error_is_told_apart"))),
        Case(9, "a format whose driver is not in this build", "refused, driver named", ("driver",), (*BAD, *_in(SOURCE, "test_missing_driver_is_named"))),
        Case(10, "several rasters in one file", "refused, they are listed", ("subdatasets",), BAD),
        Case(11, "spaces, quotes, `$()`, accents, 255 bytes in a name", "works; nothing is expanded", (), (*_in(COMMAND, "test_odd_names_work_and_nothing_is_expanded"), *_in(RUNNING, "test_row_11_a_name_as_long_as_names_can_be"))),
        Case(12, "inline XML as a path", "refused", ("path",), BAD),
        Case(13, "a VRT whose source is missing", "refused at the start, source named", ("vrt-source",), BAD),
        Case(14, "a VRT with a raw band or Python code", "refused unopened", ("vrt-unsafe",), BAD),
        Case(15, "a VRT that names itself, nests 50 deep, or holds an entity bomb", "refused", ("vrt-unsafe",), BAD),
        Case(16, "a local VRT that names a server", "refused without `--allow-remote`, no packet sent", ("remote",), (*BAD, *_in(REMOTE, "test_row_16_no_packet_is_sent"))),
        Case(17, "2 million pixels a side, 10 000 bands", "refused with the arithmetic", ("too-large",), BAD),
        Case(18, "a server that answers 404, 403 or 500, hangs up or falls silent at once or in the middle, or is not there", "refused within seconds or after half a minute of silence; busy servers are asked again, servers without ranges read whole", ("remote",), _in(REMOTE, "test_row_18_servers_that_fail", "test_row_18_nobody_answers", "test_row_18_patience_has_an_end_that_users_may_move", "test_row_18_a_server_that_answers_in_the_end")),
        Case(19, "a damaged zip, a zip bomb", "refused", ("corrupt",), (*BAD, *_in(SOURCE, "test_damaged_zip_and_bomb"))),
        Case(20, "an input replaced while it is read, or before `--resume`", "the run ends without an output; the resume is refused", ("changed", "resume-mismatch"), _in(RUNNING, "test_row_20_an_input_replaced_while_it_is_read", "test_row_20_an_input_replaced_before_the_resume")),
    ),
    "Georeferencing": (
        Case(21, "neither date has a CRS", "runs in pixels with a warning; areas in m² are null", (), _in(FAULTS, "test_row_21_no_crs_at_all")),
        Case(22, "one date has a CRS, the other none", "refused, `--assume-crs` is offered; with it the run is as if the file had that CRS; what is no CRS is wrong usage; a CRS that a file has is never replaced", ("no-crs", "usage"), (*BAD, *_in(PLACES, "test_row_22_a_stated_crs", "test_row_22_where_nothing_is_to_be_assumed", "test_row_22_a_crs_that_is_none"), *_in("raster/test_assume.py", "test_a_file_without_any_place_is_not_placed_by_a_crs"))),
        Case(23, "two CRSs", "AFTER is warped while it is read, as if it had been warped before", (), _in(PLACES, "test_row_23_another_crs_equals_the_prewarped_twin")),
        Case(24, "no common ground", "refused with the distance", ("no-overlap",), BAD),
        Case(25, "little common ground", "runs; the rest is 255; the share is told", (), (*_in(FAULTS, "test_rows_25_and_26_partial_overlap"), *_in("raster/test_alignment.py", "test_small_overlap_warns_and_runs"))),
        Case(26, "partial overlap", "the full grid of BEFORE, 255 outside", (), _in(FAULTS, "test_rows_25_and_26_partial_overlap")),
        Case(27, "a shift of half a pixel under `--align strict`", "refused with the shift; `register` removes shifts", ("grid-mismatch",), (*_in(FAULTS, "test_row_27_strict"), *_in("inference/test_detect.py", "test_register_removes_a_shift"))),
        Case(28, "resolutions 4 and 150 times apart", "warned of; refused, `--allow-coarse` is offered and forces it", ("resolution",), (*BAD, *_in(PLACES, "test_row_28_four_times_coarser_warns", "test_row_28_forced"), *_in("raster/test_alignment.py", "test_a_much_finer_date_takes_little_memory"))),
        Case(29, "rotated, sheared, south-up or transposed grids", "equal to the north-up twin, pixel by pixel", (), _in(PLACES, "test_row_29_turned_twins")),
        Case(30, "a singular or NaN transform", "refused", ("transform",), BAD),
        Case(31, "85° N, the antimeridian, the equator, the pole", "areas within 0.1 % of the geodesic ones", (), _in(PLACES, "test_row_31_areas_in_degrees", "test_row_31_at_the_pole")),
        Case(32, "ground control points only; RPCs only; a local CRS", "warped by the points with a warning; RPCs refused; a local CRS has no areas in m²", ("rpc",), (*BAD, *_in(PLACES, "test_row_32_ground_control_points", "test_row_32_local_crs"))),
        Case(33, "no way between two CRSs; another program's PROJ in the environment", "refused, naming `doctor`; the wheels' own database is used", ("proj",), (*_in(PLACES, "test_row_33_a_crs_that_proj_cannot_reach"), *_in(AROUND, "test_row_77_nothing_but_the_command"))),
    ),
    "Pixels": (
        Case(34, "nodata 0, 255, −9999, NaN, in one band, alpha, a mask, none", "255 exactly there", (), (*_in(PIXELS, "test_row_34_every_kind_of_nodata", "test_row_34_no_nodata_at_all"), *_in("raster/test_validity.py", "test_twins_agree"))),
        Case(35, "nodata that the type cannot hold", "ignored with a warning", (), (*_in(FAULTS, "test_row_35_nodata_outside_the_type"), *_in("raster/test_validity.py", "test_nodata_that_the_type_cannot_hold_is_ignored_and_said"))),
        Case(36, "nothing but nodata", "all 255, no polygons, a warning", (), _in("inference/test_detect.py", "test_all_nodata_gives_an_empty_result")),
        Case(37, "NaN, ±Inf, 1e38 among valid pixels", "255 there, finite beside them", (), _in(FAULTS, "test_row_37_values_that_are_not_finite")),
        Case(38, "constant and identical images", "no changes, by every method", (), (*_in(FAULTS, "test_row_38_constant_image"), *_in("inference/test_detect.py", "test_identical_images_have_no_change"))),
        Case(39, "pixel types from int8 to float64; complex, palette and 1-bit", "equal numbers give equal maps; the last three are refused with a remedy", ("dtype",), (*BAD, *_in(PIXELS, "test_row_39_every_type_gives_the_same", "test_row_39_one_bit_images_have_a_colour_table"))),
        Case(40, "band counts that differ; bands 0 and 99; another order", "refused with a list; order is taken as given", ("bands",), (*BAD, *_in(PIXELS, "test_row_40_bands_that_are_not_there", "test_row_40_bands_in_any_order"))),
        Case(41, "scale and offset tags", "said not to be applied; same result", (), _in(PIXELS, "test_row_41_scale_and_offset")),
        Case(42, "values unlike a model's training data", "warned of, with both ranges", (), _in(PIXELS, "test_row_42_values_unlike_the_training_data")),
        Case(43, "1 × 1, 1 × N, 7 × 5, about a tile", "exact size; tiling does not show", (), (*_in(FAULTS, "test_row_43_any_size"), *_in(PIXELS, "test_row_43_about_a_tile"), *_in(NETWORK, "test_any_size_equals_the_padded_one"))),
        Case(44, "200 000 × 1 000 and 1 000 × 200 000 pixels", "memory below 2.3 GB for either; it grows with the width times `--tile`, not with the height", (), _in(PIXELS, "test_row_44_extreme_shapes")),
        Case(45, "outputs above 4 GiB", "BigTIFF", (), _in(PIXELS, "test_row_45_big_outputs_are_bigtiff")),
        Case(46, "strips, one block, tiles of 16", "same pixels", (), (*_in(PIXELS, "test_row_46_layouts"), *_in("raster/test_pair.py", "test_every_layout_gives_the_same_pixels"))),
    ),
    "Model": (
        Case(47, "pickles, also renamed", "refused unread", ("not-safetensors",), MODEL),
        Case(48, "damaged or hostile safetensors", "refused at little cost", ("model-corrupt",), (*MODEL, *_in(CONTAINER, "test_damaged_headers", "test_hostile_headers_cost_little"))),
        Case(49, "a card that is missing, newer, or endlessly deep", "refused", ("model-metadata",), (*MODEL, *_in("models/test_card.py", "test_a_wrong_field_is_named"))),
        Case(50, "weights with NaN; tensors missing, superfluous, mis-shaped", "refused, names given", ("model-weights",), (*_in(RUNNING, "test_row_50_weights"), *_in(FILE, "test_missing_tensors_are_named_and_counted"))),
        Case(51, "an unknown architecture; arguments of a terabyte", "refused before building", ("model-architecture",), (*_in(RUNNING, "test_row_51_architectures"), *_in("models/test_zoo.py", "test_absurd_arguments_are_refused_before_building"))),
        Case(52, "classes asked of a binary model; an ensemble of unlike classes", "refused", ("model-task",), (*_in(FAULTS, "test_row_52_classes_of_a_binary_method"), *_in("inference/test_ensemble.py", "test_members_must_tell_the_same_classes"))),
        Case(53, "a shipped model altered or missing", "refused", ("model-hash",), (*_in(RUNNING, "test_row_53_a_shipped_model_that_was_altered"), *_in("models/test_shipped.py", "test_unknown_name_altered_file_and_missing_file"))),
        Case(54, "a network that overflows", "tiles redone in fp32; NaN there too is refused", ("model-nan",), (*_in(RUNNING, "test_row_54_a_network_that_gives_nan"), *_in(NETWORK, "test_tiles_that_overflow_in_fp16_are_redone_in_fp32"))),
    ),
    "Device and memory": (
        Case(55, "a device that is absent, a driver too old", "refused; `auto` takes the CPU", ("device",), (*_in(FAULTS, "test_row_55_absent_device"), *_in("inference/test_device.py", "test_an_old_driver_is_told", "test_a_device_that_is_listed_but_does_not_run"))),
        Case(56, "out of memory at the first batch, or later", "smaller batches, same pixels; one tile too many is refused", ("oom",), _in(RUNNING, "test_row_56_out_of_memory")),
        Case(57, "more memory needed than the machine or container has", "refused before reading, with the tile that would fit", ("oom",), _in(RUNNING, "test_row_57_more_memory_than_there_is", "test_row_57_the_limit_is_that_of_the_container")),
        Case(58, "the accelerator is lost", "no second try; finished parts are kept for `--resume`", ("device-lost",), (*_in(RUNNING, "test_row_58_a_lost_device"), *_in(NETWORK, "test_a_lost_device_is_not_tried_again"))),
        Case(59, "other numbers of workers, batch sizes, precisions", "workers change no bit; the rest within 1e-5, half precision nearly", (), (*_in(RUNNING, "test_row_59_workers_and_batches"), *_in(NETWORK, "test_lower_precision_gives_nearly_the_same_map"))),
    ),
    "Writing": (
        Case(60, "an output folder that is missing, a file, or read-only", "refused at the start", ("output-folder",), (*_in(FAULTS, "test_row_60_output_folder"), *_in(PUBLISH, "test_folder_without_permission"))),
        Case(61, "the output exists", "refused without `--overwrite`", ("exists",), _in(FAULTS, "test_row_61_output_exists")),
        Case(62, "the output is an input: path, link, member of a VRT, area of interest", "refused, the input untouched", ("output-is-input",), (*_in(FAULTS, "test_row_62_output_is_an_input"), *_in(WRITING, "test_row_62_more_ways_to_name_an_input"))),
        Case(63, "one name for two outputs; an unknown suffix", "refused", ("usage",), _in(FAULTS, "test_row_63_one_name_twice")),
        Case(64, "a full disk at any moment", "old outputs intact, finished parts kept; after space is freed `--resume` gives the same pixels", ("disk-full",), (*_in(WRITING, "test_row_64_a_full_disk_at_any_moment", "test_row_64_the_last_bytes_of_polygons"), *_in("raster/test_sink.py", "test_full_disk_at_any_moment"))),
        Case(65, "SIGKILL at any moment", "no output or the old one; `--resume` equals the uninterrupted run; without it the next run sweeps", (), (*_in(WRITING, "test_row_65_twenty_kills_and_a_resume", "test_row_65_without_resume_the_next_run_sweeps"), *_in(COMMAND, "test_kill_and_resume_ends_with_the_same_pixels"))),
        Case(66, "power failure", "whatever is renamed or listed in the journal was synced before", (), (*_in(WRITING, "test_row_66_nothing_is_named_before_it_is_on_disk"), *_in(RUN, "test_damaged_part_and_torn_line_are_done_again"))),
        Case(67, "SIGTERM, SIGINT, stdin closed: at any moment, twice, during the renames", "ends within 2 s without a trace; renames are finished", ("cancelled",), (*_in(COMMAND, "test_a_signal_stops_within_two_seconds_and_leaves_nothing", "test_closing_stdin_stops_too"), *_in(WRITING, "test_row_67_during_the_renames_they_are_finished", "test_row_67_in_the_first_moment", "test_row_67_at_random_moments"))),
        Case(68, "the output is held open by another program", "the earlier renames are taken back, the holder's remedy told", ("locked",), _in(PUBLISH, "test_a_rename_that_fails_takes_the_earlier_ones_back")),
        Case(69, "`--resume` of another job; a damaged journal or part", "refused with the first difference; damage is done again", ("resume-mismatch",), (*_in(COMMAND, "test_resume_of_another_job_names_the_difference"), *_in(RUN, "test_journal_of_another_job_is_refused_by_name", "test_damaged_part_and_torn_line_are_done_again"))),
        Case(70, "two runs of one output; locks of the dead; of another host", "the second is refused; taken over; refused with a hint", ("locked",), (*_in(WRITING, "test_row_70_two_runs_of_one_output", "test_row_70_locks_of_the_dead_and_of_another_host"), *_in(PUBLISH, "test_many_runs_at_once_leave_one_whole_file"))),
        Case(71, "eight runs in one folder", "equal results, nothing left", (), _in(WRITING, "test_row_71_eight_runs_in_one_folder")),
    ),
    "Vectors and areas of interest": (
        Case(72, "no change; everything changed; noise", "a valid empty file; one polygon; finishes, and names `--min-area`", (), _in(AROUND, "test_row_72_nothing_and_everything", "test_row_72_noise_warns", "test_row_72_noise_of_4096")),
        Case(73, "objects over tiles and strips, holes, corners", "equal to a trace of the whole raster", (), _in("vector/test_polygonize.py", "test_any_labels_in_any_strips_equal_gdals_trace")),
        Case(74, "areas of interest: other CRS, bow-tie, empty, outside, lines, a million vertices, no CRS, a folder", "reprojected; repaired with a warning; the others refused", ("aoi", "not-a-vector"), (*_in(FAULTS, "test_row_74_aoi", "test_row_74_a_folder", "test_row_74_bow_tie_is_repaired"), *_in("vector/test_aoi.py", "test_another_crs_with_long_edges", "test_a_million_vertices"))),
    ),
    "Command": (
        Case(75, "unknown options, wrong values", "refused; option, range or nearest name given", ("usage",), (*_in(AROUND, "test_row_75_wrong_options"), *_in("inference/test_detect.py", "test_wrong_use_names_the_option"))),
        Case(77, "stdout closed, no HOME, no cache, a C or German locale, a path beyond ASCII", "works; decimals stay points", (), _in(AROUND, "test_row_77_nothing_but_the_command", "test_row_77_a_reader_that_has_seen_enough", "test_row_77_decimals_are_points")),
        Case(81, "markup in file names", "escaped in the report", (), _in(FAULTS, "test_row_81_names_are_escaped")),
        Case(82, "a token or password in an address", "absent from tags, log, report, pictures and journal", (), (*_in(REMOTE, "test_row_82_a_token_is_nowhere"), *_in(FAULTS, "test_row_82_tokens_stay_out_of_tags"))),
    ),
}  # fmt: skip
