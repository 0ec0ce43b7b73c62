"""Which Python has the engine: the setting, else CDENGINE_PYTHON, else the plugin's own managed environment.

The first of these that is set is the answer, also when it turns out to be wrong: a setting that leads nowhere is an
error that names it, and never a reason to try the next one in silence.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional

from .child import WINDOWS, Child, StartFailed
from .process import EngineCancelled, describe_exit, last_words

VARIABLE = "CDENGINE_PYTHON"
POINTER = "current"  # a file in the managed folder with the name of the environment in use
# Importing torch from a cold disk, with a virus scanner looking on, takes this long on some machines.
PROBE_TIMEOUT_S = 120.0

HOW_TO_SET_UP = (
    "Install it from the Processing toolbox (Change detection > Set up > Install the engine), "
    "or name a Python that has it in Settings > Options > Processing > Providers > Change detection > Engine Python "
    f"(or in the environment variable {VARIABLE})."
)


class EngineMissing(Exception):
    """No usable engine; the text says what is wrong and how to mend it."""


@dataclass(frozen=True)
class Engine:
    """An interpreter that should have the engine, and who named it."""

    python: str
    origin: str


@dataclass(frozen=True)
class Report:
    """What the engine's `doctor` said of itself."""

    version: str
    answer: Dict[str, Any]

    @property
    def problems(self) -> List[str]:
        """What the engine itself finds missing, each with its remedy."""
        checks = self.answer.get("checks")
        failed = [
            check
            for check in (checks if isinstance(checks, list) else [])
            if isinstance(check, dict) and not check.get("ok") and check.get("required", True)
        ]
        return [f"{check.get('name')}: {check.get('detail')}; {check.get('remedy')}" for check in failed]


def find(setting: str, environ: Mapping[str, str], managed: str) -> Engine:
    """Finds the interpreter, without starting anything.

    Args:
        setting: value of `cdengine/python`, empty where not set.
        environ: usually `os.environ`.
        managed: folder of the managed environments; need not exist.

    Raises:
        EngineMissing: none is named, or the one that is named is not there.
    """
    for named, origin in (
        (setting, "the setting Engine Python"),
        (environ.get(VARIABLE, ""), f"the environment variable {VARIABLE}"),
    ):
        named = named.strip().strip('"')
        if named:
            return Engine(_checked(named, origin), origin)
    python = managed_python(managed)
    if python is None:
        raise EngineMissing("The change detection engine is not set up. " + HOW_TO_SET_UP)
    return Engine(python, "the plugin's own environment")


def managed_python(managed: str) -> Optional[str]:
    """Interpreter of the managed environment in use, or None where there is none."""
    try:
        with open(os.path.join(managed, POINTER), encoding="utf-8") as pointer:
            name = pointer.read().strip()
    except OSError:
        return None
    python = python_in(os.path.join(managed, name))
    return python if name and os.path.isfile(python) else None


def python_in(environment: str) -> str:
    """Path of the interpreter inside a virtual environment."""
    return os.path.join(environment, *(("Scripts", "python.exe") if WINDOWS else ("bin", "python")))


def _checked(path: str, origin: str) -> str:
    path = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(path):
        # People name the environment's folder; that is as good.
        inside = python_in(path)
        if os.path.isfile(inside):
            return inside
        raise EngineMissing(f"{origin} names the folder {path}, which holds no Python: name the interpreter itself.")
    if not os.path.isfile(path):
        raise EngineMissing(f"{origin} names {path}, which does not exist. " + HOW_TO_SET_UP)
    if not os.access(path, os.X_OK):
        raise EngineMissing(f"{origin} names {path}, which may not be executed: name a Python interpreter.")
    return path


def probe(
    engine: Engine, environ: Dict[str, str], cache: Optional[str] = None, cancelled: Callable[[], bool] = lambda: False
) -> Report:
    """Asks the engine for its versions (`doctor --json`), or an earlier answer if nothing was installed since.

    Args:
        engine: the interpreter.
        environ: environment for the child.
        cache: file that keeps the answers.
        cancelled: asked ten times a second.

    Raises:
        EngineMissing: that Python has no engine, or an unusable one.
        EngineCancelled: `cancelled()` said so.
    """
    stamp = _stamp(engine.python)
    known = _read_cache(cache).get(engine.python)
    if isinstance(known, dict) and known.get("stamp") == stamp and isinstance(known.get("answer"), dict):
        answer = known["answer"]
    else:
        answer = _ask(engine, ["doctor", "--json"], environ, cancelled)
        models = _models(engine, environ, cancelled)
        _write_cache(cache, engine.python, {"stamp": stamp, "answer": answer, "models": models})
    return Report(_version(answer), answer)


def known_models(engine: Engine, cache: str) -> List[str]:
    """Names of the models that come with the engine, from its last answer; empty before the first run."""
    known = _read_cache(cache).get(engine.python)
    models = known.get("models") if isinstance(known, dict) else None
    return [str(name) for name in models] if isinstance(models, list) else []


def _models(engine: Engine, environ: Dict[str, str], cancelled: Callable[[], bool]) -> List[str]:
    shipped = _ask(engine, ["models", "--json"], environ, cancelled).get("shipped") or []
    return [str(model["name"]) for model in shipped if isinstance(model, dict) and "name" in model]


def _ask(
    engine: Engine, arguments: List[str], environ: Dict[str, str], cancelled: Callable[[], bool]
) -> Dict[str, Any]:
    """Runs a short command whose standard output is one JSON object."""
    lines: List[str] = []
    waited = 0.0
    try:
        child = Child(
            [engine.python, "-m", "cdengine", *arguments], environ, cwd=os.path.dirname(engine.python) or None
        )
    except StartFailed as error:
        raise EngineMissing(f"{error} (named by {engine.origin}). {HOW_TO_SET_UP}") from error
    with child:
        while not (child.returncode is not None and child.drained):
            lines += child.lines(0.1)
            waited += 0.1
            if cancelled():
                child.stop()
                raise EngineCancelled
            if waited > PROBE_TIMEOUT_S:
                raise EngineMissing(f"{engine.python} did not answer within {PROBE_TIMEOUT_S:.0f} s. {HOW_TO_SET_UP}")
        code, tail = child.returncode, [line for line in child.error_tail if line.strip()]
    with contextlib.suppress(ValueError):
        answer = json.loads("\n".join(lines))
        if isinstance(answer, dict):
            return answer
    if any("No module named" in line and "cdengine" in line for line in tail):
        raise EngineMissing(
            f"{engine.python} (named by {engine.origin}) does not have the package cdengine. {HOW_TO_SET_UP}"
        )
    raise EngineMissing(
        f"{engine.python} (named by {engine.origin}) did not answer `cdengine {' '.join(arguments)}`: "
        f"{describe_exit(code)}.{last_words(tail)}"
    )


def _version(answer: Dict[str, Any]) -> str:
    version = answer.get("version")
    versions = answer.get("versions")
    if version is None and isinstance(versions, dict):
        version = versions.get("cdengine")
    return "?" if version is None else str(version)


def _stamp(python: str) -> str:
    """Changes whenever something is installed into the interpreter's environment."""
    # bin/python is a link to the system's Python, whose date says nothing; installing touches site-packages.
    home = os.path.dirname(os.path.dirname(python))
    folders = [os.path.join(home, "Lib", "site-packages")]
    with contextlib.suppress(OSError):
        folders += sorted(
            os.path.join(home, "lib", name, "site-packages")
            for name in os.listdir(os.path.join(home, "lib"))
            if name.startswith("python")
        )
    return " ".join(str(os.stat(path).st_mtime_ns) for path in [python, *folders] if os.path.exists(path))


def _read_cache(cache: Optional[str]) -> Dict[str, Any]:
    if cache is None:
        return {}
    try:
        with open(cache, encoding="utf-8") as file:
            known = json.load(file)
    except (OSError, ValueError):
        return {}  # absent or damaged: asked again
    return known if isinstance(known, dict) else {}


def _write_cache(cache: Optional[str], key: str, value: Dict[str, Any]) -> None:
    if cache is None:
        return
    known = _read_cache(cache)
    known[key] = value
    temporary = f"{cache}.{os.getpid()}"
    with contextlib.suppress(OSError):  # a profile that may not be written to costs a second at each run, no more
        os.makedirs(os.path.dirname(cache), exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(known, file, ensure_ascii=False)
        os.replace(temporary, cache)
