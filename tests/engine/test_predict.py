"""Prediction on image files: the evaluation's own detections, nothing overwritten, nothing lost."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detassign.data import resolve
from detassign.engine.build import build_model, load_checkpoint
from detassign.engine.checkpoints import Chosen
from detassign.engine.config import compose, source_of
from detassign.engine.datasets import eval_loader
from detassign.engine.predict import find_model, predict
from detassign.engine.prediction import reading
from detassign.engine.prediction.finding import find_images, left_out
from detassign.engine.prediction.reading import check_header, read_picture
from detassign.engine.prediction.wanted import Wanted
from detassign.engine.prediction.writing import PREDICTIONS
from detassign.engine.predictor import Predictor, compile_network
from detassign.engine.train import find_run
from detassign.evidence.drawing import fonts


@pytest.fixture
def picture(tmp_path):
    """Writes an image of noise, 60 wide and 40 high, and gives its path."""

    def write(name, size=(60, 40), seed=0, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, **options)
        return path

    return write


@pytest.fixture(scope="module")
def shapes(tiny_run):
    """The images that the tiny run was evaluated on."""
    config, _ = find_run(tiny_run)
    return sorted(source_of(config).val_images.glob("val_*.jpg"))


def predicted(run, images, folder, **options):
    """The summary of a prediction and what it wrote down."""
    outcome = predict(*find_run(run), images, folder, Wanted(**options), quiet=True).outcome
    return outcome, json.loads((folder / PREDICTIONS).read_text())


def test_detections_are_those_of_the_evaluation(tiny_run, shapes, tmp_path):
    config, checkpoint = find_run(tiny_run)
    model = build_model(config)
    load_checkpoint(model, checkpoint)
    batches = eval_loader(source_of(config), config["input"], batch_size=1)
    with torch.no_grad():
        wanted = [sample.pred_instances for batch in batches for sample in model.eval().test_step(batch)]
    threshold = model.post_process.score_threshold
    _, entries = predicted(tiny_run, shapes, tmp_path / "out", score=threshold)
    for entry, instances in zip(entries, wanted, strict=True):
        kept = instances.scores > threshold
        found = entry["detections"]
        assert len(found) == kept.sum()
        boxes = torch.tensor([one["box"] for one in found]).reshape(-1, 4)
        torch.testing.assert_close(boxes, instances.bboxes[kept], atol=0.006, rtol=0)
        names = [source_of(config).classes[label] for label in instances.labels[kept]]
        assert [one["label"] for one in found] == names


def test_every_image_has_an_entry_and_a_drawing(tiny_run, shapes, tmp_path):
    summary, entries = predicted(tiny_run, shapes, tmp_path / "out", score=0, limit=3)
    assert [entry["file"] for entry in entries] == [str(path) for path in shapes]
    assert {(entry["width"], entry["height"], len(entry["detections"])) for entry in entries} == {(96, 96, 3)}
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {PREDICTIONS, *(entry["drawing"] for entry in entries)}
    assert (summary.images, summary.detections, summary.failures) == (len(shapes), 3 * len(shapes), ())


def test_scores_fall_and_lie_above_the_threshold_even_below_the_models_own(tiny_run, shapes, tmp_path):
    _, entries = predicted(tiny_run, shapes[:1], tmp_path / "out", score=0.001)
    scores = [found["score"] for found in entries[0]["detections"]]
    assert scores == sorted(scores, reverse=True)
    assert 0.001 < min(scores) < 0.05


def test_threshold_of_one_leaves_nothing_but_the_image(tiny_run, shapes, tmp_path):
    summary, entries = predicted(tiny_run, shapes[:1], tmp_path / "out", score=1.0)
    assert (summary.detections, entries[0]["detections"]) == (0, [])


def test_without_drawings_there_is_only_the_list(tiny_run, shapes, tmp_path):
    _, entries = predicted(tiny_run, shapes[:1], tmp_path / "out", draw=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PREDICTIONS]
    assert entries[0]["drawing"] is None


def test_what_is_found_does_not_depend_on_the_other_images(tiny_run, shapes, picture, tmp_path):
    wide = picture("wide.png", (90, 30))
    _, alone = predicted(tiny_run, shapes[:1], tmp_path / "alone", score=0.001, draw=False)
    _, together = predicted(tiny_run, [wide, shapes[0]], tmp_path / "together", score=0.001, draw=False)
    assert together[1] == alone[0]


def test_boxes_lie_in_the_image_they_were_found_in(tiny_run, picture, tmp_path):
    _, (entry,) = predicted(tiny_run, [picture("wide.png", (300, 50))], tmp_path / "out", score=0, limit=50)
    boxes = np.array([found["box"] for found in entry["detections"]])
    assert (boxes >= 0).all()
    assert (boxes <= [300.01, 50.01, 300.01, 50.01]).all()
    assert boxes[:, 2].max() > 96  # pixels of the image, not of the network's input


def test_image_is_turned_as_its_exif_says(tiny_run, picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    _, (entry,) = predicted(tiny_run, [picture("phone.jpg", (60, 40), exif=exif)], tmp_path / "out")
    assert (entry["width"], entry["height"]) == (40, 60)
    with Image.open(tmp_path / "out" / "phone.png") as drawing:
        assert drawing.width / drawing.height == pytest.approx(40 / 60)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_any_colour_mode_is_read(mode, tiny_run, tmp_path):
    Image.new(mode, (20, 10)).save(tmp_path / "image.png")
    summary, _ = predicted(tiny_run, [tmp_path / "image.png"], tmp_path / "out", draw=False)
    assert summary.failures == ()


def test_unreadable_images_are_named_and_the_others_done(tiny_run, shapes, picture, tmp_path):
    junk, empty, cut = tmp_path / "junk.jpg", tmp_path / "empty.png", picture("cut.png", (99, 99))
    junk.write_text("no image")
    empty.touch()
    cut.write_bytes(cut.read_bytes()[:2000])
    broken = [junk, empty, cut, picture("thin.png", (1, 5000))]
    summary, entries = predicted(tiny_run, [*broken, shapes[0]], tmp_path / "out")
    assert [entry["file"] for entry in entries] == [str(shapes[0])]
    assert len(summary.failures) == len(broken)
    for path, failure in zip(broken, summary.failures, strict=True):
        assert failure.startswith(f"{path}: ")
        assert "\n" not in failure


def test_images_too_large_are_refused_by_their_header(picture, monkeypatch):
    path = picture("large.png", (60, 40))
    check_header(path)
    monkeypatch.setattr(reading, "MOST_PIXELS", 60 * 40 - 1)
    with pytest.raises(ValueError, match=r"large.png: larger than the .* megapixels"):
        check_header(path)
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    with pytest.raises(ValueError, match="bytes, more than the 10 that are read"):
        check_header(path)


def test_what_pillow_takes_for_a_bomb_is_too_large(picture, monkeypatch):
    path = picture("bomb.png", (60, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="larger than"):
        check_header(path)


def test_images_of_the_same_stem_have_drawings_of_their_own(tiny_run, picture, tmp_path):
    images = [picture("a/cat.png", seed=1), picture("b/cat.png", seed=2), picture("a/cat.jpg", seed=3)]
    _, entries = predicted(tiny_run, images, tmp_path / "out")
    assert [entry["drawing"] for entry in entries] == ["cat.png", "cat-2.png", "cat-3.png"]
    assert len({(tmp_path / "out" / entry["drawing"]).read_bytes() for entry in entries}) == 3


def test_folder_with_files_is_refused_and_left_alone(tiny_run, picture):
    image = picture("in/cat.png")
    before = image.read_bytes()
    with pytest.raises(FileExistsError, match="holds files already"):
        predicted(tiny_run, [image], image.parent)
    assert [path.name for path in image.parent.iterdir()] == ["cat.png"]
    assert image.read_bytes() == before
    with pytest.raises(FileExistsError, match="is a file"):
        predicted(tiny_run, [image], image)


def test_an_interruption_keeps_what_was_done(tiny_run, shapes, tmp_path, monkeypatch):
    detect, calls = Predictor.detect, []

    def interrupted(self, *arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return detect(self, *arguments)

    monkeypatch.setattr(Predictor, "detect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predicted(tiny_run, shapes, tmp_path / "out")
    entries = json.loads((tmp_path / "out" / PREDICTIONS).read_text())
    assert [entry["file"] for entry in entries] == [str(shapes[0])]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {PREDICTIONS, entries[0]["drawing"]}


def test_interrupted_before_the_first_image_the_list_is_empty(tiny_run, shapes, tmp_path, monkeypatch):
    def interrupted(self, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "load_pixels", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predicted(tiny_run, shapes, tmp_path / "out")
    assert json.loads((tmp_path / "out" / PREDICTIONS).read_text()) == []


def test_a_full_disk_is_named_and_what_was_done_is_kept(tiny_run, shapes, tmp_path, monkeypatch):
    save, saved = Image.Image.save, []

    def full(self, *arguments, **named):
        saved.append(1)
        if len(saved) >= 2:
            raise OSError(28, "No space left on device")
        save(self, *arguments, **named)

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left") as refused:
        predicted(tiny_run, shapes, tmp_path / "out")
    assert Path(refused.value.filename).parent == tmp_path / "out"
    assert len(json.loads((tmp_path / "out" / PREDICTIONS).read_text())) == 1


def test_a_checkpoint_of_another_model_leaves_no_folder(tiny_run, shapes, tmp_path):
    config, checkpoint = find_run(tiny_run)
    config["model"]["head"]["stacked_convs"] = 1
    with pytest.raises(ValueError, match="a checkpoint of another model"):
        predict(config, checkpoint, shapes, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()


def test_the_data_set_need_not_be_there(tiny_run, picture, tmp_path):
    config, checkpoint = find_run(tiny_run)
    for key in ("train_annotations", "val_annotations", "train_images", "val_images"):
        config["data"][key] = str(tmp_path / "gone")
    assert predict(config, checkpoint, [picture("cat.png")], tmp_path / "out", quiet=True).outcome.images == 1


def test_model_is_found_from_a_run_or_from_a_checkpoint_in_it(tiny_run):
    config, chosen = find_model(tiny_run)
    assert find_run(tiny_run) == (config, chosen.path)
    assert find_model(chosen.path) == (config, Chosen(chosen.path, None))
    assert find_model(tiny_run, "last")[1].path == tiny_run / "epoch_1.pth"
    with pytest.raises(ValueError, match=r"--checkpoint last: .* is a checkpoint already"):
        find_model(chosen.path, "last")


def test_missing_run_and_lonely_checkpoint_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run folder .*nowhere does not exist"):
        find_model(tmp_path / "nowhere")
    (tmp_path / "lonely.pth").touch()
    with pytest.raises(FileNotFoundError, match=r"lonely.pth: expected the config.json of its run beside it"):
        find_model(tmp_path / "lonely.pth")


def test_folders_give_their_own_images_by_name_once(picture):
    inner = [picture("in/b.png"), picture("in/a.JPG")]
    picture("in/deeper/c.png")
    picture("in/.hidden.png")
    (inner[0].parent / "notes.txt").touch()
    assert find_images([inner[0].parent]) == sorted(inner)
    assert find_images([inner[0], inner[0].parent]) == [inner[0], inner[1]]


READABLE = {
    "jpg": "JPEG",
    "jfif": "JPEG",
    "avif": "AVIF",
    "jp2": "JPEG2000",
    "ppm": "PPM",
    "dib": "BMP",
    "photo": "PNG",
}
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64


def test_what_can_be_read_is_taken_whatever_its_suffix_and_the_rest_is_counted(picture, tmp_path):
    images = [picture(f"in/{kind}.{kind}", format=form) for kind, form in READABLE.items()]
    for name in ("a.heic", "b.HEIC", "notes.txt", "README", ".hidden"):
        (tmp_path / "in" / name).write_bytes(HEIC)
    assert find_images([tmp_path / "in"]) == sorted(images)
    (sentence,) = left_out([tmp_path / "in", images[0]])
    assert sentence.startswith(f"{tmp_path / 'in'}: left out: 2 .heic, ")
    assert sorted(sentence.split(", ")[1:]) == ["1 .txt", "1 without a suffix"]


@pytest.mark.parametrize("kind", READABLE)
def test_a_model_reads_every_kind_that_is_taken(tiny_run, picture, tmp_path, kind):
    summary, entries = predicted(tiny_run, [picture(f"a.{kind}", format=READABLE[kind])], tmp_path / "out", draw=False)
    assert summary.failures == ()
    assert (entries[0]["width"], entries[0]["height"]) == (60, 40)


def test_folders_in_a_folder_are_named_or_looked_into(picture, tmp_path):
    images = [picture(f"in/{name}") for name in ("b.png", "a/c.png", "a/a/b.png", "d/a.png")]
    picture("in/.thumbnails/b.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in", target_is_directory=True)
    assert find_images([tmp_path / "in"]) == images[:1]
    assert left_out([tmp_path / "in"]) == [f"{tmp_path / 'in'}: left out: 3 folders (see --recursive)"]
    assert find_images([tmp_path / "in"], recursive=True) == sorted(images)
    assert left_out([tmp_path / "in"], recursive=True) == [f"{tmp_path / 'in'}: left out: 1 folder"]
    assert left_out([tmp_path / "in" / "d"]) == []


def test_a_folder_of_what_cannot_be_read_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "a.heic").write_bytes(HEIC)
    with pytest.raises(FileNotFoundError, match=r"holds no image that can be read; .*: left out: 1 \.heic"):
        find_images([tmp_path])


def test_named_files_are_taken_whatever_their_suffix(tmp_path):
    (tmp_path / "odd.name").touch()
    assert find_images([tmp_path / "odd.name"]) == [tmp_path / "odd.name"]


def test_missing_paths_and_folders_without_images_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image .*nowhere.png does not exist"):
        find_images([tmp_path / "nowhere.png"])
    with pytest.raises(FileNotFoundError, match="holds no image"):
        find_images([tmp_path])


def test_a_compiled_network_detects_the_same(tiny_run, shapes):
    """Traced without code generation, which takes minutes here."""
    config, checkpoint = find_run(tiny_run)
    model = build_model(config, initialise=False).eval()
    load_checkpoint(model, checkpoint)
    image = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model.predictions(image)
        compile_network(model, backend="eager")
        compiled = model.predictions(image)
    torch.testing.assert_close(compiled.logits, plain.logits)
    torch.testing.assert_close(compiled.boxes, plain.boxes)


def test_more_detections_than_usual_can_be_asked_of_a_query_detector(shapes, tmp_path):
    """Its own limit, 100 here, stands in two places."""
    config = compose("dino_r18_tiny", None, resolve(shapes[0].parent.parent), changes={"input.scale": (96, 96)})
    torch.save({"state_dict": build_model(config).state_dict()}, tmp_path / "dino.pth")
    counts = []
    for limit in (None, 250):
        predictor = Predictor.load(config, tmp_path / "dino.pth")
        picture = read_picture(shapes[0], predictor)
        counts.append(len(predictor.detect([picture.prepared], 0.0, limit)[0].scores))
    assert counts == [100, 250]


def test_names_that_no_font_has_are_drawn_as_numbers_with_one_warning(tiny_run, shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "_font_with", lambda letters: None if ord("k") in letters else fonts.DEFAULT)
    fonts.lettering.cache_clear()
    with pytest.warns(UserWarning, match="are drawn as numbers: #0 for 'disk'; a font of their script") as warned:
        predicted(tiny_run, shapes, tmp_path / "out", score=0, limit=5)
    assert len(warned) == 1
    predicted(tiny_run, shapes, tmp_path / "json", draw=False)
    fonts.lettering.cache_clear()
