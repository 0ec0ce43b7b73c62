"""The command line as scripts see it: exit codes, one-line errors, help without heavy imports."""

import subprocess
import sys

import pytest

from cdengine.cli.main import COMMANDS, _command, main


def run(*argv, **options):
    return subprocess.run([sys.executable, "-m", "cdengine", *argv], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no command"),
        (["detekt"], "did you mean detect?"),
        (["detect", "a.tif", "b.tif"], "--output"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--treshold", "0.5"], "did you mean --threshold?"),
        (
            ["detect", "a.tif", "b.tif", "--output", "c.tif", "--threshold", "7"],
            "--threshold 7.0: auto, or from 0 to 1",
        ),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--tile", "100"], "--tile 100: a multiple of 32"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--tile", "0"], "--tile 0"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--tile", "64", "--overlap", "64"], "--overlap 64"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--tta", "all"], "--tta"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--batch-size", "many"], "--batch-size"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--workers", "x"], "--workers"),
        # a value that begins with a minus is the option's, not an option
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--min-area", "-1e3"], "--min-area -1000.0"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--threshold", "-.5"], "--threshold -0.5"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--overlap", "-3"], "--overlap -3"),
        (["detect", "a.tif", "b.tif", "--output", "c.tif", "--overwrite", "-3,1"], "-3,1"),
        (["detect", "a.tif", "b.tif", "--output", "--tile", "64"], "--output"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(capsys, argv, says):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert says in err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_is_quick_to_import(command):
    code = (
        "import sys; from cdengine.cli.main import main\n"
        f"try: main([{command!r}, '--help'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'torch', 'rasterio', 'timm'} & set(sys.modules), sorted(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--progress" in result.stdout


def test_version_and_overview():
    assert run("--version").stdout.startswith("cdengine ")
    overview = run("--help").stdout
    assert all(command in overview for command in COMMANDS)


def test_a_closed_pipe_is_no_error():
    line = f"{sys.executable} -m cdengine detect --help | head -1; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert result.returncode == 0 and "Traceback" not in result.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", ">&- 2>&-"])
@pytest.mark.parametrize("progress", ["json", "none"])
def test_closed_standard_streams_do_not_matter(closed, progress):
    line = f"{sys.executable} -m cdengine models --progress {progress} {closed}"
    assert subprocess.run(["bash", "-c", line], capture_output=True).returncode == 0


def test_a_name_that_is_no_text_is_said_with_its_bytes():
    result = subprocess.run(
        [sys.executable, "-m", "cdengine", "models", b"caf\xe9.safetensors"], capture_output=True, text=True
    )
    assert result.returncode == 2 and r"caf\udce9.safetensors: this name is not valid UTF-8" in result.stderr


def test_band_lists_may_begin_with_a_minus():
    _, parser = _command("detect")
    args = parser.read(["a.tif", "b.tif", "--bands-before", "-1,2", "--output", "c.tif"])
    assert args.bands_before == "-1,2"  # which bands there are is told once the file is open


def test_after_two_dashes_all_is_a_name():
    _, parser = _command("vectorize")
    assert parser.read(["--output", "o.gpkg", "--", "-1"]).raster == "-1"
