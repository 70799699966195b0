import json
import shutil
import warnings

import matplotlib.image
import pytest
import torch
from click.testing import CliRunner

from detassign.cli.inspect import command
from detassign.data import make_dataset, resolve
from detassign.engine.build import build_model
from detassign.engine.config import compose
from detassign.engine.files import write_json
from detassign.engine.inspecting import queries
from detassign.evidence.telemetry.history import COLUMNS, History


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return folder


def leave_run(folder, detector, data):
    """What a run leaves behind: a config, a checkpoint, and which checkpoint is the last."""
    config = compose(detector, None, resolve(data), changes={"input.scale": (64, 64)})
    write_json(config, folder / "config.json")
    torch.save({"state_dict": build_model(config).state_dict()}, folder / "epoch_1.pth")
    (folder / "last_checkpoint").write_text(str(folder / "epoch_1.pth"))
    return folder


@pytest.fixture(scope="module")
def run_folder(data, tmp_path_factory):
    return leave_run(tmp_path_factory.mktemp("run"), "fcos_tiny", data)


@pytest.fixture(scope="module")
def query_run(data, tmp_path_factory):
    return leave_run(tmp_path_factory.mktemp("query_run"), "dino_r18_tiny", data)


def invoke(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def refusal(*arguments):
    """The sentence with which these arguments are refused."""
    result = invoke(*arguments)
    assert result.exit_code != 0
    return str(result.exception) if not isinstance(result.exception, SystemExit) else result.output


def names_in(data, split="val"):
    return [image["file_name"] for image in json.loads((data / f"{split}.json").read_text())["images"]]


def test_it_draws_a_picture_and_counts_per_target(data, tmp_path):
    out, counts = tmp_path / "picture.png", tmp_path / "counts.json"
    result = invoke("--data", data, "--split", "train", "--image", "0", "--out", out, "--json", counts)
    assert result.exit_code == 0, result.output
    height, width = matplotlib.image.imread(out).shape[:2]
    assert 900 <= width <= 2000
    assert 1000 <= height <= 2400
    written = json.loads(counts.read_text())
    assert list(written["assigners"]) == ["fcos", "atss", "dw"]
    assert written["image"] == names_in(data, "train")[0]
    for target in written["targets"]:
        assert set(target["assigners"]["dw"]) == {"pairs", "effective", "strides", "positive", "best_iou"}
        assert target["label"] in result.output


def test_json_targets_add_up_to_its_totals(data, tmp_path):
    counts = tmp_path / "counts.json"
    invoke("--data", data, "--split", "train", "--image", "0", "--out", tmp_path / "p.png", "--json", counts)
    written = json.loads(counts.read_text())
    for name, total in written["assigners"].items():
        shares = [target["assigners"][name] for target in written["targets"]]
        assert total["targets"] == len(shares)
        assert total["pairs"] == sum(share["pairs"] for share in shares)
        assert total["sum_positive"] == pytest.approx(sum(share["positive"] for share in shares), rel=1e-5)


def test_an_image_is_found_by_its_file_name(data, tmp_path):
    name = names_in(data, "train")[-1]
    out = tmp_path / "p.png"
    result = invoke("--data", data, "--split", "train", "--image", name, "--assigners", "fcos", "--out", out)
    assert result.exit_code == 0, result.output
    assert name in result.output


def test_the_picture_is_named_after_the_image(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoke("--data", data, "--assigners", "fcos")
    stem = names_in(data)[0].rsplit(".", 1)[0]
    assert (tmp_path / f"inspect-{stem}.png").is_file()


def test_a_detector_gives_strides_and_input_size(data, tmp_path):
    counts = tmp_path / "c.json"
    options = (
        "--data",
        data,
        "--split",
        "train",
        "--image",
        "0",
        "--assigners",
        "dw",
        "--out",
        tmp_path / "p.png",
        "--json",
        counts,
    )
    invoke(*options)
    stored = json.loads(counts.read_text())
    invoke(*options, "--detector", "fcos_tiny")
    scaled = json.loads(counts.read_text())
    assert (stored["width"], scaled["width"]) == (64, 320)
    assert scaled["targets"][0]["box"] == pytest.approx([5 * side for side in stored["targets"][0]["box"]], rel=1e-4)


def test_the_seed_decides_the_simulated_predictions(data, tmp_path):
    def written(seed):
        counts = tmp_path / "c.json"
        options = ("--data", data, "--split", "train", "--image", "0", "--assigners", "dw", "--out", tmp_path / "p.png")
        invoke(*options, "--json", counts, "--seed", seed)
        return json.loads(counts.read_text())["targets"]

    assert written(3) == written(3)
    assert written(3) != written(4)


def test_a_run_brings_its_predictions_data_and_size_for_all_assigners(run_folder, tmp_path):
    counts = tmp_path / "c.json"
    result = invoke(
        "--run", run_folder, "--split", "train", "--image", "0", "--out", tmp_path / "p.png", "--json", counts
    )
    assert result.exit_code == 0, result.output
    written = json.loads(counts.read_text())
    assert list(written["assigners"]) == ["fcos", "atss", "dw"]
    assert written["predictions"] == f"predictions of {run_folder / 'epoch_1.pth'}"
    assert written["width"] == 64


def test_an_index_out_of_range_is_refused_with_the_last_one(data):
    assert "the last is" in refusal("--data", data, "--image", 99)


def test_an_unknown_file_name_is_refused_with_the_nearest(data):
    name = names_in(data)[0]
    assert f"did you mean '{name}'?" in refusal("--data", data, "--image", name + "x")
    assert "expected an index below" in refusal("--data", data, "--image", "?")


def test_an_unknown_assigner_is_refused_with_the_nearest(data):
    assert "did you mean 'atss'" in refusal("--data", data, "--assigners", "fcos,ats")


def test_an_unreadable_image_is_named(tmp_path):
    make_dataset(tmp_path / "broken", images=4, size=64)
    name = names_in(tmp_path / "broken")[0]
    (tmp_path / "broken" / "images" / name).write_bytes(b"no picture")
    sentence = refusal("--data", tmp_path / "broken", "--out", tmp_path / "p.png")
    assert sentence.startswith(f"data: val.json: images cannot be opened (1, such as '{name}')")


def test_a_folder_that_is_not_there_is_refused_before_any_work(data, tmp_path):
    assert "does not exist" in refusal("--data", data, "--out", tmp_path / "none" / "p.png")
    assert "this is a folder" in refusal("--data", data, "--json", tmp_path)


def test_a_run_takes_no_detector(run_folder):
    assert "leave one of the two out" in refusal("--run", run_folder, "--detector", "fcos_tiny")


def test_a_run_takes_only_data_of_its_classes(run_folder, data, tmp_path):
    other = tmp_path / "other"
    make_dataset(other, images=4, size=64)
    for split in ("train", "val"):
        text = (other / f"{split}.json").read_text()
        (other / f"{split}.json").write_text(text.replace('"ring"', '"hoop"'))
    assert "other classes than the run's; 'hoop' is one of the data's alone" in refusal(
        "--run", run_folder, "--data", other
    )


def test_a_run_whose_data_was_moved_is_told_where_it_is(run_folder, data, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace(str(data), "gone"))
    asked = refusal("--run", tmp_path / "run", "--out", tmp_path / "p.png")
    assert "val.json does not exist; say where the data set is now with --data or --data-root" in asked
    for option in ("--data", "--data-root"):
        found = invoke("--run", tmp_path / "run", option, data, "--out", tmp_path / "p.png")
        assert found.exit_code == 0, found.output


def test_a_missing_run_is_refused(tmp_path):
    assert "does not exist" in refusal("--run", tmp_path / "none")


def test_a_checkpoint_of_another_model_is_refused(run_folder, tmp_path):
    (tmp_path / "config.json").write_text((run_folder / "config.json").read_text())
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "epoch_1.pth")
    (tmp_path / "last_checkpoint").write_text("epoch_1.pth")
    assert "a checkpoint of another model" in refusal("--run", tmp_path, "--out", tmp_path / "p.png")


def written_by(run, folder, *arguments):
    """The JSON, and what is on the terminal, for the first training image of a run."""
    counts = folder / "counts.json"
    result = invoke(
        "--run", run, "--split", "train", "--image", "0", "--out", folder / "p.png", "--json", counts, *arguments
    )
    assert result.exit_code == 0, result.output
    return json.loads(counts.read_text()), result.output


def test_a_query_detectors_run_shows_its_own_assigners_matches(query_run, tmp_path):
    """A dict per layer and target, with every term of the cost; the picture is there."""
    written, output = written_by(query_run, tmp_path)
    assert list(written["assigners"]) == ["hungarian"]
    assert written["assigners"]["hungarian"]["queries"] == 60
    for target in written["targets"]:
        match = target["assigners"]["hungarian"]["layers"][-1]
        assert match["cost"] == pytest.approx(sum(match["costs"].values()), abs=1e-5)
        assert f" {match['query']} " in output
        assert target["label"] in output
    assert matplotlib.image.imread(tmp_path / "p.png").shape[1] > 1200


def test_several_assigners_match_the_same_queries_side_by_side(query_run, tmp_path):
    """The boxes are those of one prediction, the costs are each assigner's own."""
    written, output = written_by(query_run, tmp_path, "--assigners", "hungarian,deformable_detr,detr")
    assert list(written["assigners"]) == ["hungarian", "deformable_detr", "detr"]
    first, same, other = written["targets"][0]["assigners"].values()
    assert first["boxes"] == same["boxes"]
    assert set(other["layers"][0]["costs"]) == {"softmax", "l1", "giou"}
    assert "as hungarian" in output


@pytest.mark.parametrize(
    ("detector", "numbers"),
    [("detr_tiny", None), ("conditional_detr_tiny", [2, 2, 2]), ("deformable_detr_refine_tiny", [2, 4, 4])],
)
def test_detectors_without_references_and_with_points_are_shown_too(detector, numbers, data, tmp_path):
    """DETR's queries have no place, Conditional DETR's a point, Deformable DETR's one that becomes a box."""
    written, _ = written_by(leave_run(tmp_path, detector, data), tmp_path)
    references = next(iter(written["targets"][0]["assigners"].values()))["references"]
    assert (references and [len(reference) for reference in references]) == numbers


def test_assigners_whose_matches_cannot_be_followed_show_what_the_last_layer_learns(query_run, tmp_path):
    """Any assigner goes on queries; beside one of them, a Hungarian matching's layers are not told either."""
    written, output = written_by(query_run, tmp_path, "--assigners", "hungarian,atss")
    assert list(written["assigners"]) == ["hungarian", "atss"]
    for target in written["targets"]:
        (match,) = target["assigners"]["hungarian"]
        assert match["positive"] > 0
        assert target["assigners"]["atss"] == sorted(
            target["assigners"]["atss"], key=lambda sample: -sample["positive"]
        )
    assert written["assigners"]["hungarian"]["objects"] == len(written["targets"])
    assert "layer by layer" not in output


def test_a_run_whose_outputs_have_assigners_of_their_own_shows_the_decoders():
    head = {"assigner": {"type": "hungarian", "encoder": "atss", "denoising": "hungarian"}}
    assert queries.own({"model": {"head": head}}) == [{"type": "hungarian"}]


def test_outputs_show_what_training_adds(query_run, run_folder, tmp_path):
    out, counts = tmp_path / "picture.png", tmp_path / "counts.json"
    result = invoke("--run", query_run, "--outputs", "--out", out, "--json", counts)
    assert result.exit_code == 0, result.output
    written = json.loads(counts.read_text())
    assert set(written["assigners"]) == {"decoder", "dn"}
    assert written["assigners"]["decoder"]["pairs"] == len(written["targets"])
    assert all(len(target["assigners"]["decoder"]) == 1 for target in written["targets"])
    assert out.stat().st_size > 10_000
    assert "--outputs: belongs to query detectors" in refusal("--run", run_folder, "--outputs")
    assert "under the run's own" in refusal("--run", query_run, "--outputs", "--assigners", "hungarian")


def test_an_untrained_query_detector_is_refused_with_the_way_out(data):
    assert "give a trained run's folder with --run" in refusal("--data", data, "--detector", "dino_r18_tiny")


def with_names(data, folder, names):
    """A copy of a data set with other class names, in `folder`."""
    shutil.copytree(data, folder)
    for split in ("train", "val"):
        document = json.loads((folder / f"{split}.json").read_text())
        for category, name in zip(document["categories"], names, strict=True):
            category["name"] = name
        (folder / f"{split}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.mark.parametrize("detector", [None, "dino_r18_tiny"])
def test_names_with_brackets_and_dollars_are_shown_and_drawn_as_they_are(detector, data, tmp_path):
    names = ["[/] $\\frac$", "[adult] $\\frac$", "$\\frac$ ]", "[bold]$\\frac$", "[]$\\frac$"]
    changed = with_names(data, tmp_path / "set [red] $\\x$", names)
    chosen = ["--data", changed]
    if detector:
        (tmp_path / "run").mkdir()
        chosen = ["--run", leave_run(tmp_path / "run", detector, changed)]
    result = invoke(*chosen, "--out", tmp_path / "picture.png")
    assert result.exit_code == 0, result.exception
    assert matplotlib.image.imread(tmp_path / "picture.png").size
    document = json.loads((changed / "val.json").read_text())
    seen = {a["category_id"] for a in document["annotations"] if a["image_id"] == document["images"][0]["id"]}
    assert all(names[category - 1] in result.output for category in seen)


@pytest.mark.parametrize("detector", [None, "dino_r18_tiny"])
def test_names_in_other_scripts_are_drawn_without_boxes(detector, data, tmp_path):
    """matplotlib warns of every letter that it draws as a box."""
    changed = with_names(data, tmp_path / "数据", ["红细胞", "白细胞", "血小板", "板", "粒"])
    document = json.loads((changed / "val.json").read_text())
    picture = document["images"][0]["file_name"]
    document["images"][0]["file_name"] = f"图{picture}"
    (changed / "val.json").write_text(json.dumps(document))
    (changed / "images" / picture).rename(changed / "images" / f"图{picture}")
    chosen = ["--data", changed]
    if detector:
        (tmp_path / "run").mkdir()
        chosen = ["--run", leave_run(tmp_path / "run", detector, changed)]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert invoke(*chosen, "--out", tmp_path / "picture.png").exit_code == 0
    said = [
        str(warning.message) for warning in warned if "etter" in str(warning.message) or "lyph" in str(warning.message)
    ]
    assert all(sentence.startswith("no font of this system has all letters of some class names") for sentence in said)
    assert len(said) <= 1


def content_of(page):
    """The data that a page holds, as a reader's browser has it."""
    text = page.read_text(encoding="utf-8")
    start = text.index('<script type="application/json" id="data">') + len('<script type="application/json" id="data">')
    return json.loads(text[start : text.index("</script>", start)])


def test_a_page_holds_the_numbers_of_the_json(data, tmp_path):
    out, counts = tmp_path / "page.html", tmp_path / "counts.json"
    result = invoke("--data", data, "--split", "train", "--image", "0", "--out", out, "--json", counts)
    assert result.exit_code == 0, result.output
    content, written = content_of(out), json.loads(counts.read_text())
    assert [view["name"] for view in content["views"]] == list(written["assigners"])
    for index, target in enumerate(written["targets"]):
        assert content["objects"][index]["name"] == target["label"]
        assert content["objects"][index]["box"] == pytest.approx(target["box"], rel=1e-4)
        for view in content["views"]:
            own = target["assigners"][view["name"]]
            assert view["objects"][index]["positives"] == own["pairs"]
            assert view["objects"][index]["effective"] == pytest.approx(own["effective"], rel=1e-3)


def test_a_page_of_a_query_detector_shows_the_ways_of_its_queries(query_run, tmp_path):
    out, counts = tmp_path / "page.html", tmp_path / "counts.json"
    result = invoke("--run", query_run, "--split", "train", "--image", "0", "--out", out, "--json", counts)
    assert result.exit_code == 0, result.output
    content, written = content_of(out), json.loads(counts.read_text())
    for shown, target in zip(content["views"][0]["objects"], written["targets"], strict=True):
        own = target["assigners"]["hungarian"]
        assert [layer["query"] for layer in shown["layers"]] == [layer["query"] for layer in own["layers"]]
        assert shown["samples"][0]["sample"] == own["query"]
        assert sum(shown["samples"][0]["costs"].values()) == pytest.approx(own["layers"][-1]["cost"], rel=1e-3)


def test_a_page_of_outputs_shows_denoising_with_its_noise(query_run, tmp_path):
    out = tmp_path / "page.html"
    assert invoke("--run", query_run, "--outputs", "--image", "0", "--out", out).exit_code == 0
    views = {view["name"]: view for view in content_of(out)["views"]}
    for shown in views["dn"]["objects"]:
        positives = [made for made in shown["noise"] if made["positive"]]
        assert positives
        assert {made["sample"] for made in positives} <= {row["query"] for row in shown["samples"]}
        assert all(0 <= made["start_iou"] <= 1 for made in shown["noise"])
    assert all("noise" not in shown for shown in views["decoder"]["objects"])


def test_a_page_fetches_nothing_and_follows_its_theme(data, tmp_path):
    out = tmp_path / "page.html"
    assert (
        invoke("--data", data, "--image", "0", "--assigners", "fcos", "--out", out, "--theme", "light").exit_code == 0
    )
    text = out.read_text(encoding="utf-8")
    assert '<html lang="en" data-theme="light">' in text
    outside = text.replace("http://www.w3.org/2000/svg", "")
    assert not any(word in outside for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttp"))
    assert "default-src 'none'" in text


def test_hostile_names_stay_text_in_a_page(data, tmp_path):
    names = [
        "</script><script>alert(1)</script>",
        "<!--",
        '"><img src=x onerror=alert(1)>',
        "&amp;",
        "\u2028@@script@@",
    ]
    changed = with_names(data, tmp_path / "set", names)
    out = tmp_path / "page.html"
    assert invoke("--data", changed, "--image", "0", "--assigners", "fcos", "--out", out).exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    assert "<!--" not in text
    assert "<img" not in text
    assert content_of(out)["classes"] == names


def test_the_name_of_the_file_says_what_is_written_whole(data, tmp_path):
    for suffix, begins in ((".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")):
        out = tmp_path / f"picture{suffix}"
        assert invoke("--data", data, "--image", "0", "--assigners", "fcos", "--out", out).exit_code == 0
        assert out.read_bytes().startswith(begins)
    assert not list(tmp_path.glob("*.part"))


def test_a_name_that_ends_in_no_picture_is_refused(data, tmp_path):
    assert "expected a name that ends in .png, .pdf, .svg or .html" in refusal(
        "--data", data, "--out", tmp_path / "picture.jpg"
    )


def test_two_assigners_are_told_apart_in_picture_table_json_and_page(data, tmp_path):
    counts, page = tmp_path / "counts.json", tmp_path / "page.html"
    chosen = ("--data", data, "--split", "train", "--image", "0", "--diff", "atss", "dw")
    result = invoke(*chosen, "--out", tmp_path / "p.png", "--json", counts)
    assert result.exit_code == 0, result.output
    assert matplotlib.image.imread(tmp_path / "p.png").size
    assert "only atss" in result.output
    written = json.loads(counts.read_text())
    shown = written["difference"]
    distances = [target["difference"] for target in shown["targets"]]
    assert [distances[index] for index in shown["order"]] == sorted(distances, reverse=True)
    assert invoke(*chosen, "--out", page).exit_code == 0
    content = content_of(page)
    assert content["order"] == shown["order"]
    for index, target in enumerate(shown["targets"]):
        pairs = [written["targets"][index]["assigners"][name]["pairs"] for name in ("atss", "dw")]
        assert pairs == [target["common"] + len(target[side]) for side in ("only_first", "only_second")]
        for view, side in zip(content["views"], ("only_first", "only_second"), strict=True):
            marked = [row["sample"] for row in view["objects"][index]["samples"] if row["only"]]
            assert set(marked) <= set(target[side])


def test_two_checkpoints_are_told_apart_under_the_runs_own_assigner(run_folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    other = torch.load(run / "epoch_1.pth", weights_only=True)
    other["state_dict"]["bbox_head.conv_reg.weight"] = -other["state_dict"]["bbox_head.conv_reg.weight"]
    torch.save(other, run / "epoch_2.pth")
    counts = tmp_path / "counts.json"
    both = "epoch_1.pth,epoch_2.pth"
    result = invoke("--run", run, "--image", "0", "--checkpoint", both, "--out", tmp_path / "p.png", "--json", counts)
    assert result.exit_code == 0, result.output
    assert list(json.loads(counts.read_text())["assigners"]) == ["epoch_1", "epoch_2"]
    assert "got 2 assigners" in refusal("--run", run, "--checkpoint", both, "--assigners", "fcos,dw")
    assert "both are" in refusal("--run", run, "--image", "0", "--checkpoint", "last,epoch_2.pth")
    assert "epoch_9.pth" in refusal("--run", run, "--image", "0", "--checkpoint", "epoch_1.pth,epoch_9.pth")


def test_why_tells_what_became_of_an_objects_candidates(data, tmp_path):
    counts, written = tmp_path / "counts.json", tmp_path / "why.json"
    chosen = ("--data", data, "--split", "train", "--assigners", "atss,simota")
    result = invoke(*chosen, "--why", "0:0", "--json", written)
    assert result.exit_code == 0, result.output
    told = json.loads(written.read_text())
    assert told["label"] in result.output
    invoke(*chosen, "--image", "0", "--out", tmp_path / "p.png", "--json", counts)
    pairs = json.loads(counts.read_text())["targets"][0]["assigners"]
    for name, found in told["assigners"].items():
        assert found["learning"] == pairs[name]["pairs"]
        assert f"{name}: " in result.output
    assert all(each["cost"] is not None for each in told["assigners"]["simota"]["candidates"])


def test_why_tells_how_an_object_fared_in_a_training_with_telemetry(run_folder, data, tmp_path):
    run, written = tmp_path / "run", tmp_path / "why.json"
    shutil.copytree(run_folder, run)
    document = json.loads((data / "train.json").read_text())
    first = document["images"][0]
    count = sum(each["image_id"] == first["id"] for each in document["annotations"])
    images = [{"id": first["id"], "file": first["file_name"], "index": 0, "objects": [{}] * count}]
    seen = {name: [[0] * count] * 2 for name in COLUMNS} | {"samples": [[0] * count, [3] * count]}
    write_json(History(["a"], ["8"], images, [2, 4], seen).to_dict(), run / "telemetry.json")
    chosen = ("--run", run, "--split", "train", "--assigners", "fcos")
    result = invoke(*chosen, "--why", "0:0", "--json", written)
    assert result.exit_code == 0, result.output
    history = json.loads(written.read_text())["history"]
    assert [(look["epoch"], look["samples"]) for look in history] == [(2, 0), (4, 3)]
    assert "learnt it at 1 of 2 looks; the first was after epoch 4" in " ".join(result.output.split())
    assert "it followed the training images 0" in invoke(*chosen, "--why", "1:0").output


def test_why_of_queries_tells_their_costs(query_run, tmp_path):
    written = tmp_path / "why.json"
    result = invoke("--run", query_run, "--split", "train", "--why", "0:0", "--json", written)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(written.read_text())["assigners"].values()
    assert found["learning"] == 1
    assert [each["outcome"] for each in found["candidates"]].count("learns") == 1


def test_a_split_without_an_image_gives_statistics(data, tmp_path):
    out, written = tmp_path / "p.png", tmp_path / "split.json"
    result = invoke("--data", data, "--split", "train", "--assigners", "fcos,dw", "--out", out, "--json", written)
    assert result.exit_code == 0, result.output
    found = json.loads(written.read_text())
    document = json.loads((data / "train.json").read_text())
    assert (found["images"], found["objects"]) == (len(document["images"]), len(document["annotations"]))
    sizes = [found["assigners"]["dw"][size]["objects"] for size in ("small", "medium", "large")]
    assert sum(sizes) == found["assigners"]["dw"]["all"]["objects"] == found["objects"]
    assert matplotlib.image.imread(out).shape[1] > 1000
    assert "statistics of a split are a picture" in refusal(
        "--data", data, "--split", "val", "--out", tmp_path / "p.html"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--diff", "fcos", "fcos"), "expected two different assigners"),
        (("--diff", "fcos", "dw", "--assigners", "atss"), "--diff names two already"),
        (("--diff", "fcos", "ats"), "did you mean 'atss'"),
        (("--diff", "fcos", "dw", "--why", "0:0"), "is about one assignment"),
        (("--diff", "fcos", "dw", "--outputs"), "is a picture of one image"),
        (("--checkpoint", "last"), "give its folder with --run"),
        (("--why", "0"), "as 3:0 or street.jpg:0"),
        (("--why", "0:99"), "objects, the last is"),
        (("--why", "0:0", "--image", "1"), "names an image already"),
        (("--why", "0:0", "--out", "p.png"), "--json writes them down"),
    ],
)
def test_questions_that_cannot_be_answered_are_refused_in_a_sentence(options, sentence, data):
    assert sentence in refusal("--data", data, *options)
