"""`train`: a recipe in, a run folder with a model out."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from cdengine.cli.result import Result
from cdengine.errors import ConfigError, ResumeMismatchError
from cdengine.events import Reporter

if TYPE_CHECKING:
    from cdengine.training.config import TrainConfig

# What may differ when a run goes on: where things are and what computes, never what is computed.
MACHINE = ("output", "data.root", "data.workers", "trainer.device", "model.weights", "model.pretrained")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    parser.add_argument("--config", metavar="FILE", help="recipe (YAML); see configs/")
    parser.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="change a value of the recipe, such as optimiser.learning_rate=1e-4; may be given several times",
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder")
    parser.add_argument("--output", metavar="DIR", help="run folder (default: the recipe's, else runs/NAME)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in the folder")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Trains."""
    if args.config is None and args.resume is None:
        raise ConfigError("--config FILE is missing: name a recipe, or a run with --resume")
    chained = _chain(args, reporter)
    if chained is not None:
        return chained
    with reporter.stage("starting", 1, "step"):  # torch and timm take seconds to load
        config = _resumed(args) if args.resume is not None else _fresh(args)
        from cdengine.training.fit import train

    if os.environ.get("LOCAL_RANK", "0") != "0":
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 -- the first process tells the result
    done = train(config, reporter, overwrite=args.overwrite, resume=args.resume is not None)
    outputs = {"run": done.run, "model": done.model, "report": done.run / "report.html"}
    figures = ", ".join(
        f"{name} {done.metrics[name]:.3f}" for name in done.metrics if name not in ("threshold", "epoch")
    )
    lines = [
        f"best epoch {done.metrics['epoch']:.0f}: {figures} (validation, threshold {done.metrics['threshold']:.3g})"
    ]
    lines += [f"{name + ':':<8}{path}" for name, path in outputs.items()]
    return Result({name: str(path) for name, path in outputs.items()}, dict(done.metrics), "\n".join(lines))


def _chain(args: argparse.Namespace, reporter: Reporter) -> Result | None:
    """Runs a recipe with a section `chain`; None for every other one."""
    from pathlib import Path

    from cdengine.training.strict import read_yaml

    if args.resume is not None:
        chained = (Path(args.resume) / "chain.yaml").is_file()
    else:
        chained = "chain" in read_yaml(args.config)
    if not chained:
        return None
    with reporter.stage("starting", 1, "step"):  # torch and timm take seconds to load
        from cdengine.training.chain import resumed_chain, run_chain
        from cdengine.training.chainconfig import load_chain

    if args.resume is not None:
        if args.overwrite or args.output is not None:
            raise ConfigError("--resume goes on in its own folder: leave --output and --overwrite out")
        chain = resumed_chain(args.resume, args.config, _sets(args))
    else:
        chain = load_chain(args.config, _sets(args))
    done = run_chain(chain, reporter, resume=args.resume is not None, overwrite=args.overwrite)
    width = max(map(len, done.figures))
    lines = [
        f"{name:<{width}}  Score {row['score']:.4f}  mIoU {row['miou']:.4f}  SeK {row['sek']:.4f}  ({row['role']})"
        for name, row in done.figures.items()
    ]
    outputs = {"run": str(done.run), "model": str(done.model), "report": str(done.report)}
    lines += [f"{name + ':':<8}{path}" for name, path in outputs.items()]
    stats = {f"{name}_{key}": float(row[key]) for name, row in done.figures.items() for key in row if key != "role"}
    best = done.figures[done.best]
    return Result(outputs, {**{key: float(best[key]) for key in best if key != "role"}, **stats}, "\n".join(lines))


def _fresh(args: argparse.Namespace) -> TrainConfig:
    from cdengine.training.config import load_config

    return load_config(args.config, _sets(args))


def _resumed(args: argparse.Namespace) -> TrainConfig:
    """The run's own configuration, moved to this machine; anything else that is asked for must be what it has.

    Raises:
        ConfigError: the folder holds no run.
        ResumeMismatchError: the recipe or a setting is another job's.
    """
    from pathlib import Path

    from cdengine.training.config import first_difference, load_config

    if args.overwrite or args.output is not None:
        raise ConfigError("--resume goes on in its own folder: leave --output and --overwrite out")
    own = Path(args.resume) / "config.yaml"
    if not own.is_file():
        raise ConfigError(f"--resume {args.resume}: no config.yaml there, so it is not the folder of a run")
    kept = load_config(own)
    asked = load_config(args.config or own, [*_sets(args), f"output={_quoted(args.resume)}"])
    differs = first_difference(kept, asked, MACHINE)
    if differs is not None:
        raise ResumeMismatchError(
            f"--resume {args.resume}: that run has another {differs}: leave the setting out, or start a new run"
        )
    return asked


def _sets(args: argparse.Namespace) -> list[str]:
    sets = list(args.set or ())
    if args.output is not None:
        sets.append(f"output={_quoted(args.output)}")
    if args.device != "auto":
        sets.append(f"trainer.device={_quoted(args.device)}")
    return sets


def _quoted(text: str) -> str:
    """A text as YAML that no other type is read from."""
    import json

    return json.dumps(text, ensure_ascii=False)
