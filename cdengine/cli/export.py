"""`export`: a model file as ONNX or as a program of torch.export."""

from __future__ import annotations

import argparse
from pathlib import Path

from cdengine.cli.result import Result
from cdengine.errors import UsageError
from cdengine.events import Reporter

SUFFIXES = (".onnx", ".pt2")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.formatter_class = argparse.HelpFormatter
    parser.add_argument("model", metavar="MODEL", help="model file (.safetensors) or the name of a shipped model")
    parser.add_argument(
        "--output", required=True, metavar="FILE", help="by suffix: .onnx (ONNX) or .pt2 (program of torch.export)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


def run(args: argparse.Namespace, reporter: Reporter) -> Result:
    """Exports, and tells how far the result is from torch."""
    output = Path(args.output)
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--output {args.output}: the suffix must be .onnx or .pt2")
    from cdengine.models.shipped import model_path
    from cdengine.raster.publish import Publication

    source = model_path(args.model)
    publication = Publication(
        {"model": output},
        inputs=[source],
        overwrite=args.overwrite,
        job="export",
        reporter=reporter,
        main="model",
    )
    from cdengine.models.container import read_header

    read_header(source)  # a bad file is refused before torch is imported
    with publication:
        from cdengine.models.exporting import export_onnx, export_program
        from cdengine.models.modelfile import load_model

        write = export_onnx if output.suffix.lower() == ".onnx" else export_program
        exported = write(load_model(source), publication.temporary("model"), reporter)
        publication.commit()
    kind = f"ONNX, opset {exported.opset}" if exported.opset else "torch.export"
    return Result(
        outputs={"model": str(output)},
        stats={"difference": exported.difference, "compared": len(exported.shapes)},
        text=(
            f"{output}: {kind}; probabilities within {exported.difference:.1g} of torch's "
            f"on {len(exported.shapes)} random batches"
        ),
    )
