"""Entry of the command line: finds the command, sets up events and cancelling, and turns errors into exit codes.

Nothing heavy is imported here, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import re
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import IO, NoReturn

from cdengine import __version__
from cdengine.cli.cancel import cancel_on_signals, cancel_on_stdin_close
from cdengine.cli.failures import known
from cdengine.cli.result import Result
from cdengine.cli.start import start_event
from cdengine.errors import Cancelled, UsageError
from cdengine.events import BarSink, Cancellation, JsonSink, NullSink, Reporter, Sink
from cdengine.inference.allocator import own_process

# name → (module, what it does); a command is listed once it works
COMMANDS: dict[str, tuple[str, str]] = {
    "detect": ("detect", "find what changed between two georeferenced images"),
    "align": ("align", "put one image on the grid of another, removing a residual shift"),
    "vectorize": ("vectorize", "turn a change or class raster into polygons with areas"),
    "evaluate": ("evaluate", "measure a model, or predictions made elsewhere, on pairs with labels"),
    "prepare": ("prepare", "make training patches of rasters and labels, with spatially disjoint splits"),
    "split": ("split", "list nested few-shot subsets of a data set's split"),
    "train": ("train", "train a change network on labelled pairs and keep the best model"),
    "pseudo-label": ("pseudo_label", "give classes to unchanged areas by the vote of several semantic models"),
    "import-weights": ("import_weights", "make a model file of published weights (.pth state dicts)"),
    "export": ("export", "write a model file as ONNX, or as a program of torch.export"),
    "models": ("models", "list methods, architectures and shipped models, or show a model file's card"),
    "doctor": ("doctor", "tell what works on this machine, what is missing and how to get it"),
    "bench": ("bench", "measure detect against the raw network on this machine"),
    "demo": ("demo", "render a small scene pair, detect its changes and show the result"),
}

NEGATIVE = re.compile(r"-[\d.][\d.,\s:eE+-]*")  # a number or several that begin with a minus
WORDS_S = 0.2  # for the last event and line of a run that is ended by force


class Parser(argparse.ArgumentParser):
    """Reports a wrong option as one line that names it, without the usage block."""

    def error(self, message: str) -> NoReturn:
        """Raises UsageError in place of exiting."""
        raise UsageError(f"{message}{self._nearest(message)}")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses a command's arguments; values may begin with a minus (`--values -1,1`).

        Raises:
            UsageError: it names the option.
        """
        self.check_names(arguments)
        takers = {option for action in self._actions if action.nargs is None for option in action.option_strings}
        joined: list[str] = []
        for number, argument in enumerate(arguments):
            if argument == "--":
                joined += arguments[number:]
                break
            if joined and joined[-1] in takers and NEGATIVE.fullmatch(argument):
                joined[-1] += f"={argument}"  # argparse would take the value for an option
            else:
                joined.append(argument)
        return self.parse_args(joined)

    def check_names(self, arguments: Sequence[str]) -> None:
        """Refuses an unknown option by name, before argparse complains of what is missing because of it.

        Raises:
            UsageError: with the nearest option.
        """
        known = {option for action in self._actions for option in action.option_strings}
        for argument in arguments:
            if argument == "--":
                return
            name = argument.split("=")[0]
            if name.startswith("--") and name not in known:
                self.error(f"unrecognized arguments: {name}")

    def _nearest(self, message: str) -> str:
        known = [option for action in self._actions for option in action.option_strings]
        if message.startswith("unrecognized arguments: "):
            wrong = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
            near = difflib.get_close_matches(wrong, known, 1)
            return f" (did you mean {near[0]}?)" if near else f" (see {self.prog} --help)"
        return ""


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults that say something, and tells them once."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False) or "(default:" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        _check_text(arguments)
        if not arguments or arguments[0].startswith("-"):
            return _overview(arguments)
        module, parser = _command(arguments[0])
        args = parser.read(arguments[1:])
    except UsageError as error:
        return _fail(error, debug, None)
    return _run(arguments[0], module, args)


def entry() -> NoReturn:
    """Console entry point."""
    own_process()
    _open_standard_streams()
    if "--debug" not in sys.argv:
        _keep_stderr_to_ourselves()
    code = main()
    with suppress(BrokenPipeError, ValueError):
        sys.stdout.flush()
    with suppress(BrokenPipeError, ValueError):
        sys.stderr.flush()
    # Not sys.exit: threads inside GDAL or torch, and a broken stdout, must not delay or change the exit code.
    os._exit(code)


def _open_standard_streams() -> None:
    """Where stdout or stderr is closed (`>&-`, a service), prints go nowhere; no data file may get its number."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))


def _keep_stderr_to_ourselves() -> None:
    """Messages stay on stderr; what native libraries print there (libtiff on a full disk, say) and warnings do not.

    Scripts and the plugin read one `error:` line; `--debug` shows everything.
    """
    warnings.simplefilter("ignore")
    sys.stderr.flush()
    own = os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace", buffering=1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = own


def _check_text(arguments: list[str]) -> None:
    """Refuses file names whose bytes are no text: GDAL takes names as UTF-8 only."""
    for argument in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in argument):
            shown = argument.encode("utf-8", "backslashreplace").decode()
            raise UsageError(f"{shown}: this name is not valid UTF-8: rename the file, or link to it by another name")


def _overview(arguments: list[str]) -> int:
    parser = Parser(prog="cdengine", description="Remote-sensing change detection.", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--debug", action="store_true")
    args = parser.parse_args(arguments)
    if args.version:
        print(f"cdengine {__version__}")
        return 0
    lines = ["usage: cdengine COMMAND … (cdengine COMMAND --help tells the options)", "", "commands:"]
    lines += [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    if not args.help:
        raise UsageError("no command given: " + ", ".join(COMMANDS) + " (see cdengine --help)")
    print("\n".join(lines))
    return 0


def _command(name: str) -> tuple[ModuleType, Parser]:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        hint = f": did you mean {near[0]}?" if near else ": one of " + ", ".join(COMMANDS)
        raise UsageError(f"unknown command {name!r}{hint}")
    module_name, text = COMMANDS[name]
    module = importlib.import_module(f"cdengine.cli.{module_name}")
    description = text[0].upper() + text[1:] + "."
    parser = Parser(
        prog=f"cdengine {name}",
        description=description,
        allow_abbrev=False,
        formatter_class=Help,
    )
    module.configure(parser)
    common = parser.add_argument_group("running")
    common.add_argument(
        "--progress",
        choices=["auto", "bar", "json", "none"],
        default="auto",
        help="a bar, JSON events on stdout, or nothing; auto: a bar on a terminal",
    )
    common.add_argument("--cancel-on-stdin-close", action="store_true", help="end of file on stdin stops the run")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return module, parser


def _run(command: str, module: ModuleType, args: argparse.Namespace) -> int:
    stream: IO[str] | None = None
    if args.progress == "json":
        # Native libraries print to file descriptor 1: from here on that is stderr, and events have their own copy.
        sys.stdout.flush()
        # Names of bytes that are no UTF-8 (a driver may tell of some) have lone surrogates; escaped they are JSON too.
        stream = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace", newline="\n")
        os.dup2(2, 1)
    cancellation = Cancellation()
    reporter = Reporter(_sink(args.progress, stream), cancellation)
    last_words = threading.Lock()  # held by whoever says how the run ended, and never released: it is said once
    with cancel_on_signals(cancellation, lambda: _give_up(reporter, last_words)):
        if args.cancel_on_stdin_close:
            cancel_on_stdin_close(cancellation, lambda: _give_up(reporter, last_words))
        try:
            if stream is not None:
                reporter.emit(start_event(command, getattr(args, "device", None)))
            result: Result = module.run(args, reporter)
        except BaseException as error:
            last_words.acquire()
            return _fail(error, args.debug, reporter)
        last_words.acquire()
        return _finish(result, args, reporter, stream)


def _sink(progress: str, stream: IO[str] | None) -> Sink:
    if stream is not None:
        return JsonSink(stream)
    if progress == "bar" or (progress == "auto" and sys.stderr.isatty()):
        return BarSink(sys.stderr)
    return NullSink()


def _finish(result: Result, args: argparse.Namespace, reporter: Reporter, stream: IO[str] | None) -> int:
    reporter.close()
    reporter.emit({"event": "result", "outputs": result.outputs, "stats": result.stats})
    if stream is None:
        text = result.text or "\n".join(f"{name}: {path}" for name, path in result.outputs.items())
        if getattr(args, "json", False) and result.answer is not None:
            text = json.dumps(result.answer, indent=2, ensure_ascii=False)
        try:
            print(text, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader (head, less) has seen enough
        except UnicodeEncodeError:
            print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    return 0


def _fail(error: BaseException, debug: bool, reporter: Reporter | None) -> int:
    told = known(error)
    message = " ".join(str(told).split())
    if reporter is not None:
        reporter.close()
        reporter.emit({"event": "error", "code": told.slug, "message": message, "exit": told.exit_code})
    if debug:
        traceback.print_exception(error)
    with suppress(BrokenPipeError):
        line = f"error: {message}"
        encoding = sys.stderr.encoding or "ascii"
        print(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr, flush=True)
    return told.exit_code


def _give_up(reporter: Reporter, last_words: threading.Lock) -> None:
    """Ends a process that did not stop by itself in time; called by the watchdog."""
    if not last_words.acquire(blocking=False):
        return  # the run has just ended by itself
    reporter.cancellation.run_cleanups()
    # In a thread: where nobody reads our output any more, saying it may block for ever.
    error = reporter.cancellation.told()
    words = threading.Thread(target=_fail, args=(error, False, reporter), daemon=True)
    words.start()
    words.join(WORDS_S)
    os._exit(Cancelled.exit_code)
