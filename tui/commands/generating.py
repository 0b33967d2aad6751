"""The command that lets a model go on from prompts, and shows how it came to its words."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...core.errors import UsageError
from ...core.text import printable
from .generated import PICTURES, Result, pages, print_document, print_raw, save_plot
from .options import JsonOption
from .painting import ColorOption, Mapping, PaletteOption, Sheet
from .texts import given_text, read_text

if TYPE_CHECKING:
    from ...core.recipe.schema import Decoding

_BLOCKS = {"unigrams": 1, "bigrams": 2, "trigrams": 3}

ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run (RUN, RUN/STAGE, RUN@STEP), a folder, or a name on the hub.",
        show_default=False,
    ),
]
DeviceOption = Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:1, mps.")]


def add_to(app: typer.Typer) -> None:
    """Put the command into the app."""
    app.command()(generate)


def generate(
    context: typer.Context,
    model: ModelArgument,
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT...", help="Texts to go on from.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A prompt a line; `-` is standard input.", show_default=False)
    ] = None,
    search: Annotated[
        Literal["beam", "greedy", "sample"] | None,
        typer.Option(help="How to search; `beam`, or `sample` if an option for drawing is given.", show_default=False),
    ] = None,
    beams: Annotated[
        str | None, typer.Option(metavar="N[,N...]", help="Beams, 5 if not given; several numbers are compared.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Texts to draw for each prompt.", show_default=False)] = None,
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 32,
    block: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="What may not come twice: words, trigrams, 4-grams; may be repeated."),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Below 1 the likely becomes likelier.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens of this probability.")] = None,
    min_p: Annotated[float | None, typer.Option(help="Draw from tokens of this share of the likeliest.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same tokens.", show_default=False)] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Stop at the end of text.")] = False,
    length_penalty: Annotated[float, typer.Option(help="Above 0 favours long texts.")] = 0.0,
    early_stopping: Annotated[
        bool, typer.Option("--early-stopping", help="End with as many finished texts as beams.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Any key of a recipe's table decoding, such as alternatives=20; overrules options; may be repeated.",
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="One prompt at a time: no figure depends on the others.")
    ] = False,
    tree: Annotated[
        bool, typer.Option("--tree", help="Show every step: candidates, what was kept and dropped.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Show every token's numbers.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the probability of each token of the best text.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"Write that plot: .{', .'.join(PICTURES)}.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Another model to put beside it.", show_default=False)
    ] = None,
    mapping: Annotated[Mapping, typer.Option(help="What the colours mean.")] = "probability",
    palette: PaletteOption = "rdylbu",
    color: ColorOption = "auto",
    as_json: JsonOption = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print the texts alone, byte for byte; control characters get through.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Let a model go on from prompts; tokens are coloured by how likely they were."""
    from ...core.recipe.decoding import decoding_of
    from .output import notice

    if as_json and raw:
        raise UsageError("choose one of --json and --raw")
    if save is not None and save.suffix[1:] not in PICTURES:
        raise UsageError(f"{printable(str(save))} must end with .{', .'.join(PICTURES)}")
    drawing = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "seed": seed}
    drawing = {key: value for key, value in {**drawing, "samples": samples}.items() if value is not None}
    common: dict[str, Any] = {
        "search": search or ("sample" if drawing else "beam"),
        "tokens": tokens,
        "processors": [_processor(what) for what in block or ()],
        "end": "stop" if stop else "ignore",
        "length_penalty": length_penalty,
        "early_stopping": early_stopping,
        "exact": exact,
        **drawing,
        **_changed(changes or (), block),
    }
    several = [decoding_of({**common, **sized}) for sized in _sizes(common["search"], beams)]
    texts = _prompts(prompts or (), file)
    results = _results(context.obj, [model, *([compare] if compare is not None else [])], several, texts, device)
    for result in results:
        for note in dict.fromkeys(note for one in result.generations for note in one.notes):
            notice(f"{result.model}: {note}")
    if save is not None:
        save_plot(results, save)
        notice(str(save))
    if as_json:
        print_document(results)
    elif raw:
        print_raw(results)
    else:
        sheet = Sheet(color)
        sheet.print(pages(results, sheet.pen(mapping, palette), tree, table, plot))


# -- what is asked ----------------------------------------------------------------------------------


def _sizes(search: str, beams: str | None) -> list[dict[str, int]]:
    """The number of beams of each search, as settings."""
    if beams is None:
        return [{}]
    if search != "beam":
        raise UsageError(f"--beams is for beam search, and this is '{search}'; --samples says how many texts to draw")
    if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", beams):
        raise UsageError(f"--beams must be a number or several with commas, such as 1,2,5, not '{printable(beams)}'")
    return [{"beams": int(size)} for size in dict.fromkeys(beams.split(","))]


def _processor(what: str) -> dict[str, Any]:
    if what == "words":
        return {"kind": "words"}
    n = _BLOCKS.get(what) or (int(match[1]) if (match := re.fullmatch(r"(\d{1,9})-?grams?", what)) else None)
    if n is None:
        raise UsageError(
            f"--block must be words, bigrams, trigrams or N-grams such as 4-grams, not '{printable(what)}'"
        )
    return {"kind": "ngrams", "n": n}


def _changed(changes: Sequence[str], block: Sequence[str] | None) -> dict[str, Any]:
    """What `--set` says, by key."""
    from ...core.recipe.overrides import toml_value

    found: dict[str, Any] = {}
    for argument in changes:
        key, sign, text = argument.partition("=")
        if not sign:
            raise UsageError(f"--set {printable(argument)} is not of the form key=value, such as alternatives=20")
        value = toml_value(text.strip())
        found[key.strip()] = text.strip() if value is None else value
    if block and "processors" in found:
        raise UsageError("choose one of --block and --set processors=…; a list of processors says all of them")
    return found


def _prompts(given: Sequence[str], file: Path | None) -> list[str]:
    """The prompts of the command line, then those of the file; empty lines are left out and told."""
    from .output import notice

    texts = [given_text(word) for word in given]
    if file is not None:
        lines = [line.removesuffix("\r") for line in read_text(str(file)).removesuffix("\n").split("\n")]
        texts += [line for line in lines if line]
        if empty := lines.count(""):
            notice(f"{file}: {empty} empty line{'s are' if empty > 1 else ' is'} left out")
    if not texts:
        raise UsageError("there is no prompt; give one, or a file with --file")
    return texts


def _results(
    home: Any, models: Sequence[str], several: "Sequence[Decoding]", texts: Sequence[str], device: str
) -> list[Result]:
    from ...core.decoding.generate import generate as go_on
    from ...core.decoding.loading import load
    from .output import notice

    results: list[Result] = []
    for reference in models:
        loaded = load(reference, home, device, tell=notice)
        results += [Result(loaded.name, settings, go_on(loaded, texts, settings)) for settings in several]
    return results
