"""Small images: drawn from fonts, or read from folders; a convnet learns them and goes on exactly where it stopped."""

from contextlib import closing

import numpy as np
import pytest
import torch
from lmwb.core.data.images import read_images
from lmwb.core.data.sources import SourceError
from lmwb.core.errors import Stopped, ValueInRecipeError
from lmwb.core.recipe.schema import ImageStage
from lmwb.core.tasks.images import ImageTask
from lmwb.core.tasks.task import Surroundings
from lmwb.core.training.objectives.images import ImageClassification
from PIL import Image
from test_training_stage import Bench, same


def put(folder, label, *greys, suffix="png", size=(32, 32)):
    (folder / label).mkdir(parents=True, exist_ok=True)
    for i, grey in enumerate(greys):
        Image.new("L", size, grey).save(folder / label / f"{i}.{suffix}")


def read(source, part="train", limit=None):
    return read_images(str(source), part, f"data.{part}", limit)


# -- drawn ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "names"), [("drawn-digits", 10), ("drawn-letters", 26)])
def test_drawn_characters_are_the_same_every_time_and_another_image_each(source, names):
    images = read(source, limit=300)
    assert images.pixels.shape == (300, 32, 32)
    assert images.pixels.dtype == np.uint8
    assert (read(source, limit=300).pixels == images.pixels).all()
    assert np.bincount(images.labels, minlength=names).max() - np.bincount(images.labels, minlength=names).min() <= 1
    assert len(images.names) == names
    assert len({image.tobytes() for image in images.pixels}) == 300


def test_no_image_is_in_two_parts():
    parts = [
        {image.tobytes() for image in read("drawn-digits", part, 200).pixels}
        for part in ("train", "validation", "test")
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 600


def test_labels_belong_to_their_images():
    """Nearest neighbours, with nothing learned, name far more digits than chance (0.1) would."""
    train, test = read("drawn-digits", limit=2000), read("drawn-digits", "test", 300)
    near, far = (images.pixels.reshape(len(images), -1).astype(np.float32) for images in (train, test))
    distances = (near**2).sum(1) - 2 * far @ near.T
    assert (train.labels[distances.argmin(1)] == test.labels).mean() > 0.4


# -- folders ----------------------------------------------------------------------------------------


def test_a_folder_of_folders_gives_images_with_the_folders_names(tmp_path):
    put(tmp_path, "dark", 0, 10)
    put(tmp_path, "bright", 250, suffix="bmp")
    (tmp_path / "dark" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    images = read(tmp_path)
    assert (images.names, images.labels.tolist(), images.left_out) == (["bright", "dark"], [0, 1, 1], 1)
    assert images.pixels.mean((1, 2)).tolist() == [250, 0, 10]


def test_images_of_any_kind_become_small_and_grey(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    Image.new("RGB", (64, 20), (255, 0, 0)).save(folder / "0.png")
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(folder / "1.png")  # nothing but transparency: white paper
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(folder / "2.png")
    Image.new("1", (32, 32), 1).save(folder / "3.png")
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([0, 0, 255] * 256)
    palette.save(folder / "4.gif")
    assert read(tmp_path).pixels.mean((1, 2)).tolist() == [76, 255, 155, 255, 29]


def test_a_choice_of_images_is_always_the_same_one(tmp_path):
    put(tmp_path, "a", *range(20))
    put(tmp_path, "b", *range(100, 120))
    few = read(tmp_path, limit=15)
    assert len(few) == 15
    assert (read(tmp_path, limit=15).pixels == few.pixels).all()
    assert set(few.labels.tolist()) == {0, 1}


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match="is not a folder with a folder of images per label"):
        read(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(SourceError, match="holds no folders with images in them"):
        read(tmp_path)
    (tmp_path / "a" / "x.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(SourceError, match=r"cannot read the image .*a/x\.png: cannot identify") as caught:
        read(tmp_path, "test")
    assert caught.value.key == "data.test"


# -- the task ---------------------------------------------------------------------------------------


def stage(**tables):
    document = {
        "objective": "image-classification",
        "model": {"kind": "convnet", "channels": [3, 4], "hidden": 8, "dropout": 0.2},
        "data": {"train": "drawn-digits", "max_rows": 60},
        "train": {"steps": 12, "batch_size": 4, "lr": 1e-2, "gradient_accumulation": 2, "eval_every": 5,
                  "checkpoint_every": 4, "result": "last"},
    }  # fmt: skip
    return ImageStage.model_validate({key: {**table, **tables.get(key, {})} if isinstance(table, dict) else table
                                      for key, table in document.items()})  # fmt: skip


def task(tell=print, **data):
    return ImageTask(stage(data=data), Surroundings(1, None, tell))


def test_parts_do_not_overlap_and_nothing_is_lost():
    said = []
    material = task(said.append, validation=0.2, test="drawn-digits").read()
    train, validation, test = (
        material.train.images,
        material.validation["validation"].images,
        material.test["test"].images,
    )
    assert said == ["images: 48 in train, 12 in validation, 60 in test; 10 labels"]
    everything = [image.tobytes() for part in (train, validation, test) for image in part.pixels]
    assert len(set(everything)) == 120
    assert set(everything[:60]) == {image.tobytes() for image in read("drawn-digits", limit=60).pixels}
    assert material.fields["id2label"][9] == "9"
    assert not task(validation=0).read().validation


def test_labels_are_numbered_as_in_the_training_images(tmp_path):
    put(tmp_path / "train", "a", 1)
    put(tmp_path / "train", "b", 2)
    put(tmp_path / "train", "c", 3, 3)
    put(tmp_path / "test", "c", 9)
    put(tmp_path / "test", "b", 8)
    material = task(train=str(tmp_path / "train"), test=str(tmp_path / "test")).read()
    assert material.test["test"].images.labels.tolist() == [1, 2]
    put(tmp_path / "test", "d", 7)
    with pytest.raises(ValueInRecipeError, match="the label 'd' does not occur in the training images") as caught:
        task(train=str(tmp_path / "train"), test=str(tmp_path / "test")).read()
    assert caught.value.key == "data.test"


def test_training_needs_two_labels(tmp_path):
    put(tmp_path, "only", 1, 2)
    with pytest.raises(ValueInRecipeError, match="all training images have the same label, 'only'"):
        task(train=str(tmp_path)).read()


def test_a_model_for_other_images_is_refused():
    from transformers import ViTConfig, ViTForImageClassification

    config = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    fits = ViTForImageClassification(ViTConfig(**config, image_size=32, patch_size=8, num_channels=1, num_labels=10))
    made = task()
    material = made.read()
    made.check_model(fits)
    assert material.train.forward(fits, material.train.collate([0, 1], 0)).shape == (2, 10)
    with pytest.raises(ValueInRecipeError, match="takes images of 224×224 with 3 channels, not 32×32 in grey"):
        made.check_model(ViTForImageClassification(ViTConfig(**config)))


def test_values_run_from_minus_one_to_one(tmp_path):
    put(tmp_path, "a", 0, 255)
    batch = ImageClassification(read(tmp_path)).collate([0, 1], 0)
    assert batch.inputs["pixel_values"].shape == (2, 1, 32, 32)
    assert batch.inputs["pixel_values"].mean((1, 2, 3)).tolist() == [-1, 1]
    assert (batch.weight, batch.targets.tolist()) == (2, [0, 0])


# -- the stage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("whole"), stage(data={"test": "drawn-digits"}))
    return bench, bench.work()


@pytest.mark.parametrize("stops", [[1], [7], [3, 5]])
def test_a_stopped_and_resumed_convnet_ends_with_the_same_weights(uninterrupted, tmp_path, stops):
    whole, _ = uninterrupted
    bench = Bench(tmp_path, stage(data={"test": "drawn-digits"}))
    for stop in stops:
        with pytest.raises(Stopped):
            bench.work(stop_after=stop)
    results = bench.work()
    assert same(bench.weights(), whole.weights())
    assert results["test"] == uninterrupted[1]["test"]
    with closing(bench.history) as resumed, closing(whole.history) as reference:
        found, expected = (h.points(b.stage_id, "train/loss") for h, b in ((resumed, bench), (reference, whole)))
        assert found.values.tolist() == expected.values.tolist()


def test_the_result_tells_its_labels_and_builds_another(uninterrupted, tmp_path, capsys):
    whole, results = uninterrupted
    assert 0 <= results["test"]["accuracy"] <= 1
    document = {
        "objective": "image-classification",
        "model": {"from": str(whole.folder / results["model"])},
        "data": {"train": "drawn-letters", "max_rows": 80},
        "train": {"steps": 2},
    }
    letters = ImageStage.model_validate(document)
    Bench(tmp_path, letters).work()
    assert "a head of another size is replaced" in capsys.readouterr().out


def test_figures_and_gradients_do_not_depend_on_how_rows_are_split():
    from lmwb.core.models.loading import make_model
    from lmwb.core.training.evaluation import evaluate

    rows = task().read().train
    torch.manual_seed(0)
    model = make_model(stage(model={"dropout": 0.0}).model, "image-classification", None, {"num_labels": 10}, print)
    cpu = torch.device("cpu")
    figures = [evaluate(model, rows, size, cpu) for size in (1, 7, 54)]
    for name in figures[0]:
        assert [f[name] for f in figures] == pytest.approx([figures[0][name]] * 3, rel=1e-6)
    gradients = []
    for split in ([range(12)], [range(5), range(5, 12)], [[i] for i in range(12)]):
        model.zero_grad()
        for part in split:
            batch = rows.collate(list(part), 0)
            (rows.loss_sum(rows.forward(model, batch), batch) / 12).backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-5, atol=1e-6)
