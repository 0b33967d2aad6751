"""Labelled texts are read from tables, folders and GLUE's files; what is wrong gets one sentence with its place."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_labels
from hypothesis import given
from hypothesis import strategies as st
from lmwb.core.data.glue import TASKS, parts_of, read_glue_rows
from lmwb.core.data.labelled import Columns, LabelSource, read_examples
from lmwb.core.data.labels import Written, class_numbers, find_names
from lmwb.core.data.sources import SourceError
from lmwb.core.data.split import draw_rows
from lmwb.core.errors import ValueInRecipeError

PAIR = Columns(pair=("other",))


def read(path, columns=None, **more):
    return read_examples(LabelSource(str(path), columns or Columns(), **more))


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_tables_of_every_kind_give_texts_and_labels(tmp_path, kind):
    path = tmp_path / f"data.{kind}"
    table = [
        {"text": "A warm, clever film", "other": 'So "warm"', "label": 1},
        {**dict.fromkeys(["text", "other"], "b")},
    ]
    table[1]["label"] = 0
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    elif kind.startswith("json"):
        path.write_text(json.dumps(table) if kind == "json" else "".join(json.dumps(row) + "\n" for row in table))
    else:
        small_labels.write(path, table)
    found = read(path, PAIR)
    assert found.texts == ["A warm, clever film", "b"]
    assert found.pairs == ['So "warm"', "b"]
    assert found.labels == ["1", "0"]
    word = {"parquet": "row 1", "json": "item 1", "jsonl": "line 1"}.get(kind, "line 2")
    assert found.places[0] == word


def imdb(folder):
    for label, texts in {"pos": ["warm", "clever", "odd"], "neg": ["dull"], "unsup": ["who knows"]}.items():
        (folder / label).mkdir(parents=True)
        for number, text in enumerate(texts):
            (folder / label / f"{number}_7.txt").write_text(f"A {text} film")
    (folder / "labeledBow.feat").write_text("0 1:2")
    return folder


def test_a_folder_for_each_label_is_read_turn_by_turn(tmp_path):
    folder = imdb(tmp_path / "aclImdb" / "train")
    found = read(folder)
    assert found.labels == ["neg", "pos", "pos", "pos"]
    assert found.texts[0] == "A dull film"
    assert found.places[-1] == "pos/2_7.txt"
    assert read(folder, limit=2).labels == ["neg", "pos"]
    with pytest.raises(
        SourceError, match=r"does not hold a folder of \.txt files for each of several labels; did you "
    ):
        read(tmp_path / "aclImdb")


def test_rows_without_labels_are_read_from_tables_text_files_and_folders(tmp_path):
    (tmp_path / "new.txt").write_text("One film\n\nTwo films\n")
    assert read(tmp_path / "new.txt", labelled=False).texts == ["One film", "Two films"]
    small_labels.write(tmp_path / "new.csv", [{"text": "A"}, {"text": "B"}])
    assert read(tmp_path / "new.csv", labelled=False).texts == ["A", "B"]
    assert sorted(read(imdb(tmp_path / "f"), labelled=False).places)[0] == "neg/0_7.txt"


def test_a_hub_dataset_tells_the_names_of_its_labels(tmp_path, monkeypatch):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    made = datasets.Dataset.from_dict({"text": ["a film", "a book"], "label": [1, 0]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, config, split: made)
    found = read("hub:owner/name:train")
    assert found.labels == ["yes", "no"]
    assert found.names == ["no", "yes"]
    read_in = small_labels.Read(small_labels.stage("hub:owner/name", data__validation=0), tmp_path)
    assert read_in.material.fields["id2label"] == {0: "no", 1: "yes"}
    unknown = datasets.Dataset.from_dict({"text": ["a film"], "label": [-1]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, config, split: unknown)
    with pytest.raises(SourceError, match="row 1 has the label -1, which stands for none"):
        read("hub:owner/name:test")


# -- GLUE -----------------------------------------------------------------------------------------

OFFICIAL = {
    "cola": (
        "gj04\t1\t\tOur friends won't buy \"this analysis.\ngj04\t0\t*\tMore of the\n",
        ["Our friends won't buy \"this analysis.", "More of the"],
        None,
        ["1", "0"],
    ),
    "sst2": ("sentence\tlabel\nhide new secretions \t0\n", ["hide new secretions "], None, ["0"]),
    "mrpc": (
        '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\t"It\'s all, he said\tHe said "so\n',
        ["\"It's all, he said"],
        ['He said "so'],
        ["1"],
    ),
    "stsb": (
        "index\tgenre\tsource1\tsource2\tsentence1\tsentence2\tscore\n0\tm\tn\tn\tA plane.\tAn air plane.\t5.000\n",
        ["A plane."],
        ["An air plane."],
        ["5.000"],
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy?\tHow?\t0\n4\t5\tbroken\n6\t7\t8\tA?\tB?\t1\n",
        ["Why?", "A?"],
        ["How?", "B?"],
        ["0", "1"],
    ),
    "mnli": (
        'index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n0\tgov\tHe "ran\tHe moved\tneutral\tentailment\n',
        ['He "ran'],
        ["He moved"],
        ["entailment"],
    ),
    "qnli": (
        'index\tquestion\tsentence\tlabel\n0\tWhen?\tIn "1990.\tentailment\n',
        ["When?"],
        ['In "1990.'],
        ["entailment"],
    ),
    "rte": ("index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n", ["A."], ["B."], ["not_entailment"]),
    "wnli": ("index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t1\n", ["A."], ["B."], ["1"]),
}


@pytest.mark.parametrize("task", list(OFFICIAL))
def test_the_official_files_are_read_with_their_quirks(tmp_path, task):
    content, texts, pairs, labels = OFFICIAL[task]
    (tmp_path / "train.tsv").write_text(content)
    known = TASKS[task]
    found = read(tmp_path / "train.tsv", Columns(known.text, known.pair, known.label), task=task)
    assert (found.texts, found.pairs, found.labels) == (texts, pairs, labels)
    assert found.notes == (["lines that break off and were left out: 1, the first is line 3"] if task == "qqp" else [])


def test_simple_quoted_files_of_a_task_are_read_too(tmp_path):
    small_labels.write(tmp_path / "train.tsv", [{"sentence": 'He said "no"\tand left', "label": 1}])
    rows = list(read_glue_rows("sst2", tmp_path / "train.tsv", lambda _: None))
    assert rows == [(2, {"sentence": 'He said "no"\tand left', "label": "1"})]
    (tmp_path / "dev.tsv").write_text('sentence\tlabel\n"so it goes\t1\n" he said\t0\n')
    rows = list(read_glue_rows("sst2", tmp_path / "dev.tsv", lambda _: None))
    assert [row["sentence"] for _, row in rows] == ['"so it goes', '" he said']


def test_the_parts_of_a_task_come_from_its_folder_or_from_the_hub(tmp_path):
    for name in ("train.tsv", "dev_matched.tsv", "dev_mismatched.tsv", "test_matched.tsv"):
        (tmp_path / name).write_text("x")
    found = parts_of("mnli", str(tmp_path))
    assert {part: file.rpartition("/")[2] for part, file in found.items()} == {
        "train": "train.tsv",
        "validation": "dev_matched.tsv",
        "validation-mismatched": "dev_mismatched.tsv",
        "predict": "test_matched.tsv",
    }
    assert parts_of("mnli", None)["predict-mismatched"] == "hub:nyu-mll/glue/mnli:test_mismatched"
    assert parts_of("rte", "hub:own/glue/rte")["validation"] == "hub:own/glue/rte:validation"
    with pytest.raises(SourceError, match=r"has no train\.tsv"):
        parts_of("rte", str(tmp_path / "nothing"))


# -- what is wrong --------------------------------------------------------------------------------

GOOD = "text,label\na film,bad\na book,good\n"


@pytest.mark.parametrize(
    ("content", "changes", "key", "sentence"),
    [
        ("text,label\na film,bad\na book,\n", {}, "data.train", r"line 3 has no label in column 'label'"),
        ("text,label\na film,bad\n  ,good\n", {}, "data.train", r"line 3 has no text in column 'text'; mend or remove"),
        ("text,label\na film,bad,x\n", {}, "data.train", r"line 2 has 3 columns where the header has 2"),
        ("text,label\na,1\nb,good\n", {}, "data.train", r"line 3 has the name 'good' .* where line 2 has the number 1"),
        ("text,label\na,bad\nb,1\n", {}, "data.train", r"line 2 has the name 'bad' .* where line 3 has the number 1"),
        ("text,label\na,1\nb,0.5\n", {}, "data.label", r"line 3 has the label 0\.5, which is no class; for scores say"),
        ("text,label\na,bad\nb,bad\n", {}, "data.label", r"all rows of .* have the label 'bad'"),
        ("text,label\n1,bad\n2,good\n", {}, "data.text", r"nothing but numbers in column 'text'"),
        ("text,label\n", {}, "data.train", r"holds no rows"),
        (GOOD, {"text": "txet"}, "data.text", r"no column 'txet'; it has text, label; did you mean 'text'\?"),
        (GOOD, {"text": "x"}, "data.text", r"no column 'x'; it has text, label; name one with text = \"\.\.\.\""),
        (GOOD, {"pair": "texts"}, "data.pair", r"no column 'texts'.*did you mean 'text'\?"),
        (GOOD, {"label": "labels"}, "data.label", r"no column 'labels'.*did you mean 'label'\?"),
        (GOOD, {"labels": ["bad", "goods"]}, "data.train", r"line 3 has the label 'good'; the labels are bad, goods; "),
        (GOOD, {"labels": ["bad", "bad"]}, "data.labels", r"two or more labels, each once"),
        ("text,label\na,2\nb,0\n", {"labels": ["n", "p"]}, "data.train", r"line 2 has the label '2'.*from 0 to 1"),
        ("text,label\na,n\nb,1\n", {"labels": ["n", "p"]}, "data.train", r"line 2 has the name 'n' .* the number 1"),
        ("text,label\na,0\nb,-1\n", {"labels": ["n", "p"]}, "data.train", r"line 3 has the label '-1', which stands"),
        (GOOD, {"max_length": 8, "too_long": "error"}, None, None),
        ("text,label\n" + "so " * 30 + ",bad\nb,good\n", {"max_length": 8, "too_long": "error"}, "data.too_long",
         r"line 2 has more than max_length 8 tokens, as 1 of 2 rows do"),
    ],
)  # fmt: skip
def test_bad_tables_get_one_sentence(tmp_path, content, changes, key, sentence):
    path = tmp_path / "train.csv"
    path.write_text(content)
    stage = small_labels.stage(path, **{f"data__{name}": value for name, value in changes.items()})
    if sentence is None:
        small_labels.Read(stage, tmp_path)
        return
    with pytest.raises(ValueInRecipeError, match=sentence) as caught:
        small_labels.Read(stage, tmp_path)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_label_that_only_the_test_rows_have_is_told(tmp_path, part):
    train = small_labels.write(tmp_path / "train.csv", small_labels.rows())
    other = small_labels.write(tmp_path / "other.csv", small_labels.rows(labels=("good", "odd")))
    with pytest.raises(
        ValueInRecipeError, match=r"other\.csv: line 3 has the label 'odd', which no training"
    ) as caught:
        small_labels.Read(small_labels.stage(train, **{f"data__{part}": other}), tmp_path)
    assert caught.value.key == f"data.{part}"


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"text": 3, "label": "bad"}, r"line 2 has a number in column 'text', not text"),
        ({"text": ["x"], "label": "bad"}, r"line 2 has a list in column 'text', not text"),
        ({"text": "x", "label": ["bad"]}, r"line 2 has a list in column 'label', not a label"),
        ({"text": "x", "label": None}, r"line 2 has no label in column 'label'"),
        ({"text": "x", "label": float("nan")}, r"line 2 has no label in column 'label'"),
        ({"text": None, "label": "bad"}, r"line 2 has no text in column 'text'"),
        ({"label": "bad"}, r"line 2 has no 'text'"),
    ],
)
def test_types_that_do_not_fit_are_told(tmp_path, row, sentence):
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps({"text": "a film", "label": "good"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(SourceError, match=sentence):
        read(path)


@pytest.mark.parametrize("label", ["inf", "nan", "high", "1e999"])
def test_a_score_is_a_finite_number(tmp_path, label):
    path = tmp_path / "train.csv"
    path.write_text(f"text,label\na film,3.5\na book,{label}\n")
    with pytest.raises(ValueInRecipeError, match=rf"line 3 has the label '{label}', which is not a finite number"):
        small_labels.Read(small_labels.stage(path, "regression"), tmp_path)


def test_foreign_text_in_a_message_cannot_steer_a_terminal(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\na film,\x1b[31mred\na book,1\n")
    with pytest.raises(ValueInRecipeError) as caught:
        small_labels.Read(small_labels.stage(path), tmp_path)
    assert "\x1b" not in str(caught.value)


# -- labels and splits ----------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 40), min_size=2).filter(lambda drawn: len(set(drawn)) > 1), st.randoms())
def test_numbers_as_labels_keep_their_order(numbers, random):
    written = Written("x", "data.train", [f"line {i}" for i in range(len(numbers))], [str(n) for n in numbers])
    names = find_names(written)
    assert [int(name) for name in names] == sorted(set(numbers))
    found = class_numbers(written, names, given=False)
    assert [int(names[number]) for number in found] == numbers


@given(count=st.integers(2, 300), share=st.floats(0, 0.99), seed=st.integers(0, 9))
def test_rows_are_drawn_for_validation_by_the_seed(count, share, seed):
    train, aside = draw_rows(count, share, seed)
    assert sorted(train + aside) == list(range(count))
    assert train
    assert bool(aside) == (share > 0)
    assert (train, aside) == draw_rows(count, share, seed)
