"""How well every network of a chain does: measured one by one, and what is measured stays measured."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cdengine import __version__
from cdengine.events import Reporter
from cdengine.inference.evaluate import evaluate
from cdengine.inference.pseudolabel import FACTS
from cdengine.training.chaincheck import Measure
from cdengine.training.chainconfig import TOGETHER, Chain, Member
from cdengine.training.chainfolder import FIGURES, REPORT, TABLE
from cdengine.training.chainreport import write_chain_report
from cdengine.training.checkpoint import write_whole
from cdengine.training.config import DataConfig, portable

SHOWN = ("score", "miou", "sek", "fscd", "f1", "iou", "kappa")
Figures = dict[str, dict[str, Any]]


def measure_all(chain: Chain, measure: Measure, labels: dict[str, Any], reporter: Reporter) -> Figures:
    """Measures the networks that are not measured yet; writes chain.json after each, table and report at the end.

    Args:
        chain: whose networks are trained.
        measure: on what they are measured.
        labels: of `read_labels`.
        reporter: takes progress and figures.

    Returns:
        Member's name → role and figures.
    """
    kept = _kept(chain.output / FIGURES, reporter)
    measured = {member.config.name: (member.role, [model_file(member)]) for member in chain.members}
    students = [model_file(member) for member in chain.of("student")]
    if len(students) > 1:
        measured[TOGETHER] = ("mean of the students' probabilities", students)
    sums = {name: [_sha256(path) for path in paths] for name, (_, paths) in measured.items()}
    figures = {
        name: kept["figures"][name]
        for name in measured
        if kept["models"].get(name) == sums[name] and _there(chain, f"{name}.json", f"{name}.html")
    }
    if kept["finished"] and len(figures) == len(measured) and _there(chain, REPORT, TABLE):
        reporter.info("the figures are there already")
        return figures
    told = {**asdict(measure), "tta": chain.config.evaluation.tta}

    def write(finished: bool) -> None:
        content = {"version": __version__, "finished": finished, "evaluation": told, "figures": figures}
        content |= {"models": {name: sums[name] for name in figures}, "pseudo_labels": labels}
        write_whole(chain.output / FIGURES, json.dumps(content, indent=2, ensure_ascii=False).encode())

    for name, (role, paths) in measured.items():
        if name in figures:
            reporter.info(f"the figures of {name} are there already")
        else:
            figures[name] = {"role": role, **_measured(chain, measure, name, paths, reporter)}
            write(finished=False)
    figures = {name: figures[name] for name in measured}
    write_whole(chain.output / TABLE, _csv(figures).encode())
    page = write_chain_report(figures, labels, asdict(portable(chain.members[0].config)), told)
    write_whole(chain.output / REPORT, page.encode())
    write(finished=True)
    return figures


def read_labels(chain: Chain) -> dict[str, Any] | None:
    """What the finished pseudo labels tell of themselves; None where they are not finished, or that file is damaged."""
    found = _json(chain.pseudo_labels / FACTS)
    whole = {"models", "class_share", "labelled_share_of_unchanged"} <= found.keys()
    return found if whole else None


def model_file(member: Member) -> str:
    """Of a member's run."""
    return str(Path(str(member.config.output)) / "model.safetensors")


def voters(chain: Chain) -> list[str]:
    """Checksums of the teachers' files, as pseudo-labels.json has them."""
    return [_sha256(model_file(member)) for member in chain.of("teacher")]


def reading(data: DataConfig) -> dict[str, Any]:
    """How the data set is read, as `evaluate` and `pseudo-label` are told it."""
    bands = {
        name: ",".join(map(str, numbers)) or None
        for name, numbers in (("bands_before", data.bands_before), ("bands_after", data.bands_after))
    }
    return {"classes": tuple(data.classes), "label_coding": data.coding, **bands}


def _measured(chain: Chain, measure: Measure, name: str, models: list[str], reporter: Reporter) -> dict[str, float]:
    data, trainer = chain.members[0].config.data, chain.members[0].config.trainer
    done = evaluate(
        data.root,
        data.layout,
        measure.split,
        models,
        ensemble=len(models) > 1,
        tta=chain.config.evaluation.tta,
        device=trainer.device,
        precision=trainer.precision,
        output=str(chain.output / f"{name}.json"),
        report=str(chain.output / f"{name}.html"),
        overwrite=True,
        reporter=reporter,
        **reading(data),
    )
    for key in ("score", "miou", "sek", "fscd"):
        reporter.metric(f"{name}_{key}", float(done.pooled[key]), step=0)
    return {key: done.pooled[key] for key in SHOWN if key in done.pooled}


def _there(chain: Chain, *names: str) -> bool:
    return all((chain.output / name).is_file() for name in names)


def _kept(path: Path, reporter: Reporter) -> dict[str, Any]:
    """Figures, checksums of the models that they are of, and whether that was all."""
    found = _json(path)
    figures, models = found.get("figures"), found.get("models")
    if isinstance(figures, dict) and isinstance(models, dict):
        rows = {name: row for name, row in figures.items() if isinstance(row, dict) and {"role", *SHOWN} <= row.keys()}
        return {"finished": found.get("finished") is True, "figures": rows, "models": {n: models.get(n) for n in rows}}
    if path.is_file():
        reporter.warning(f"{path} is damaged, or of an older cdengine: the networks are measured again")
    return {"finished": False, "figures": {}, "models": {}}


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _csv(figures: Figures) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "role", *SHOWN])
    writer.writerows([name, row["role"], *(row.get(key, "") for key in SHOWN)] for name, row in figures.items())
    return text.getvalue()
