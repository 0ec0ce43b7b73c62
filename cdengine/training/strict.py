"""A recipe file to plain values, and these to data classes, strictly: a fault is one line that names the key.

YAML here means plain data: no tags, no key twice, no anchors that unfold to masses. Numbers and booleans are those of
YAML 1.2 (`1e-4` is a number, `no` is a word). jsonargparse checks and converts the types.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from cdengine.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_VALUES = 10_000  # of a whole file, aliases unfolded: a recipe has some fifty
MAX_DEPTH = 20
CODE_KEYS = ("class_path", "init_args")  # how jsonargparse and Lightning files name code to run; nothing here does
T = TypeVar("T")
Tree = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2 scalars and without duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 -- PyYAML's own type

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are texts, each given once."""
        found: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise ConfigError(f"line {line}: the key {str(key)[:60]!r} must be a word")
            if key in found:
                raise ConfigError(f"line {line}: key {key[:60]!r} is given twice: keep one")
            found[key] = self.construct_object(value_node, deep=True)
        return found


for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
# PyYAML reads 010 as octal and 1:30 as base 60; a plain int() and float() do not.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_mapping)


def shipped_recipes() -> dict[str, Path]:
    """Name → file of the recipes that come with the engine, such as `starter` and `senseearth/chain`."""
    package = Path(__file__).parents[1]
    inside = package / "configs"  # of a wheel; a checkout has them beside the package
    folder = inside if inside.is_dir() else package.parent / "configs"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def _recipe(path: str | os.PathLike[str]) -> Path:
    """The file, or the shipped recipe of that name where there is no such file.

    Raises:
        ConfigError: there is neither.
    """
    if os.path.exists(path):
        return Path(path)
    shipped = shipped_recipes()
    name = Path(path).as_posix().removesuffix(".yaml").removeprefix("configs/")
    if name in shipped:
        return shipped[name]
    raise ConfigError(f"{path}: there is no such file, nor a recipe of that name among {', '.join(shipped)}")


def read_yaml(path: str | os.PathLike[str]) -> Tree:
    """A recipe as nested dicts: a file, or one that comes with the engine, by name (`shipped_recipes`).

    Raises:
        ConfigError: it is missing, too large, no YAML, or holds what no recipe needs; the message names file and line.
    """
    path = _recipe(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason})") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: more than {MAX_BYTES:,} bytes cannot be a recipe")
    tree = _parse(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold `key: value` lines")
    return tree


def _parse(text: str, where: str) -> Any:  # noqa: ANN401 -- whatever the text says
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _bound(node, 0, 0)
        return loader.construct_document(node)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    except yaml.constructor.ConstructorError as error:
        mark = error.problem_mark
        at = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{at}: {error.problem}: a recipe holds plain values only") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{where}{at}: not valid YAML ({reason})") from None
    finally:
        loader.dispose()


def _bound(node: yaml.Node, count: int, depth: int) -> int:
    """Counts values as if every alias were written out; ten lines of aliases can stand for 10**9 of them."""
    count += 1
    if count > MAX_VALUES or depth > MAX_DEPTH:
        raise ConfigError(f"unfolds to more than {MAX_VALUES:,} values or {MAX_DEPTH} levels: write it without anchors")
    children = node.value if isinstance(node.value, list) else []
    for child in children:
        for item in child if isinstance(child, tuple) else (child,):
            count = _bound(item, count, depth + 1)
    return count


def apply_sets(tree: Tree, sets: list[str] | tuple[str, ...]) -> Tree:
    """A copy of the tree with `KEY=VALUE` settings put in; KEY is dotted, VALUE is YAML.

    Raises:
        ConfigError: not of that form, or the key leads through a value.
    """
    changed: Tree = _copied(tree)
    for setting in sets:
        key, equals, text = setting.partition("=")
        names = key.strip().split(".")
        if not equals or not all(names):
            raise ConfigError(f"--set {setting[:80]!r}: must be KEY=VALUE, such as optimiser.learning_rate=1e-4")
        inner = changed
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"--set {key}: {name} is a value, not a section")
        inner[names[-1]] = _parse(text, f"--set {key}")
    return changed


def _copied(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def fill(kind: type[T], tree: Tree, where: str) -> T:
    """Makes the data class of a tree.

    Args:
        kind: a data class; its fields may be data classes.
        tree: nested dicts.
        where: the file, for messages.

    Raises:
        ConfigError: a key is unknown (the nearest is named), missing, or its value has the wrong type.
    """
    _refuse_code(tree, where, "")
    _check_keys(kind, tree, where, "")
    parser = ArgumentParser(exit_on_error=False, default_env=False)
    parser.add_class_arguments(kind, "config")
    try:
        values = parser.parse_object({"config": tree}).as_dict()["config"]
    except ArgumentError as error:
        raise ConfigError(f"{where}: {_explained(kind, tree, str(error))}") from None
    return _made(kind, values)


def _refuse_code(value: Any, where: str, path: str) -> None:  # noqa: ANN401
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key in CODE_KEYS:
            raise ConfigError(f"{where}: {path}{key}: a recipe names no code to run; remove it")
        _refuse_code(item, where, f"{path}{key}.")


def _check_keys(kind: Any, tree: Mapping[str, Any], where: str, path: str) -> None:  # noqa: ANN401
    types, known = get_type_hints(kind), [item.name for item in fields(kind)]
    for key, value in tree.items():
        if key not in known:
            raise ConfigError(f"{where}: unknown key {path}{key[:60]}{_nearest(key, known, path)}")
        section = _section(types[key])
        if section is not None and not (value is None and section is not types[key]):
            if not isinstance(value, dict):
                raise ConfigError(f"{where}: {path}{key} is a section: put `key: value` lines under it")
            _check_keys(section, value, where, f"{path}{key}.")
    for item in fields(kind):
        required = item.default is MISSING and item.default_factory is MISSING
        if required and tree.get(item.name) is None:
            raise ConfigError(f"{where}: {path}{item.name} is missing: give it there or with --set")


def _section(hint: Any) -> Any:  # noqa: ANN401
    """The data class of a field's type, also where it may be null; None for plain values."""
    choices = (hint, *getattr(hint, "__args__", ()))
    return next((choice for choice in choices if isinstance(choice, type) and is_dataclass(choice)), None)


def _nearest(key: str, known: list[str], path: str) -> str:
    near = get_close_matches(key, known, 1, 0.5)
    return f": did you mean {path}{near[0]}?" if near else f" (known: {', '.join(known)})"


def _explained(kind: Any, tree: Tree, message: str) -> str:  # noqa: ANN401
    """One line of ours for jsonargparse's several."""
    found = re.search(r'key "config\.([\w.]+)"', message)
    if found is None:
        return " ".join(message.split())
    key = found.group(1)
    hint, value = kind, tree
    for name in key.split("."):
        section = _section(hint)
        if section is not None:
            hint = get_type_hints(section)[name]
            value = value.get(name, {}) if isinstance(value, dict) else value
    return f"{key}: must be {_wording(hint)}, not {str(value)[:60]!r}"


def _wording(hint: Any) -> str:  # noqa: ANN401
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if hint in names:
        return names[hint]
    if is_dataclass(hint):
        return "a section with values of the right kinds"
    inner = [item for item in getattr(hint, "__args__", ()) if item is not Ellipsis]
    if str(hint).startswith("typing.Literal"):
        return "one of " + ", ".join(map(str, inner))
    if getattr(hint, "__origin__", None) in (list, tuple):
        return f"a list, each item {_wording(inner[0])}"
    if getattr(hint, "__origin__", None) is dict:
        return "a section"
    return " or ".join(_wording(item) for item in inner)


def _made(kind: type[T], values: Mapping[str, Any]) -> T:
    types: dict[str, Any] = get_type_hints(kind)
    made = {}
    for key, value in values.items():
        section = _section(types[key])
        made[key] = value if section is None or value is None else _made(section, value)
    return kind(**made)
