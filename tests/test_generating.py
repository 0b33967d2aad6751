"""`lmwb generate` and `lmwb score` with tiny models whose tokens try everything."""

import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tiny
from lmwb.core.decoding import as_json
from lmwb.tui.cli import run

HOSTILE = ["\x1b]0;owned\x07", "\x1b[31m", "\x1b[2J", "\x9b31m", "\x00", "\x7f", "\u202eevil", "\u2066", "\u200d",
           "\u2028", "[/]", "[red]", "[@click=app.quit]x", "世界", "\u0301", "\r"]  # fmt: skip
OURS = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with hostile tokens, in a folder with a hostile name."""
    folder = tmp_path_factory.mktemp("models") / "mo\x1b[2Jdel[/]"
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens(HOSTILE)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|\x1b[1m|>"]})
    tokenizer.save_pretrained(folder)
    tiny.model(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def other(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model with the same tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("models") / "other"
    model = AutoModelForCausalLM.from_pretrained(hostile)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(hostile).save_pretrained(folder)
    return folder


@pytest.fixture
def say(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Carries out a command; what it printed on standard output."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")

    def said(*words: str, code: int = 0) -> bytes:
        assert run(["--home", str(tmp_path), *words]) == code, capfdbinary.readouterr().err
        done = capfdbinary.readouterr()
        assert_harmless(done.err)
        return done.err if code else done.out

    return said


def assert_harmless(output: bytes) -> None:
    """Nothing but our own colours could steer a terminal."""
    text = OURS.sub(b"", output).decode()
    foreign = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c != "\n"}
    assert foreign == set()


TEXT = "A cat" + "".join(HOSTILE) + "sat"
DRAW = ("--search", "sample", "--temperature", "1000", "--samples", "3", "--tokens", "60", "--seed", "4")


@pytest.mark.parametrize("color", ["always", "never"])
@pytest.mark.parametrize("shown", [("--tree", "--table", "--plot"), ("--json",)], ids=str)
def test_no_token_reaches_the_terminal_when_texts_are_generated(say, hostile: Path, color: str, shown: tuple[str, ...]):
    output = say("generate", str(hostile), TEXT, *DRAW, "--color", color, *shown)
    assert_harmless(output)
    assert (b"\x1b" in output) == (color == "always" and shown != ("--json",))
    if shown != ("--json",):
        assert "␛[31m" in output.decode()
        assert "[@click=app.quit]x" in output.decode()


@pytest.mark.parametrize("color", ["always", "never"])
@pytest.mark.parametrize("shown", [("--table",), ("--json",)], ids=str)
@pytest.mark.parametrize("compared", [False, True])
def test_no_token_reaches_the_terminal_when_texts_are_scored(
    say, hostile: Path, other: Path, color: str, shown: tuple[str, ...], compared: bool
):
    words = ("--compare", str(other)) if compared else ()
    output = say("score", str(hostile), TEXT, "--color", color, *shown, *words)
    assert_harmless(output)
    assert (b"\x1b" in output) == (color == "always" and shown != ("--json",))
    if shown != ("--json",):
        assert "␛]0;owned␇" in re.sub("[₀-₉₊₋\n]", "", OURS.sub(b"", output).decode())


def test_every_hostile_token_was_drawn_or_among_the_alternatives(say, hostile: Path):
    """So that the tests above show something."""
    document = json.loads(say("score", str(hostile), TEXT, "--json"))
    ids = {token["id"] for token in document["tokens"]}
    pieces = {document["pieces"][str(number)] for number in ids if isinstance(document["pieces"][str(number)], str)}
    assert pieces >= set(HOSTILE)
    drawn = say("generate", str(hostile), "A", *DRAW, "--json")
    assert b'"hex"' in drawn


def test_what_is_generated_round_trips_through_json(say, hostile: Path, other: Path):
    output = say("generate", str(hostile), TEXT, "The dog", "--compare", str(other), "--beams", "1,3", "--tokens", "5",
                 "--block", "trigrams", "--json")  # fmt: skip
    assert [c for c in output.decode() if not (" " <= c <= "~" or c == "\n")] == []
    results = json.loads(output)["results"]
    assert [(r["model"], r["decoding"]["beams"]) for r in results] == [
        (str(hostile), 1), (str(hostile), 3), (str(other), 1), (str(other), 3),
    ]  # fmt: skip
    assert results[0]["decoding"]["processors"] == [{"kind": "ngrams", "n": 3, "scope": "all"}]
    for result in results:
        assert [one["prompt"] for one in result["generations"]] == [TEXT, "The dog"]
        for one in result["generations"]:
            read = as_json.generation_from_dict(one)
            assert as_json.generation_as_dict(read) == one
            assert read.hypotheses[0].trace.text().startswith(one["prompt"])
            assert len(read.steps) == 5


def test_what_is_scored_round_trips_through_json(say, hostile: Path, other: Path):
    one = json.loads(say("score", str(hostile), TEXT, "--json"))
    trace = as_json.trace_from_dict(one)
    assert {"model": str(hostile), **as_json.trace_as_dict(trace)} == one
    assert trace.text() == TEXT
    both = json.loads(say("score", str(hostile), TEXT, "--json", "--compare", str(other)))
    before, after = (as_json.trace_from_dict(both[key]) for key in ("before", "after"))
    np.testing.assert_array_equal(before.logprob, trace.logprob)
    known = np.array(both["difference"][1:])
    np.testing.assert_allclose(known, (after.logprob - before.logprob)[1:], rtol=1e-6)
    assert np.abs(known).max() > 1e-3


def test_raw_is_the_text_byte_for_byte(say, hostile: Path):
    assert say("score", str(hostile), TEXT + "\n\tx", "--raw") == (TEXT + "\n\tx").encode()
    document = json.loads(say("generate", str(hostile), TEXT, "--tokens", "4", "--beams", "2", "--json"))
    best = as_json.generation_from_dict(document["results"][0]["generations"][0]).hypotheses[0].trace
    raw = say("generate", str(hostile), TEXT, "--tokens", "4", "--beams", "2", "--raw")
    assert raw == b"".join(best.pieces[int(i)] for i in best.ids if int(i) not in best.special) + b"\n"
    assert raw.startswith(TEXT.encode())


def test_colours_can_be_had_in_a_pipe_and_done_without(say, hostile: Path):
    words = ("generate", str(hostile), "A dog", "--beams", "2", "--tokens", "6")
    plain, coloured = say(*words).decode(), say(*words, "--color", "always").decode()
    assert "\x1b" not in plain
    assert "\x1b[" in coloured
    assert re.search("[₀-₉]", plain)
    assert not re.search("[₀-₉]", coloured)
    assert "₀ p<.1" in plain


def test_the_table_keeps_three_numbers_apart(say, hostile: Path):
    text = say("generate", str(hostile), "A dog ran", "--beams", "2", "--tokens", "6", "--block", "words", "--table")
    head = next(line for line in text.decode().splitlines() if "logprob" in line and "#" in line)
    assert head.split()[:8] == ["#", "token", "p", "logprob", "score", "renorm", "blocked", "rank"]
    document = json.loads(
        say("generate", str(hostile), "A dog ran", "--beams", "2", "--tokens", "6", "--block", "words", "--json")
    )
    token = document["results"][0]["generations"][0]["hypotheses"][0]["tokens"][-1]
    assert token["renormalised"] > np.exp(token["logprob"])
    assert 0 < token["blocked"] < 1


def test_the_tree_shows_parents_fates_and_the_way_of_the_best(say, hostile: Path):
    text = say("generate", str(hostile), "A dog", "--beams", "2", "--tokens", "3", "--tree").decode()
    assert [f"step {n}" in text for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert text.count("★") == 3
    assert len(re.findall("→ [12]", text)) == 6
    assert "dropped" in text
    assert re.search("├─|└─", text)
    assert max(map(len, text.splitlines())) <= 80


def test_a_plot_is_written_as_a_picture(say, hostile: Path, tmp_path: Path):
    for name, start in (("p.svg", b"<?xml"), ("p.png", b"\x89PNG")):
        say("generate", str(hostile), TEXT, "A", "--beams", "1,2", "--tokens", "4", "--save", str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(start)


def test_prompts_come_from_files_and_empty_lines_are_told(
    say, hostile: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
):
    (tmp_path / "prompts.txt").write_bytes("A dog\r\n\nThe\u2028cat\n".encode())
    words = ["--home", str(tmp_path), "generate", str(hostile), "first", "--file", str(tmp_path / "prompts.txt")]
    assert run([*words, "--search", "greedy", "--tokens", "1", "--json"]) == 0
    done = capfdbinary.readouterr()
    assert b"1 empty line is left out" in done.err
    prompts = [one["prompt"] for one in json.loads(done.out)["results"][0]["generations"]]
    assert prompts == ["first", "A dog", "The\u2028cat"]


def test_a_file_is_scored_by_its_name(say, hostile: Path, tmp_path: Path):
    (tmp_path / "text.txt").write_text(TEXT)
    by_name = json.loads(say("score", str(hostile), str(tmp_path / "text.txt"), "--json"))
    assert by_name == json.loads(say("score", str(hostile), TEXT, "--json"))


def test_what_looks_like_a_file_and_is_none_is_told(
    hostile: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
):
    assert run(["--home", str(tmp_path), "score", str(hostile), "stories.txt"]) == 0
    assert b"there is no file stories.txt" in capfdbinary.readouterr().err


def test_a_special_token_in_a_text_is_called_one(say, hostile: Path):
    text = say("score", str(hostile), "A cat<|\x1b[1m|>", "--table").decode()
    assert "<|␛[1m|>  special" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("generate", "MODEL"), "there is no prompt"),
        (("generate", "MODEL", "A", "--beams", "x"), "must be a number or several with commas"),
        (("generate", "MODEL", "A", "--beams", "0"), "'beams' must be at least 1, not 0"),
        (("generate", "MODEL", "A", "--beams", "2", "--top-k", "3"), "--samples says how many"),
        (("generate", "MODEL", "A", "--search", "beam", "--top-k", "3"), "'top_k' is for search"),
        (("generate", "MODEL", "A", "--temperature", "0"), "'temperature' must be greater than 0"),
        (("generate", "MODEL", "A", "--block", "verbs"), "--block must be words, bigrams"),
        (("generate", "MODEL", "A", "--save", "x.gif"), "must end with .svg"),
        (("generate", "MODEL", "A", "--json", "--raw"), "choose one of --json and --raw"),
        (("generate", "MODEL", "A", "--tokens", "500"), "128"),
        (("generate", "MODEL", "A", "--early-stopping"), "nothing to stop early"),
        (("generate", "MODEL", "A\udcff"), "is no UTF-8 at character 2"),
        (("score", "MODEL", "A\udcff"), "is no UTF-8 at character 2"),
        (("score", "MODEL", ""), "there is no text"),
        (("score", "MODEL", "A", "--mapping", "rank", "--compare", "MODEL"), "--mapping is for one model"),
        (("score", "MODEL", "A", "--json", "--raw"), "choose one of --json and --raw"),
        (("score", "./nowhere", "A"), "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(say, hostile: Path, words: tuple[str, ...], sentence: str):
    told = say(*(str(hostile) if word == "MODEL" else word for word in words), code=2).decode()
    assert sentence in told
    assert told.count("\n") == 1
