"""Texts are read from files of every kind; what cannot be read is told with file and row."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.sources import SourceError, read_documents
from lmwb.core.data.split import set_aside
from lmwb.core.data.tokenizer import token_pieces
from lmwb.core.tasks.causal import CausalTask
from lmwb.core.tasks.task import Surroundings

TEXTS = ["First text, with a comma.", 'Second "quoted" text\nover two lines.', "Drittes, äöü 漢字."]


def write(path):
    """The texts in the form that the file's name asks for."""
    import csv
    import io

    name = path.name.removesuffix(".gz")
    if name.endswith((".csv", ".tsv")):
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter="\t" if name.endswith(".tsv") else ",")
        writer.writerows([["label", "text"], *[["0", text] for text in TEXTS]])
        data = buffer.getvalue().encode()
    elif name.endswith(".jsonl"):
        data = "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in TEXTS).encode()
    elif name.endswith(".json"):
        data = json.dumps([{"text": text} for text in TEXTS]).encode()
    elif name.endswith(".parquet"):
        sink = io.BytesIO()
        pq.write_table(pa.table({"text": TEXTS}), sink)
        data = sink.getvalue()
    else:
        data = "\n\n".join(text.replace("\n", " ") for text in TEXTS).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_tables_of_every_kind_give_their_texts(tmp_path, kind, gz):
    path = write(tmp_path / f"data.{kind}{gz}")
    assert read_documents(str(path), "text", "paragraph") == TEXTS


def test_text_files_are_cut_as_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\n\nthree\n")
    assert read_documents(str(path), "text", "file") == ["one\ntwo\n\nthree\n"]
    assert read_documents(str(path), "text", "line") == ["one", "two", "three"]
    assert read_documents(str(path), "text", "paragraph") == ["one\ntwo", "three\n"]


def test_folders_are_read_in_order_of_names(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "b.txt").write_text("second")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"first"))
    (tmp_path / "ignored.bin").write_bytes(b"\0")
    assert read_documents(str(tmp_path), "text", "file") == ["first", "second"]


def test_the_built_in_corpus_is_python_documentation():
    documents = read_documents("python-reference", "text", "file")
    assert len(documents) > 50
    assert sum(map(len, documents)) > 400_000
    assert any('The "with" statement' in document for document in documents)


@pytest.mark.parametrize(
    ("name", "data", "column", "sentence"),
    [
        ("a.csv", b"text,label\none,1\ntwo\n", "text", r"line 3 has 1 columns where the header has 2"),
        ("a.csv", b"text,label\none,1,2\n", "text", r"line 2 has 3 columns where the header has 2"),
        ("a.csv", b"text,label\none,1\n", "sentence", r"has no column 'sentence'; it has text, label"),
        ("a.csv", b"", "text", r"holds no text"),
        ("a.txt", b"   \n\n", "text", r"holds no text"),
        ("a.txt", b"gr\xfc\xdfe\n", "text", r"is not UTF-8: line 1 has the byte 0xFC"),
        ("a.txt", b"ok\nok\n\xff", "text", r"is not UTF-8: line 3 has the byte 0xFF"),
        ("a.txt", b"PK\x03\x04\0\0\0\0", "text", r"is a binary file, not text"),
        ("a.txt.gz", b"no gzip at all", "text", r"cannot read .*a\.txt\.gz: Not a gzipped file"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "text", r"line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n[1]\n', "text", r"line 2 is not an object"),
        ("a.jsonl", b'{"text": "x"}\n{"text": 3}\n', "text", r"row 2 has int in column 'text', not text"),
        ("a.json", b'[{"text": "x"}, 7]', "text", r"item 2 is not an object"),
        ("a.json", b'[{"text": "x"}', "text", r"is not JSON"),
        ("a.parquet", b"PAR1 but no more", "text", r"cannot read .*a\.parquet"),
        ("\x1b[31ma.csv", b"text\n", "text", r"␛\[31ma\.csv holds no text"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, name, data, column, sentence):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(SourceError, match=sentence) as caught:
        read_documents(str(path), column, "paragraph")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


@given(count=st.integers(1, 80), share=st.floats(0, 0.9), seed=st.integers(0, 9))
def test_setting_aside_loses_and_repeats_nothing(count, share, seed):
    documents = [f"text {i}\nwith a second line\nand a third {i}\n" for i in range(count)]
    train, validation = set_aside(documents, share, seed)
    assert sorted("".join(train + validation)) == sorted("".join(documents))
    assert (train, validation) == set_aside(documents, share, seed)
    if share > 0.4:
        assert train
        assert validation


@pytest.mark.parametrize("packing", ["blocks", "documents"])
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=12), block=st.integers(4, 40))
def test_rows_hold_every_token_in_order(packing, lengths, block):
    documents = [" ".join(tiny.SENTENCES[: 1 + length % 6])[: 5 * length] for length in lengths]
    tokenizer = shared_tokenizer()
    rows = tiny.rows(tokenizer, block, packing, documents)
    expected = [i for text in documents for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    predicted = [int(i) for row in range(len(rows)) for i in rows.tokens(row)[1:]]
    assert all(len(rows.tokens(row)) <= block + 1 for row in range(len(rows)))
    if packing == "blocks":
        assert [int(rows.stream[0]), *predicted] == expected
    else:
        assert {*predicted} <= {*expected}
        assert rows.targets == sum(len(tokenizer(text)["input_ids"]) for text in documents)


def test_special_tokens_written_in_a_text_are_text():
    tokenizer = shared_tokenizer()
    rows = tiny.rows(tokenizer, 64, "blocks", ["one <|endoftext|> two"])
    assert list(rows.stream).count(tokenizer.eos_token_id) == 1


def test_pieces_are_the_bytes_of_the_text():
    tokenizer = shared_tokenizer()
    text = "Ünïcode 漢字 🎈 and\ttabs"
    ids = tokenizer(text)["input_ids"]
    pieces = token_pieces(tokenizer, ids)
    assert b"".join(pieces[i] for i in ids).decode() == text


def shared_tokenizer(cache=[]):  # noqa: B006 - hypothesis tests cannot use fixtures of a module
    if not cache:
        cache.append(tiny.tokenizer())
    return cache[0]


def test_texts_are_tokenised_once(tmp_path):
    """The next run finds the same tokens in the cache; rows of another length are made from them too."""
    stage, told = tiny.stage(), []
    first = CausalTask(stage, Surroundings(0, tmp_path, told.append)).read().train
    assert "data.train: 2 texts tokenised and kept in the cache (not seen before)" in told
    again = CausalTask(stage, Surroundings(0, tmp_path, told.append)).read().train
    assert "data.train: 2 tokenised texts from the cache" in told
    assert again.fingerprint == first.fingerprint
    told.clear()
    longer = CausalTask(tiny.stage(data__block_size=24), Surroundings(0, tmp_path, told.append)).read().train
    assert "data.train: 2 tokenised texts from the cache" in told
    assert len(longer) < len(first)
