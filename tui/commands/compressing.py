"""The commands that make pruned models small: in one file, or by smaller matrices."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .generating import ModelArgument
from .options import JsonOption

if TYPE_CHECKING:
    from ...core.decoding.loading import Found
    from ...core.home import Home
    from ...core.methods.compressed import Part


def add_to(app: typer.Typer) -> None:
    """Put the commands into the app."""
    app.command()(compress)
    app.command()(decompress)
    app.command()(shrink)


def compress(
    context: typer.Context,
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    values: Annotated[
        Literal["int8", "float16", "exact"],
        typer.Option(help="What matrices are rounded to: int8 with a scale for each, float16, or nothing at all."),
    ] = "int8",
    as_json: JsonOption = False,
) -> None:
    """Write a model into one small file; a pruned one takes little more than what was kept of it."""
    from ...core.methods.compressed import compress as write
    from ...core.methods.compressed import sizes_of
    from .output import notice, print_json

    found = _on_this_machine(model, context.obj)
    written = write(Path(found.source), file, values)
    parts = sizes_of(written.contents)
    if as_json:
        print_json({"model": found.name, "file": str(file), "zeroed": written.zeroed, **_facts(parts)})
        return
    _print_sizes(parts)
    if written.zeroed:
        notice(f"{written.zeroed:,} weights became zero, since {values} has no value as small")
    if written.left_out:
        notice(f"not taken along: {', '.join(written.left_out)}")


def decompress(
    file: Annotated[Path, typer.Argument(help="A file that `lmwb compress` wrote.")],
    folder: Annotated[Path, typer.Argument(help="The folder to make; transformers loads it.")],
    as_json: JsonOption = False,
) -> None:
    """Write the model in a compressed file into a folder."""
    from ...core.methods.compressed import decompress as write
    from ...core.methods.compressed import sizes_of
    from .output import print_json

    parts = sizes_of(write(file, folder))
    if as_json:
        print_json({"file": str(file), "folder": str(folder), **_facts(parts)})
    else:
        _print_sizes(parts)


def shrink(
    context: typer.Context,
    model: ModelArgument,
    folder: Annotated[Path, typer.Argument(help="The folder to make.")],
    uniform: Annotated[
        bool, typer.Option("--uniform", help="Only as far as transformers itself can load it: see below.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take the heads and neurons out of a model that pruning left without effect; it says the same, but faster.

    Layers of different sizes are loaded by lmwb wherever it takes a model, not by transformers alone. With --uniform
    all heads stay, and every layer keeps as many neurons as the one that needs most.
    """
    from dataclasses import asdict

    from ...core.models.shrinking import write_shrunk
    from .output import notice, print_json, print_table

    found = _on_this_machine(model, context.obj)
    shrunk = write_shrunk(Path(found.source), folder, uniform, notice)
    layers = list(zip(shrunk.before, shrunk.after, strict=True))
    weights = {"weights_before": shrunk.weights_before, "weights": shrunk.weights_after}
    if as_json:
        sizes = [{"before": asdict(before), "after": asdict(after)} for before, after in layers]
        print_json({"model": found.name, "folder": str(folder), **weights, "layers": sizes})
        return
    rows = [
        (str(number), str(after.heads), str(before.heads), f"{after.width:,}", f"{before.width:,}")
        for number, (before, after) in enumerate(layers)
    ]
    print_table(("layer", "heads", "of", "neurons", "of"), rows, right=range(5))
    print(f"{weights['weights']:,} of {weights['weights_before']:,} weights")


def _on_this_machine(model: str, home: "Home") -> "Found":
    """The folder that a reference leads to.

    Raises:
        UsageError: there is none.
    """
    from ...core.decoding.loading import find
    from .output import notice

    found = find(model, home, notice)
    if not Path(found.source).is_dir():
        raise UsageError(f"'{printable(found.name)}' is no run, and no folder on this machine")
    return found


def _facts(parts: "list[Part]") -> dict[str, Any]:
    from dataclasses import asdict

    from ...core.methods.compressed import total

    return {"bytes": total(parts).after, "parts": [{**asdict(part), "after": part.after} for part in parts]}


def _print_sizes(parts: "list[Part]") -> None:
    """The sizes in bytes; what is kept, in percent."""
    from ...core.methods.compressed import total
    from .output import print_table

    head = ("part", "weights", "kept %", "before", "positions", "values", "file")
    rows = [
        (
            part.name,
            f"{part.weights:,}",
            f"{100 * part.kept / part.weights:.4g}" if part.weights else "",
            *(f"{size:,}" for size in (part.before, part.positions, part.values, part.after)),
        )
        for part in (*parts, total(parts))
    ]
    print_table(head, rows, right=range(1, len(head)))
