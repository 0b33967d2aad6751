"""Models in one small file: exact round trips, sizes that add up, and files that nobody should trust."""

import contextlib
import hashlib
import json
import math
import struct

import numpy as np
import pytest
import small_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from lmwb.core.errors import MachineError, UsageError
from lmwb.core.methods.compressed import coding, compress, decompress, sizes_of, total
from lmwb.core.methods.compressed.container import Description, Stored, Text, read, to_bytes
from lmwb.core.methods.compressed.values import from_stored, to_stored
from lmwb.tui.cli import run
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

FLOATS = st.floats(-1e4, 1e4, width=32)


def prune(folder, share=0.1, seed=0):
    """Set all but a share of each matrix to zeros of both signs."""
    file = next(folder.glob("*.safetensors"))
    weights = load_file(file)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in weights.items():
        if weight.dim() == 2:
            weights[name] = weight * (torch.rand(weight.shape, generator=generator) < share)
    assert any((weight.eq(0) & weight.signbit()).any() for weight in weights.values())
    save_file(weights, file, {"format": "pt"})
    return folder


@pytest.fixture
def pruned(tmp_path):
    small_models.bert_classifier(tmp_path / "pruned")
    return prune(tmp_path / "pruned")


def weights_in(folder):
    return load_file(folder / "model.safetensors")


# -- coding ---------------------------------------------------------------------------------------


def test_gaps_are_the_zeros_before_each_value_in_steps_of_255():
    assert coding.gaps_of(np.array([0, 300, 301, 1000])).tolist() == [0, 255, 44, 0, 255, 255, 188]
    assert coding.gaps_of(np.array([254])).tolist() == [254]
    assert coding.gaps_of(np.array([255])).tolist() == [255, 0]


@given(st.sets(st.integers(0, 5000)))
def test_positions_come_back(places):
    positions = np.array(sorted(places), dtype=np.int64)
    gaps = coding.gaps_of(positions)
    assert np.array_equal(coding.positions_of(gaps, len(positions), 5001), positions)


@given(arrays.arrays(np.uint8, st.integers(0, 40)), st.integers(0, 30), st.integers(0, 3000))
def test_gaps_of_anything_give_positions_in_the_matrix_or_an_error(gaps, kept, size):
    try:
        positions = coding.positions_of(gaps, kept, size)
    except ValueError:
        return
    assert len(positions) == kept
    assert all(np.diff(positions) > 0)
    assert kept == 0 or (positions[0] >= 0 and positions[-1] < size)


@given(st.binary(max_size=300))
def test_bytes_come_back_and_no_more_of_them_than_said(data):
    packed = coding.deflated(data)
    assert coding.inflated(packed, len(data)) == data
    for packed_wrongly, size in ((packed, len(data) + 1), (packed + b"x", len(data)), (packed[:-1], len(data))):
        with pytest.raises(ValueError, match="a part of it"):
            coding.inflated(packed_wrongly, size)
    if data:
        with pytest.raises(ValueError, match="longer or shorter"):
            coding.inflated(packed, len(data) - 1)


@given(arrays.arrays(st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64]), st.integers(0, 20)))
def test_planes_come_back(values):
    planes = coding.planes_of(values)
    assert len(planes) == values.itemsize
    assert np.array_equal(coding.joined(planes, values.dtype), values)


def test_the_streams_of_a_random_mask_come_near_their_entropy():
    rng = np.random.default_rng(0)
    kept = rng.random(2**20) < 0.06
    packed = len(coding.deflated(coding.gaps_of(np.flatnonzero(kept)).tobytes()))
    entropy = -(0.06 * math.log2(0.06) + 0.94 * math.log2(0.94)) * 2**20 / 8
    assert packed < 1.015 * entropy


# -- values ---------------------------------------------------------------------------------------


@given(arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=FLOATS))
def test_int8_values_are_the_nearest_multiples_of_a_scale_and_stay_when_rounded_again(array):
    weight = torch.from_numpy(array)
    stored, scale = to_stored(weight, "int8")
    back = from_stored(stored, "int8", "float32", scale)
    most = np.abs(array).max(initial=0)
    if most >= 1e-30:
        assert most / 127 <= scale <= most / 127 * (1 + 2**-15)
        exact = stored.view(np.int8).astype(np.float64) * scale
        assert np.array_equal(back.numpy().astype(np.float64), exact)  # no rounding in float32
        assert np.abs(exact - array).max() <= scale / 2 * (1 + 1e-6)
    again, same = to_stored(back, "int8")
    assert np.array_equal(again, stored)
    assert same == scale or not stored.any()


@given(arrays.arrays(np.float32, st.integers(0, 9), elements=st.floats(width=32)))
def test_exact_values_keep_every_bit_but_the_sign_of_zero(array):
    stored, scale = to_stored(torch.from_numpy(array), "exact")
    back = from_stored(stored, "exact", "float32", scale).numpy()
    assert np.array_equal(back.view(np.uint32), np.where(array == 0, 0, array.view(np.uint32)))


@pytest.mark.parametrize("value", [math.nan, math.inf, 2e38])
@pytest.mark.parametrize("way", ["int8", "float16"])
def test_values_that_do_not_fit_are_refused(value, way):
    with pytest.raises(ValueError, match=f"does not fit into {way}; store the model with exact values"):
        to_stored(torch.tensor([[1.0, value]]), way)


# -- folders --------------------------------------------------------------------------------------


def test_a_model_comes_back_as_its_rounded_self_and_packs_to_the_same_file(pruned, tmp_path):
    written = compress(pruned, tmp_path / "one")
    decompress(tmp_path / "one", tmp_path / "back")
    compress(tmp_path / "back", tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    scales = {each.name: each.scale for each in written.contents.description.weights}
    before, after = weights_in(pruned), weights_in(tmp_path / "back")
    assert before.keys() == after.keys()
    rounded = {
        name: torch.round(weight / scales[name]).clamp(-127, 127) * scales[name] if weight.dim() == 2 else weight
        for name, weight in before.items()
    }
    assert all(torch.equal(rounded[name], after[name]) for name in before)
    ids = torch.arange(5, 17).reshape(2, 6)
    plain = AutoModelForSequenceClassification.from_pretrained(pruned).eval()
    assert not torch.equal(plain.classifier.weight, rounded["classifier.weight"])
    plain.load_state_dict(rounded)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(loaded.eval()(ids).logits, plain(ids).logits)
    assert loaded.config.id2label == plain.config.id2label
    for name in ("config.json", "tokenizer.json"):
        assert (tmp_path / "back" / name).read_bytes() == (pruned / name).read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_exact_values_of_a_model_in_several_files_come_back_exactly(tmp_path, dtype):
    small_models.gpt2(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model").to(dtype)
    model.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    written = compress(tmp_path / "shards", tmp_path / "file", "exact")
    assert written.left_out == ()
    assert written.zeroed == 0
    decompress(tmp_path / "file", tmp_path / "back")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "back")
    assert back.dtype == dtype
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))


@pytest.mark.parametrize("values", ["int8", "float16"])
def test_what_is_rounded_from_half_precision_comes_back_in_single(tmp_path, values):
    small_models.gpt2(tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(tmp_path / "model").to(torch.bfloat16).save_pretrained(tmp_path / "half")
    compress(tmp_path / "half", tmp_path / "file", values)
    decompress(tmp_path / "file", tmp_path / "back")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "back").dtype == torch.float32
    assert load_file(tmp_path / "back" / "model.safetensors")["transformer.wte.weight"].dtype == torch.float32
    compress(tmp_path / "back", tmp_path / "again", values)
    decompress(tmp_path / "again", tmp_path / "back2")
    assert (tmp_path / "back2" / "model.safetensors").read_bytes() == (tmp_path / "back/model.safetensors").read_bytes()


def test_numbers_that_are_no_floats_and_empty_weights_come_back(tmp_path):
    weights = {
        "a": torch.tensor([[True, False], [False, False]]),
        "b": torch.arange(6).reshape(1, 2, 3) - 3,
        "c": torch.zeros(0, 4),
        "d": torch.tensor(2.5),
        "e": torch.zeros(30, 70),
        "f": torch.eye(300, 2) * 127 / 64,
    }
    (tmp_path / "model").mkdir()
    save_file(weights, tmp_path / "model" / "model.safetensors")
    (tmp_path / "model" / "config.json").write_text("{}")
    compress(tmp_path / "model", tmp_path / "file")
    decompress(tmp_path / "file", tmp_path / "back")
    back = weights_in(tmp_path / "back")
    assert all(weight.dtype == back[name].dtype and torch.equal(weight, back[name]) for name, weight in weights.items())


def test_the_sizes_of_the_parts_add_up_to_the_file(pruned, tmp_path):
    parts = sizes_of(compress(pruned, tmp_path / "file").contents)
    whole = total(parts)
    assert whole.after == (tmp_path / "file").stat().st_size
    assert whole.weights == sum(weight.numel() for weight in weights_in(pruned).values())
    by_name = {part.name: part for part in parts}
    query = by_name["bert.encoder.layer.*.attention.self.query.weight"]
    assert query.weights == 256
    assert query.before == 1024
    assert 0 < query.kept < 60
    assert query.positions + query.values == query.after < 150
    assert by_name["vectors"].kept > 0
    assert sizes_of(read(tmp_path / "file")) == parts


def test_gaps_are_counted_along_whichever_side_is_pruned_more_evenly(tmp_path):
    (tmp_path / "model").mkdir()
    columns = torch.zeros(400, 50)
    columns[:, ::25] = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    save_file(
        {"columns": columns, "rows": columns.T.contiguous()}, tmp_path / "model" / "model.safetensors", {"format": "pt"}
    )
    (tmp_path / "model" / "config.json").write_text("{}")
    stored = compress(tmp_path / "model", tmp_path / "file", "exact").contents.description.weights
    assert {each.name: each.layout for each in stored} == {"columns": "rows", "rows": "columns"}
    decompress(tmp_path / "file", tmp_path / "back")
    assert torch.equal(weights_in(tmp_path / "back")["rows"], columns.T)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter; only whole models"),
        (lambda folder: (folder / "config.json").unlink(), "holds no model with config.json and model.safetensors"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 99), "model.safetensors is damaged"),
        (lambda folder: (folder.parent / "file").touch(), "exists already; choose another name"),
    ],
)
def test_what_cannot_be_compressed_is_refused(pruned, tmp_path, change, sentence):
    change(pruned)
    with pytest.raises(UsageError, match=sentence):
        compress(pruned, tmp_path / "file")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".unfinished")]


# -- files that nobody should trust ---------------------------------------------------------------

GOOD = Stored(name="w", dtype="float32", was="float32", shape=[2, 4], way="int8", layout="rows", scale=0.5, kept=2,
              gaps=2, streams=[0, 0])  # fmt: skip
STREAMS = [coding.deflated(bytes([1, 3])), coding.deflated(bytes([127, 3]))]


def forged(weights=(), texts=(), streams=STREAMS, **changes):
    """A file with a right checksum and whatever description is wanted, unchecked."""
    weight = GOOD.model_copy(update={"streams": [len(stream) for stream in streams], **changes})
    return to_bytes(Description.model_construct(weights=[*weights, weight], texts=list(texts)), streams)


def text(name, content=b"{}"):
    return Text.model_construct(name=name, size=len(content), stream=len(coding.deflated(content)))


def resealed(data, start=None, described=None):
    """A file whose checksum is right whatever was done to it."""
    start = start or struct.unpack_from("<8sIIQ", data)
    start = (*start[:3], described if described is not None else start[3])
    return struct.pack("<8sIIQ32s", *start, hashlib.sha256(data[56:]).digest()) + data[56:]


def refused(tmp_path, data, sentence, error=UsageError):
    (tmp_path / "forged").write_bytes(data)
    with pytest.raises(error, match=sentence):
        decompress(tmp_path / "forged", tmp_path / "out" / "back")
    assert not (tmp_path / "out" / "back").exists()
    assert not list(tmp_path.glob("out/.unfinished*"))


def test_a_file_made_by_hand_is_read(tmp_path):
    (tmp_path / "file").write_bytes(forged())
    decompress(tmp_path / "file", tmp_path / "back")
    assert weights_in(tmp_path / "back")["w"].tolist() == [[0, 63.5, 0, 0], [0, 1.5, 0, 0]]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": [2, 2]}, "positions of its weights do not fit their matrix"),
        ({"shape": [2**40, 2**40]}, "the disk has"),
        ({"shape": [-1, 4]}, "description is wrong at weights.0.shape.0"),
        ({"shape": [2] * 9}, "description is wrong at weights.0.shape"),
        ({"shape": [8], "layout": "columns"}, "a weight is described wrongly"),
        ({"kept": 9}, "more values than it can have"),
        ({"kept": 3}, "longer or shorter than it says"),
        ({"gaps": 3}, "more values than it can have"),
        ({"gaps": 1}, "longer or shorter than it says"),
        ({"shape": [2**24, 2**24], "kept": 2**40}, "longer than its part of the file can be"),
        ({"dtype": "float16"}, "rounded weights that are not float32"),
        ({"dtype": "object"}, "weights of an unknown type"),
        ({"was": "object"}, "weights of an unknown type"),
        ({"way": "exact"}, "a weight is described wrongly"),
        ({"way": "pickle"}, "description is wrong at weights.0.way"),
        ({"scale": 0.0}, "description is wrong at weights.0.scale"),
        ({"scale": math.inf}, "description is wrong at weights.0.scale"),
        ({"name": ""}, "description is wrong at weights.0.name"),
        ({"name": "__metadata__"}, "a weight is described wrongly"),
        ({"layout": "dense"}, "a weight is described wrongly"),
    ],
)
def test_a_forged_description_is_refused(tmp_path, changes, sentence):
    refused(tmp_path, forged(**changes), sentence, (UsageError, MachineError))


@pytest.mark.parametrize(
    "name", ["../evil.json", "/evil.json", "a/b.json", "evil.py", ".json", "evil.json\n", "evil.safetensors", "x" * 200]
)
def test_a_text_goes_nowhere_but_into_the_folder(tmp_path, name):
    refused(tmp_path, forged(texts=[text(name)], streams=[*STREAMS, coding.deflated(b"{}")]), "wrong at texts.0.name")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "adapter_config.json"])
def test_a_text_does_not_say_where_other_weights_are(tmp_path, name):
    data = to_bytes(Description(weights=[], texts=[text(name)]), [coding.deflated(b"{}")])
    refused(tmp_path, data, "say where other weights are")


def test_streams_add_up_to_the_file(tmp_path):
    data = to_bytes(Description(weights=[], texts=[text("a.json")]), [coding.deflated(b"{}"), b"more"])
    refused(tmp_path, data, "does not fit its length")


def test_names_come_once(tmp_path):
    twice = GOOD.model_copy(update={"streams": [len(stream) for stream in STREAMS]})
    data = to_bytes(Description(weights=[twice, twice], texts=[]), STREAMS * 2)
    refused(tmp_path, data, "names something twice")
    data = to_bytes(Description(weights=[], texts=[text("a.json"), text("A.json")]), [coding.deflated(b"{}")] * 2)
    refused(tmp_path, data, "names something twice")


def test_a_description_that_grows_without_end_is_refused(tmp_path):
    packed = coding.deflated(b" " * 2**20)
    data = struct.pack("<8sIIQ32s", b"LMWBPACK", 1, len(packed), 2**40, b"") + packed
    refused(tmp_path, resealed(data), "its description is too long")
    refused(tmp_path, resealed(data, described=2**19), "longer or shorter than it says")
    refused(tmp_path, resealed(data, described=2**20), "its description is wrong at its beginning")


def test_no_model_and_a_later_version_are_told_from_damage(tmp_path):
    refused(tmp_path, b"", "it is no compressed model")
    refused(tmp_path, b"PK\x03\x04" + bytes(100), "it is no compressed model")
    later = bytearray(forged())
    later[8] = 2
    refused(tmp_path, bytes(later), "version 2 of the format, this lmwb knows 1")


@settings(max_examples=60)
@given(st.data())
def test_any_damage_is_noticed(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("damage")
    good = forged()
    place = data.draw(st.integers(0, len(good) - 1))
    damaged = bytearray(good)
    damaged[place] ^= data.draw(st.integers(1, 255))
    refused(tmp_path, bytes(damaged), "cannot read")
    refused(tmp_path, good[:place], "cannot read")
    refused(tmp_path, good + b"\0", "cannot read")


@settings(max_examples=60)
@given(st.data())
def test_damage_under_a_right_checksum_gives_a_model_or_a_sentence(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("forged")
    damaged = bytearray(forged())
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(12, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "file").write_bytes(resealed(bytes(damaged)))
    with contextlib.suppress(UsageError, MachineError):
        decompress(tmp_path / "file", tmp_path / "back")
        assert (tmp_path / "back").is_dir()


# -- commands -------------------------------------------------------------------------------------


def lmwb(capsys, *words, code=0):
    assert run([*map(str, words), "--home", "/nonexistent"]) == code
    told = capsys.readouterr()
    assert not {"\x1b", "\x9b"} & {*told.out, *told.err}
    return told.out, told.err


def test_the_commands_tell_the_size_of_every_part(pruned, tmp_path, capsys):
    (pruned / "odd\x1b[31m.bin").touch()
    out, told = lmwb(capsys, "compress", pruned, tmp_path / "file")
    size = (tmp_path / "file").stat().st_size
    assert out.splitlines()[0].split() == ["part", "weights", "kept", "%", "before", "positions", "values", "file"]
    assert out.splitlines()[-1].startswith("together")
    assert out.splitlines()[-1].endswith(f" {size:,}")
    assert "not taken along: odd␛[31m.bin" in told
    assert lmwb(capsys, "decompress", tmp_path / "file", tmp_path / "back")[0] == out
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "back").config.num_labels == 3
    out, _ = lmwb(capsys, "compress", tmp_path / "back", tmp_path / "exact", "--values", "exact", "--json")
    found = json.loads(out)
    assert found["bytes"] == (tmp_path / "exact").stat().st_size == sum(part["after"] for part in found["parts"])
    assert found["zeroed"] == 0


def test_the_commands_refuse_in_one_sentence(pruned, tmp_path, capsys):
    (tmp_path / "file").write_text("hello")
    assert "exists already" in lmwb(capsys, "compress", pruned, tmp_path / "file", code=2)[1]
    told = lmwb(capsys, "decompress", tmp_path / "file", tmp_path / "back", code=2)[1]
    assert told == f"lmwb: cannot read {tmp_path / 'file'}: it is no compressed model\n"
    assert "is no run, and no folder" in lmwb(capsys, "compress", "who/knows", tmp_path / "new", code=2)[1]
    (tmp_path / "file").write_bytes(forged())
    assert "exists already" in lmwb(capsys, "decompress", tmp_path / "file", pruned, code=2)[1]
