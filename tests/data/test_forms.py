"""Data sets as people have them: recognised by their folders, read as they are, faults named."""

import json
import shutil

import cv2
import numpy as np
import pytest

from detassign.data import check, resolve
from detassign.data.forms import find
from detassign.data.reader import load_split

SIZE = (40, 30)  # width, height
BOXES = {"a": [(0, (10, 6, 20, 12))], "b": [(1, (0, 0, 40, 30)), (0, (2.5, 3, 8, 9))], "c": []}  # class, x, y, w, h
CLASSES = ("cat", "dog")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((*SIZE[::-1], 3), np.uint8))


def label_lines(objects):
    (width, height), lines = SIZE, []
    for label, (x, y, w, h) in objects:
        lines.append(f"{label} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n")
    return "".join(lines)


def xml(name, objects, size=SIZE, whole=False, extra=""):
    first = int(whole)
    found = "".join(
        f"<object><name>{CLASSES[label]}</name><difficult>0</difficult><bndbox><xmin>{x + first}</xmin><ymin>{y + first}</ymin>"
        f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
        for label, (x, y, w, h) in objects
    )
    width, height = size
    sized = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{extra}<filename>{name}</filename>{sized}{found}</annotation>"


def document(names):
    images = [
        {"id": k, "file_name": f"{name}.png", "width": SIZE[0], "height": SIZE[1]} for k, name in enumerate(names, 1)
    ]
    annotations = [
        {"image_id": k, "category_id": label + 1, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
        for k, name in enumerate(names, 1)
        for label, box in BOXES[name]
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def write_yolo(root, pictures="images/{split}", labels="labels/{split}", settings=None):
    for split, names in (("train", "abc"), ("val", "ab")):
        for name in names:
            picture(root / pictures.format(split=split) / f"{name}.png")
            file = root / labels.format(split=split) / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            if BOXES[name]:
                file.write_text(label_lines(BOXES[name]))
    (root / "data.yaml").write_text(settings or "train: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")


def ultralytics(root):
    write_yolo(root)


def ultralytics_without_entries(root):
    write_yolo(root, settings="names: [cat, dog]\nnc: 2\n")


def roboflow_yolo(root):
    settings = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
    write_yolo(root, "{split}/images", "{split}/labels", settings)
    (root / "val").rename(root / "valid")


def yolo_lists(root):
    write_yolo(root, settings="path: .\ntrain: lists/train.txt\nval: [val.txt]\nnames: [cat, dog]\n")
    (root / "lists").mkdir()
    (root / "lists" / "train.txt").write_text("".join(f"./../images/train/{name}.png\n" for name in "abc"))
    (root / "val.txt").write_text("images/val/a.png\n\nimages/val/b.png\n")


def yolo_beside(root):
    write_yolo(root, "{split}", "{split}", "train: train\nval: val\nnames: [cat, dog]\n")


def yolo_classes_txt(root):
    write_yolo(root)
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")


def voc(root):
    for split, names in (("train", "abc"), ("val", "de")):
        file = root / "ImageSets" / "Main" / f"{split}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{name}\n" for name in names))
    (root / "Annotations").mkdir()
    for name, like in zip("abcde", "abcab", strict=True):
        picture(root / "JPEGImages" / f"{name}.png")
        (root / "Annotations" / f"{name}.xml").write_text(xml(f"{name}.png", BOXES[like]))


def roboflow_voc(root):
    for split, names in (("train", "abc"), ("valid", "ab")):
        for name in names:
            picture(root / split / f"{name}.png")
            (root / split / f"{name}.xml").write_text(xml(f"{name}.png", BOXES[name]))


def roboflow_coco(root):
    for split, names in (("train", "abc"), ("valid", "ab")):
        for name in names:
            picture(root / split / f"{name}.png")
        (root / split / "_annotations.coco.json").write_text(json.dumps(document(names)))


def coco(root, images="{split}2017"):
    for split, names in (("train", "abc"), ("val", "ab")):
        for name in names:
            picture(root / images.format(split=split) / f"{name}.png")
        file = root / "annotations" / f"instances_{split}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document(names)))


def coco_in_images(root):
    coco(root, "images/{split}2017")


def plain(root):
    for split, names in (("train", "abc"), ("val", "ab")):
        for name in names:
            picture(root / split / f"{name}.png")
        (root / f"{split}.json").write_text(json.dumps(document(names)))


YOLO = [ultralytics, ultralytics_without_entries, roboflow_yolo, yolo_lists, yolo_beside, yolo_classes_txt]
VOC = [voc, roboflow_voc]
COCO = [roboflow_coco, coco, coco_in_images, plain]


@pytest.mark.parametrize("form", [*YOLO, *VOC, *COCO], ids=lambda form: form.__name__)
def test_a_set_is_recognised_and_read_to_the_same_columns(form, tmp_path):
    root = tmp_path / "mine"
    form(root)
    source = resolve(root)
    assert source.classes == CLASSES
    assert source.category_ids == (1, 2)
    train, val = load_split(source, "train"), load_split(source, "val")
    assert train.boxes.tolist() == [[10, 6, 20, 12], [0, 0, 40, 30], [2.5, 3, 8, 9]]
    assert train.labels.tolist() == [0, 1, 0]
    assert train.owners.tolist() == [0, 1, 1]
    assert train.image_ids.tolist() == [1, 2, 3]
    assert train.image_sizes.tolist() == [[40, 30]] * 3
    assert len(val.file_names) == 2
    for split, table in (("train", train), ("val", val)):
        assert all((source.place(split).images / name).is_file() for name in table.file_names)
    assert check(root).errors == check(root).warnings == ()


@pytest.mark.parametrize("form", [ultralytics, roboflow_voc, roboflow_coco], ids=lambda form: form.__name__)
def test_a_third_split_is_found_and_checked(form, tmp_path):
    form(tmp_path)
    for first, test in (("valid", "test"), ("images/val", "images/test"), ("labels/val", "labels/test")):
        if (tmp_path / first).is_dir():
            shutil.copytree(tmp_path / first, tmp_path / test)
    if form is ultralytics:
        (tmp_path / "data.yaml").write_text(
            "train: images/train\nval: images/val\ntest: images/test\nnames: [cat, dog]\n"
        )
    source = resolve(tmp_path)
    assert source.splits == ("train", "val", "test")
    assert len(load_split(source, "test").boxes) == 3
    assert list(check(tmp_path).statistics) == ["train", "val", "test"]
    assert not check(tmp_path).errors


def label_studio(root):
    """COCO, in one file that names its pictures with their folder."""
    for name in "abc":
        picture(root / "images" / f"{name}.png")
    content = document("abc")
    for image in content["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    (root / "result.json").write_text(json.dumps(content))


def voc_unlisted(root):
    voc(root)
    shutil.rmtree(root / "ImageSets")


def yolo_whole(root):
    for name in "abc":
        picture(root / f"{name}.png")
        (root / f"{name}.txt").write_text(label_lines(BOXES[name]))
    (root / "classes.txt").write_text("cat\ndog\n")


@pytest.mark.parametrize("form", [label_studio, voc_unlisted, yolo_whole], ids=lambda form: form.__name__)
def test_a_set_without_splits_is_recognised_and_says_how_to_divide_it(form, tmp_path):
    form(tmp_path)
    assert list(find(tmp_path)) == ["train"]
    report = check(tmp_path)
    assert [found.code for found in report.errors] == ["missing-split"]
    assert report.statistics["train"]["boxes"] in (3, 6)
    with pytest.raises(
        FileNotFoundError, match="needs a val split and has train alone; 'detassign data split' makes one"
    ):
        resolve(tmp_path)


def test_a_split_that_is_not_there_is_named(tmp_path):
    ultralytics(tmp_path)
    with pytest.raises(ValueError, match="has no split 'test', only train and val"):
        load_split(resolve(tmp_path), "test")


def test_the_yaml_itself_names_the_set(tmp_path):
    ultralytics(tmp_path / "mine")
    (tmp_path / "mine" / "data.yaml").rename(tmp_path / "other.yaml")
    (tmp_path / "other.yaml").write_text("path: mine\ntrain: images/train\nval: images/val\nnames: [cat, dog]\n")
    assert resolve(tmp_path / "other.yaml").train_images == tmp_path / "mine"


def codes(root):
    return {(found.severity, found.code) for found in check(root).findings}


def sentence(root, code):
    return next(str(found) for found in check(root).findings if found.code == code)


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("0 0.5 0.5 0.2 0.2 0.9", "label-confidence", "predictions, not labels"),
        ("0 0.5 0.5 0.2", "label-line", "a class and a box"),
        ("0 0.5 0.5 0.2 0.2 0.1 0.1 0.1", "label-line", "a class and a box"),
        ("cat 0.5 0.5 0.2 0.2", "label-line", "a class and a box"),
        ("0 0.5 nan 0.2 0.2", "label-line", "a class and a box"),
        ("2 0.5 0.5 0.2 0.2", "unknown-category", "not among those that are named, 0 to 1"),
        ("-1 0.5 0.5 0.2 0.2", "unknown-category", "0 to 1"),
        ("0.5 0.5 0.5 0.2 0.2", "unknown-category", "0 to 1"),
        ("0 20 15 8 6", "label-share", "shares of the picture, not pixels"),
        ("0 0.5 0.5 -0.2 0.2", "label-share", "shares of the picture"),
    ],
)
def test_a_wrong_line_is_an_error_with_file_and_line(tmp_path, line, code, said):
    ultralytics(tmp_path)
    with (tmp_path / "labels" / "train" / "b.txt").open("a") as file:
        file.write(line + "\n")
    assert ("error", code) in codes(tmp_path)
    shown = sentence(tmp_path, code)
    assert said in shown
    assert "labels/train/b.txt:3" in shown


def test_polygons_are_read_as_the_boxes_around_them_and_that_is_said(tmp_path):
    ultralytics(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.25 0.2 0.75 0.2 0.75 0.6 0.5 0.5\n")
    assert load_split(resolve(tmp_path), "train").boxes[0].tolist() == [10, 6, 20, 12]
    assert ("info", "polygons") in codes(tmp_path)


def test_boxes_of_poses_are_read_without_their_points(tmp_path):
    ultralytics(tmp_path)
    for file in (tmp_path / "labels").rglob("*.txt"):
        file.write_text("".join(line + " 0.5 0.5 2 0.1 0.1 1\n" for line in file.read_text().splitlines()))
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: [2, 3]\n")
    assert load_split(resolve(tmp_path), "train").boxes[0].tolist() == [10, 6, 20, 12]


def test_an_odd_box_is_named_by_its_line(tmp_path):
    ultralytics(tmp_path)
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0.5 0.5 0 0.2\n0 0.5 0.5 0.4 0.4\n")
    assert "labels/train/a.txt:1" in sentence(tmp_path, "empty-box")


def test_label_files_without_a_picture_and_pictures_without_labels_are_named(tmp_path):
    ultralytics(tmp_path)
    (tmp_path / "images" / "train" / "a.png").unlink()
    assert "'labels/train/a.txt'" in sentence(tmp_path, "labels-without-image")
    shutil.rmtree(tmp_path / "labels")
    assert "labels/train/b.txt" in sentence(tmp_path, "no-labels")


def test_listed_pictures_that_are_not_there_are_named(tmp_path):
    yolo_lists(tmp_path)
    (tmp_path / "val.txt").write_text("images/val/a.png\nimages/val/none.png\n")
    assert "'images/val/none.png'" in sentence(tmp_path, "missing-image")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("train: images/train\nval: images/val\n", "'names' must list the classes"),
        ("train: images/train\nval: images/val\nnames: {1: cat, 2: dog}\n", "from 0 without gaps"),
        ("train: images/train\nval: images/val\nnames: [cat, cat]\n", "two classes are called 'cat'"),
        ("train: images/train\nval: images/val\nnames: [cat, dog]\nnc: 3\n", "'nc' is 3, and 'names' has 2"),
        ("train: images/train\nval: images/none\nnames: [cat, dog]\n", "'val' names 'images/none', which is not there"),
        ("train: [[images/train]]\nval: images/val\nnames: [cat, dog]\n", "'train' must be a folder"),
        ("train: images/train\nval: /etc\nnames: [cat, dog]\n", "'/etc', which is not there below"),
        ("train: images/train\nval: ../../../etc\nnames: [cat, dog]\n", "'../../../etc', which is not there below"),
        ("names: [cat, dog\n", "no YAML"),
        ("names: !!python/object/apply:os.system ['touch pwned']\n", "no YAML: could not determine a constructor"),
        ("[" * 5000, "no readable YAML: it is nested too deeply"),
        ("just a text\n", "expected 'names'"),
        ("\0", "no YAML"),
        ("a: &a {b: 1}\nc: {<<: [*a, *a]}\nnames: [cat]\n", "no YAML: keys are merged with << in line 2, column 5"),
        (f"nc: {'1' * 5000}\nnames: [cat]\n", "data.yaml is no readable YAML: Exceeds the limit"),
        ("train: 2024-13-45\nnames: [cat]\n", "data.yaml is no readable YAML: month must be in 1..12"),
        ("names: !!bool cat\n", "data.yaml is no readable YAML: a value is not what its tag says"),
        ("names: !!int ''\n", "data.yaml is no readable YAML: a value is not what its tag says"),
        ("names: !!float ''\n", "data.yaml is no readable YAML"),
        ("names: !!timestamp cat\n", "data.yaml is no readable YAML: a value is not what its tag says"),
    ],
)
def test_a_broken_yaml_is_refused_in_one_sentence(tmp_path, settings, said):
    write_yolo(tmp_path, settings=settings)
    (found,) = check(tmp_path).errors
    assert found.code == "no-data-set"
    assert said in str(found)


def test_corners_of_whole_numbers_from_1_are_vocs_pixels(tmp_path):
    voc(tmp_path)
    whole = {
        name: [(label, tuple(map(int, box))) for label, box in BOXES[like]]
        for name, like in zip("abcde", "abcab", strict=True)
    }
    for name, objects in whole.items():
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml(f"{name}.png", objects, whole=True))
    assert load_split(resolve(tmp_path), "train").boxes.tolist() == [[10, 6, 20, 12], [0, 0, 40, 30], [2, 3, 8, 9]]
    assert "counted from 1 and both inside" in sentence(tmp_path, "voc-corners")


def test_one_corner_at_0_in_any_split_makes_all_of_them_coordinates(tmp_path):
    roboflow_voc(tmp_path)
    (tmp_path / "train" / "b.xml").write_text(xml("b.png", [(1, (3, 4, 10, 10))]))
    assert load_split(resolve(tmp_path), "train").boxes[1].tolist() == [3, 4, 10, 10]
    assert "coordinates from 0" in sentence(tmp_path, "voc-corners")


def test_difficult_objects_are_neither_learnt_nor_missed(tmp_path):
    voc(tmp_path)
    file = tmp_path / "Annotations" / "a.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    assert load_split(resolve(tmp_path), "train").crowd.tolist() == [True, False, False]


BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB + xml("&b;", []), "document type are refused"),
        (OUTSIDE + xml("&a;", []), "document type are refused"),
        ("<annotation>", "no XML"),
        ("<?xml version='1.0' encoding='nonsense'?><annotation/>", "no XML"),
        (xml("a.png", BOXES["a"]).replace("<xmin>10", "<xmin>ten"), "<bndbox> of four numbers"),
        (xml("a.png", BOXES["a"]).replace("<name>cat</name>", ""), "no <name>"),
    ],
)
def test_a_hostile_or_broken_xml_is_an_error(tmp_path, text, said):
    voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text(text)
    assert ("error", "annotation-file") in codes(tmp_path)
    assert said in sentence(tmp_path, "annotation-file")
    assert "a.xml" in sentence(tmp_path, "annotation-file")


def test_an_annotation_file_of_another_picture_is_named(tmp_path):
    voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text(xml("b.png", BOXES["a"], size=(50, 60)))
    assert "a.xml names 'b.png'" in sentence(tmp_path, "other-picture")
    assert "'a.png'" in sentence(tmp_path, "image-size")


def test_a_size_that_is_not_given_is_read_from_the_picture(tmp_path):
    voc(tmp_path)
    (tmp_path / "Annotations" / "a.xml").write_text(xml("a.png", BOXES["a"], size=(0, 0)))
    assert load_split(resolve(tmp_path), "train").image_sizes[0].tolist() == [40, 30]
    assert ("info", "no-size") in codes(tmp_path)


def test_classes_that_the_list_lacks_are_named(tmp_path):
    voc(tmp_path)
    (tmp_path / "classes.txt").write_text("dog\n")
    assert "'cat' in a.xml" in sentence(tmp_path, "unknown-category")


def test_a_listed_picture_without_annotations_is_an_error(tmp_path):
    voc(tmp_path)
    (tmp_path / "Annotations" / "b.xml").unlink()
    assert "b.xml" in sentence(tmp_path, "missing-annotation")


def test_a_picture_beside_which_no_xml_lies_is_named(tmp_path):
    roboflow_voc(tmp_path)
    (tmp_path / "train" / "c.xml").unlink()
    assert "'c.png'" in sentence(tmp_path, "image-without-annotation")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.jpg", "b.JPG", "a.txt"], "found 2 pictures, 1 .txt: YOLO? then data.yaml"),
        (["a.jpg", "x/y/a.xml"], "Pascal VOC?"),
        (["a.jpg", "mine.json"], "COCO?"),
        (["a.jpg"], "found 1 picture, and no annotations"),
        (["a.doc"], "found 1 .doc"),
        ([], "it is empty"),
    ],
)
def test_what_is_not_recognised_is_named_with_what_is_there(tmp_path, files, said):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="no data set in a form that is known") as refused:
        find(tmp_path)
    assert said in str(refused.value)


def test_a_set_one_folder_down_is_pointed_to(tmp_path):
    voc(tmp_path / "VOC2007")
    with pytest.raises(ValueError, match="the folder 'VOC2007' in it is one, name that"):
        find(tmp_path)


def files_of_voc(folder, names, listed, pictures=None):
    for name in pictures or [f"{name}.png" for name in names]:
        picture(folder / "JPEGImages" / name)
    (folder / "Annotations").mkdir()
    for name in names:
        (folder / "Annotations" / f"{name}.xml").write_text(xml(f"{name}.png", BOXES["a"]))
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(listed)
    return load_split(resolve(folder), "train")


def test_lists_of_voc_name_pictures_with_spaces_inner_suffixes_and_a_flag(tmp_path):
    listed = "my photo\nscan.tif\none 1\nnone -1\nphoto 0\nlast.png\n"
    table = files_of_voc(tmp_path, ["my photo", "scan.tif", "one", "none", "photo 0", "last"], listed)
    assert table.file_names == ["my photo.png", "scan.tif.png", "one.png", "none.png", "photo 0.png", "last.png"]


def test_of_two_pictures_of_one_name_the_one_that_the_file_names_is_taken(tmp_path):
    table = files_of_voc(tmp_path, ["a"], "a\n", pictures=["a.jpg", "a.png", "a.webp"])
    assert table.file_names == ["a.png"]


@pytest.mark.parametrize("listed", [b"\xef\xbb\xbfimages/a.png\n", b"\xef\xbb\xbf./images/a.png\r\n"])
def test_a_list_of_pictures_may_begin_with_the_mark_of_its_encoding(listed, tmp_path):
    picture(tmp_path / "images" / "a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(label_lines(BOXES["a"]))
    (tmp_path / "train.txt").write_bytes(listed)
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [cat, dog]\n")
    assert load_split(resolve(tmp_path), "train").file_names == ["images/a.png"]


def test_a_list_that_is_no_text_is_named(tmp_path):
    (tmp_path / "train.txt").write_bytes(b"\xff\xfea")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat, dog]\n")
    sentence = str(check(tmp_path).errors[0])
    assert f"{tmp_path / 'train.txt'} is no text: byte 0 is not utf-8" in sentence
