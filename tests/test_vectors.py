"""Files of word vectors: what is read, kept, fetched, and refused with the line."""

import gzip
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from lmwb.core.data import glove, vectors
from lmwb.core.data.vectors import load_vectors
from lmwb.core.data.words import words_tokenizer
from lmwb.core.errors import ValueInRecipeError
from lmwb.core.models.loading import make_model, outline
from lmwb.core.recipe.schema import BagModel, EncoderModel

LINES = ["the 0.5 -1e-3 2", ", 1 2 3", "don't 4 5 6", "\u00fcber 7 8 9", "NA 1 1 1", '"quoted" 2 2 2', "\u0085 3 3 3"]
WORDS = [line.split(" ")[0] for line in LINES]


def write(path, lines):
    data = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def load(path, cache=None, tell=print):
    return load_vectors(str(path), cache, tell, "model.embeddings")


@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz", "v.vec"])
def test_words_and_numbers_are_read_as_they_stand_there(tmp_path, name):
    found = load(write(tmp_path / name, LINES))
    assert list(found.words) == WORDS
    expected = [[float(x) for x in line.split(" ")[1:]] for line in LINES]
    assert found.matrix.tolist() == np.array(expected, np.float32).tolist()
    assert (found.row("don't"), found.row("never"), "NA" in found, found.width) == (2, None, True, 3)


def test_a_line_of_counts_as_in_word2vec_is_no_word(tmp_path):
    found = load(write(tmp_path / "v.txt", [f"{len(LINES)} 3", *LINES]))
    assert list(found.words) == WORDS


def test_words_with_spaces_come_last_and_empty_lines_and_spaces_at_the_end_do_no_harm(tmp_path):
    found = load(write(tmp_path / "v.txt", [LINES[0], "at name@domain.com 1 2 3", ". . . 4 5 6", *LINES[1:]]))
    assert list(found.words) == [*WORDS, ". . .", "at name@domain.com"]
    assert found.matrix[-1].tolist() == [1, 2, 3]
    spaced = load(write(tmp_path / "w.txt", [f"{len(LINES)} 3", *(line + " " for line in LINES)]))
    assert list(spaced.words) == WORDS
    mixed = load(write(tmp_path / "x.txt", [*LINES[:4], "", *(line + " " for line in LINES[4:])]))
    assert sorted(mixed.words) == sorted(WORDS)


def test_a_word_that_stands_there_twice_keeps_its_first_vector_and_is_counted(tmp_path):
    path = write(tmp_path / "v.txt", ["a 1 1", "b 2 2", "a 3 3", "c 4 4", "a 5 5"])
    for _ in range(2):  # read, then taken from the cache
        said = []
        found = load(path, tmp_path / "cache", said.append)
        assert list(found.words) == ["a", "b", "c"]
        assert found.matrix.tolist() == [[1, 1], [2, 2], [4, 4]]
        assert "vectors: 2 words stand in v.txt more than once; the first vector counts" in said


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["a 1 2", "b 1 x", "c 1 2"], "line 2 is not a word and 2 numbers: 'b 1 x"),
        (["a 1 2", "b 1 2", "c 1"], "line 3 is not a word and 2 numbers: 'c 1"),
        (["a 1 2", "b 1 nan", "c 1 2"], "line 2 is not a word and 2 numbers"),
        (["a 1 2", "b 1 ", "c 1 2"], "line 2 is not a word and 2 numbers"),
        (["a 1 2", "b c d 1 x", "c 1 2"], "line 2 is not a word and 2 numbers"),
        (["2 3", "a 1 2 3", "b 1 2"], "line 3 is not a word and 3 numbers"),
        (["a", "b"], "holds no vectors"),
        ([], "holds no vectors"),
    ],
)
@pytest.mark.parametrize("name", ["v.txt", "v.txt.gz"])
def test_a_damaged_line_is_named(tmp_path, name, lines, sentence):
    with pytest.raises(ValueInRecipeError) as caught:
        load(write(tmp_path / name, lines), tmp_path / "cache")
    assert sentence in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.key == "model.embeddings"


def test_bytes_that_are_no_text_are_damage_too(tmp_path):
    path = tmp_path / "v.txt"
    path.write_bytes(b"a 1 2\nb\xff 1 2\n")
    with pytest.raises(ValueInRecipeError, match="line 2 is not"):
        load(path)


def test_an_archive_that_breaks_off_is_refused(tmp_path):
    path = write(tmp_path / "v.txt.gz", [f"word{i} {i} {i * 7919 % 1013}" for i in range(5000)])
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(ValueInRecipeError, match=r"v\.txt\.gz"):
        load(path)


def test_what_was_read_is_kept_until_the_file_changes(tmp_path, monkeypatch):
    path, said = write(tmp_path / "v.txt", LINES), []
    first = load(path, tmp_path / "cache", said.append)
    assert said == [f"vectors: 7 words from {path}; kept in the cache"]
    with monkeypatch.context() as patch:
        patch.setattr(vectors, "_read", None)  # nothing is read
        second = load(path, tmp_path / "cache")
    assert isinstance(second.matrix, np.memmap)
    assert list(second.words) == list(first.words)
    assert (second.matrix == first.matrix).all()
    write(path, [*LINES, "new 1 1 1"])
    assert "new" in load(path, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "vectors").glob(".unfinished*"))


# -- models -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BagModel, EncoderModel])
def test_a_model_takes_the_vectors_of_its_words(tmp_path, kind):
    path = write(tmp_path / "v.txt", ["a 9 9 9 9", "other 8 8 8 8", "c 7 7 7 7"])
    tokenizer, said = words_tokenizer(["c", "b", "a"]), []
    torch.manual_seed(0)
    model = kind(embeddings=str(path), train_embeddings=False)
    made = make_model(model, "classification", tokenizer, {"num_labels": 2}, said.append)
    weight = made.get_input_embeddings().weight
    assert weight.shape == (6, 4)
    assert weight[[3, 5]].tolist() == [[7] * 4, [9] * 4]
    assert not weight[0].any()  # padding
    assert 0 < weight[4].norm() < 4  # small and random
    assert not weight.requires_grad
    assert "; ".join(said) == (
        "embeddings: 2 of the vocabulary's 3 words (66.7%) have a vector of 4 numbers; "
        "the others begin small and random"
    )
    sketch = outline(model, "classification", tokenizer, {"num_labels": 2})
    assert sketch.get_input_embeddings().weight.shape == (6, 4)


@pytest.mark.parametrize(
    ("model", "words", "key", "sentence"),
    [
        (BagModel(hidden=5), ["a"], "model.hidden", "hidden is 5, the vectors have 4 numbers each"),
        (EncoderModel(heads=3), ["a"], "model.heads", "3 heads do not divide a width of 4"),
        (BagModel(), ["zebra"], "model.embeddings", "none of the tokenizer's words has a vector"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, model, words, key, sentence):
    path = write(tmp_path / "v.txt", ["a 9 9 9 9"])
    model = model.model_copy(update={"embeddings": str(path)})
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        make_model(model, "classification", words_tokenizer(words), {"num_labels": 2}, print)
    assert caught.value.key == key


# -- fetching ---------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server with a small archive in the published one's form; counts what is asked for."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()
    with zipfile.ZipFile(folder / "glove.6B.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("glove.6B.50d.txt", "the " + " ".join(["1"] * 50) + "\n")
        archive.writestr("glove.6B.100d.txt", "the " + " ".join(["2"] * 100) + "\n")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_request(self, code="-", size="-"):
            asked.append(self.path)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(glove, "ADDRESS", f"http://127.0.0.1:{server.server_port}/")
    yield folder, asked
    server.shutdown()
    server.server_close()


def test_a_published_file_is_fetched_once(tmp_path, published):
    _, asked = published
    said = []
    for source, width in (("glove:6B.100d", 100), ("glove:6B.100d", 100), ("glove:6B.50d", 50)):
        assert load(source, tmp_path / "cache", said.append).width == width
    assert asked == ["/glove.6B.zip"]
    assert said[0].startswith("fetching http://127.0.0.1")
    assert "fetching glove.6B.zip: 50 %" in said
    assert sorted(file.name for file in (tmp_path / "cache" / "glove").iterdir()) == [
        "glove.6B.100d.txt", "glove.6B.50d.txt", "glove.6B.zip"
    ]  # fmt: skip


def test_without_a_network_the_sentence_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(glove, "ADDRESS", "http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(ValueInRecipeError, match=r"cannot fetch .*refused; put glove\.6B\.zip or") as e:
        load("glove:6B.50d", tmp_path / "cache")
    assert str(tmp_path / "cache" / "glove") in str(e.value)
    write(tmp_path / "cache" / "glove" / "glove.6B.50d.txt", ["a " + " ".join(["1"] * 50)])
    assert "a" in load("glove:6B.50d", tmp_path / "cache")


def test_a_damaged_archive_is_removed_and_fetched_again(tmp_path, published):
    folder, _ = published
    whole = (folder / "glove.6B.zip").read_bytes()
    (folder / "glove.6B.zip").write_bytes(whole[:100])
    with pytest.raises(ValueInRecipeError, match="was damaged and has been removed"):
        load("glove:6B.50d", tmp_path / "cache")
    assert list((tmp_path / "cache" / "glove").iterdir()) == []
    (folder / "glove.6B.zip").write_bytes(whole)
    assert load("glove:6B.50d", tmp_path / "cache").width == 50


@pytest.mark.parametrize("name", ["glove:6B.99d", "glove:7B.100d", "glove:", "glove:../x.50d"])
def test_only_what_is_published_can_be_asked_for(tmp_path, name):
    with pytest.raises(ValueInRecipeError, match=r"there are glove:6B\.50d, glove:6B\.100d"):
        load(name, tmp_path / "cache")
