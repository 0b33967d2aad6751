"""Tokenised rows are kept, found again, and never trusted blindly."""

import os
import threading

import pyarrow as pa
import pytest
from lmwb.core.data.cache import RowCache
from lmwb.core.data.hashing import hash_of_source, hash_of_texts, hash_of_tokenizer
from lmwb.core.data.tokenizer import load_tokenizer

KEY = {"source": "a" * 64, "tokenizer": "b" * 64, "max_length": "128"}


class Bench:
    def __init__(self, folder):
        self.told = []
        self.made = 0
        self.cache = RowCache(folder / "rows", self.told.append)

    def get(self, of="x.csv", **changes):
        def make():
            self.made += 1
            return pa.table({"place": ["line 2", "line 3"], "input_ids": [[1, 2], [3]]}).replace_schema_metadata(
                {b"lmwb": b"{}"}
            )

        return self.cache.get("data.train", of, {**KEY, **changes}, make)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_what_was_made_is_found_again(bench):
    first, second = bench.get(), bench.get()
    assert bench.made == 1
    assert second.equals(first)
    assert second.schema.metadata == {b"lmwb": b"{}"}
    assert bench.told == [
        "data.train: 2 rows tokenised and kept in the cache (not seen before)",
        "data.train: 2 tokenised rows from the cache",
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokenizer": "c" * 64}, "tokenizer changed"),
        ({"max_length": "64"}, "max_length changed from 128 to 64"),
        ({"source": "d" * 64, "max_length": "64"}, "source changed, max_length changed from 128 to 64"),
        ({"too_long": "drop"}, "too_long changed"),
    ],
)
def test_the_reason_for_a_miss_is_told(bench, changes, reason):
    bench.get()
    bench.get(**changes)
    assert bench.made == 2
    assert bench.told[-1] == f"data.train: 2 rows tokenised and kept in the cache ({reason})"
    bench.get()
    assert bench.made == 2, "the first entry is still there"


def test_other_sources_have_a_history_of_their_own(bench):
    bench.get()
    bench.get(of="y.csv", max_length="64")
    assert bench.told[-1].endswith("(not seen before)")


def test_another_version_of_the_rows_is_a_miss(bench, monkeypatch):
    bench.get()
    monkeypatch.setattr("lmwb.core.data.cache.ROWS_VERSION", "next")
    bench.get()
    assert bench.made == 2
    assert "version of the rows changed from 1 to next" in bench.told[-1]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "no seal", "broken seal", "gone"])
def test_a_damaged_entry_is_passed_over_and_mended(bench, damage):
    expected = bench.get()
    (file,) = bench.cache.folder.glob("*.arrow")
    seal = file.with_suffix(".json")
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(data[:-10])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "no seal":
        seal.unlink()
    elif damage == "broken seal":
        seal.write_text("{")
    else:
        file.unlink()
    assert bench.get().equals(expected)
    assert bench.made == 2
    reason = "the entry was deleted" if damage in ("no seal", "gone") else "the entry was damaged"
    assert bench.told[-1].endswith(f"({reason})")
    assert bench.get().equals(expected)
    assert bench.made == 2


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path):
    (tmp_path / "rows").write_text("a file where the folder should be")
    bench = Bench(tmp_path)
    assert bench.get().num_rows == 2
    assert "2 rows tokenised; not kept in the cache: " in bench.told[-1]


def test_what_fails_leaves_nothing_behind(bench):
    def fail():
        raise ValueError("bad data")

    with pytest.raises(ValueError, match="bad data"):
        bench.cache.get("data.train", "x.csv", KEY, fail)
    assert not bench.cache.folder.exists()


def test_many_at_once_get_the_same(tmp_path):
    found = []

    def work():
        bench = Bench(tmp_path)
        found.extend(bench.get() for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 30
    assert all(table.equals(found[0]) for table in found)
    assert {path.suffix for path in (tmp_path / "rows").iterdir() if path.is_file()} == {".arrow", ".json"}


def test_rows_stay_readable_after_the_cache_is_deleted(bench):
    import shutil

    bench.get()
    mapped = bench.get()
    shutil.rmtree(bench.cache.folder)
    assert mapped["input_ids"].to_pylist() == [[1, 2], [3]]


def test_the_hash_of_a_source_follows_its_bytes_and_names(tmp_path):
    folder = tmp_path / "data"
    (folder / "pos").mkdir(parents=True)
    (folder / "pos" / "a.txt").write_text("one")
    hashes = [hash_of_source(folder, tmp_path)]
    (folder / "pos" / "a.txt").write_text("two")
    hashes.append(hash_of_source(folder, tmp_path))
    (folder / "pos" / "a.txt").rename(folder / "pos" / "b.txt")
    hashes.append(hash_of_source(folder, tmp_path))
    (folder / "pos" / ".hidden").write_text("no matter")
    assert hash_of_source(folder, tmp_path) == hashes[-1]
    assert len(set(hashes)) == 3
    assert hash_of_source(folder / "pos" / "b.txt", tmp_path) not in hashes


def test_large_sources_are_read_once(tmp_path, monkeypatch):
    from lmwb.core.data import hashing

    monkeypatch.setattr(hashing, "_LARGE", 10)
    file = tmp_path / "large.csv"
    file.write_text("text\n" * 10)
    memory = tmp_path / "memory"
    fresh = hash_of_source(file, memory)
    assert not memory.exists(), "a file that was changed just now may change again within the clock's tick"
    os.utime(file, (1e9, 1e9))
    assert hash_of_source(file, memory) == fresh
    with monkeypatch.context() as patch:
        patch.setattr(hashing.hashlib, "file_digest", None)  # whoever reads the file now fails
        assert hash_of_source(file, memory) == fresh
    file.write_text("TEXT\n" * 10)
    os.utime(file, (1e9 + 5, 1e9 + 5))
    assert hash_of_source(file, memory) != fresh


def test_texts_are_told_apart_by_their_borders():
    assert hash_of_texts(["ab", "c"]) != hash_of_texts(["a", "bc"]) != hash_of_texts(["abc"])
    assert hash_of_texts(["a\ud800"]) == hash_of_texts(["a\ud800"])


def test_a_tokenizer_is_the_same_after_use_and_after_saving(tmp_path):
    import tiny

    tokenizer = tiny.tokenizer()
    before = hash_of_tokenizer(tokenizer)
    tokenizer(["a long text to cut"], truncation=True, max_length=2)
    assert hash_of_tokenizer(tokenizer) == before
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(str(tmp_path))
    assert hash_of_tokenizer(again) == before
    assert hash_of_tokenizer(tiny.tokenizer(300)) != before
    again.add_special_tokens({"pad_token": "<pad>"})
    assert hash_of_tokenizer(again) != before
