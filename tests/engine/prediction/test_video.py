"""Videos: every frame in order, drawings that play, and one sentence for what is no video."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from detassign.engine.predict import predict
from detassign.engine.prediction import frames
from detassign.engine.prediction.frames import DrawnVideo, Video
from detassign.engine.prediction.wanted import Wanted
from detassign.engine.predictor import Predictor
from detassign.engine.train import find_run


@pytest.fixture
def video(tmp_path):
    """Writes frames that become brighter, 10 a second, and gives the file's path."""

    def write(name="street.mp4", count=7, size=(64, 48), codec="mp4v"):
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 10.0, size)
        for index in range(count):
            writer.write(np.full((size[1], size[0], 3), (20 * index) % 256, np.uint8))
        writer.release()
        return path

    return write


def predicted(run, path, folder, **wanted):
    return predict(*find_run(run), [path], folder, Wanted(**wanted), quiet=True).outcome


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def brightness(path):
    """Of the frames of a video, each in the mean."""
    capture, found = cv2.VideoCapture(str(path)), []
    while True:
        there, pixels = capture.read()
        if not there:
            return found
        found.append(float(pixels.mean()))


def test_every_frame_has_a_line_and_a_drawing(tiny_run, video, tmp_path):
    outcome = predicted(tiny_run, video(), tmp_path / "out", score=0.001, limit=3, batch=3)
    assert (outcome.videos, outcome.frames, outcome.images, outcome.failures) == (1, 7, 0, ())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"street.jsonl", "street.mp4"}
    entries = lines(tmp_path / "out" / "street.jsonl")
    assert [entry["frame"] for entry in entries] == list(range(7))
    assert [entry["seconds"] for entry in entries] == pytest.approx([index / 10 for index in range(7)], abs=0.002)
    assert sum(len(entry["detections"]) for entry in entries) == outcome.detections
    drawn = Video(tmp_path / "out" / "street.mp4")
    assert (drawn.said, drawn.rate) == (7, 10)
    assert np.diff(brightness(tmp_path / "out" / "street.mp4")).min() > 10


def test_frames_are_detected_as_images_are(tiny_run, video, tmp_path):
    path = video()
    predicted(tiny_run, path, tmp_path / "out", score=0.001, batch=4, draw=False)
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["street.jsonl"]
    predictor, capture = Predictor.load(*find_run(tiny_run)), cv2.VideoCapture(str(path))
    for entry in lines(tmp_path / "out" / "street.jsonl"):
        (wanted,) = predictor([capture.read()[1][..., ::-1]], score=0.001)
        assert len(entry["detections"]) == len(wanted.scores) > 0
        boxes = [found["box"] for found in entry["detections"]]
        assert np.allclose(boxes, wanted.boxes, atol=0.01)


def test_each_second_frame_keeps_the_times(tiny_run, video, tmp_path):
    predicted(tiny_run, video(), tmp_path / "out", every=2, score=1)
    entries = lines(tmp_path / "out" / "street.jsonl")
    assert [entry["frame"] for entry in entries] == [0, 2, 4, 6]
    assert [entry["seconds"] for entry in entries] == pytest.approx([0, 0.2, 0.4, 0.6], abs=0.002)
    assert (Video(tmp_path / "out" / "street.mp4").said, Video(tmp_path / "out" / "street.mp4").rate) == (4, 5)


def test_memory_holds_a_few_frames_only(tiny_run, video, tmp_path, monkeypatch):
    read, behind, most = Video.read, [], []
    detect = Predictor.detect
    monkeypatch.setattr(Video, "read", lambda self, *given: behind.append(1) or read(self, *given))

    def watched(self, batch, *given):
        most.append(len(behind))
        return detect(self, batch, *given)

    monkeypatch.setattr(Predictor, "detect", watched)
    predicted(tiny_run, video(count=40), tmp_path / "out", draw=False)
    assert most[0] <= 8
    assert len(most) == 40


def test_an_interruption_keeps_what_was_done(tiny_run, video, tmp_path, monkeypatch):
    detect, calls = Predictor.detect, []

    def interrupted(self, *given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return detect(self, *given)

    monkeypatch.setattr(Predictor, "detect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predicted(tiny_run, video(), tmp_path / "out")
    assert [entry["frame"] for entry in lines(tmp_path / "out" / "street.jsonl")] == [0, 1, 2]
    assert Video(tmp_path / "out" / "street.mp4").said == 3
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_what_is_no_video_is_one_sentence_and_leaves_nothing(tiny_run, video, tmp_path):
    junk, empty, cut = tmp_path / "junk.mp4", tmp_path / "empty.mp4", video("cut.mp4")
    junk.write_text("no video")
    empty.touch()
    cut.write_bytes(cut.read_bytes()[:400])
    for path in (junk, empty, cut):
        outcome = predicted(tiny_run, path, tmp_path / "out")
        assert (outcome.videos, outcome.frames) == (0, 0)
        assert outcome.failures == (f"{path}: cannot be read as a video",)
        assert not (tmp_path / "out").exists()


def test_a_video_without_frames_is_named(tiny_run, video, tmp_path, monkeypatch):
    monkeypatch.setattr(Video, "read", lambda self, *given: None)
    path = video()
    outcome = predicted(tiny_run, path, tmp_path / "out")
    assert outcome.failures == (f"{path}: holds no frame that can be read",)
    assert not (tmp_path / "out").exists()


def test_a_video_that_ends_early_is_done_so_far_and_named(tiny_run, video, tmp_path, monkeypatch):
    read, path = Video.read, video()
    monkeypatch.setattr(Video, "read", lambda self, number, *given: None if number == 4 else read(self, number, *given))
    outcome = predicted(tiny_run, path, tmp_path / "out")
    assert outcome.failures == (f"{path}: ends after 4 of its 7 frames",)
    assert len(lines(tmp_path / "out" / "street.jsonl")) == 4


def test_frames_too_large_are_refused(video, monkeypatch):
    monkeypatch.setattr(frames, "MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(ValueError, match=r"street.mp4: its frames are larger than"):
        Video(video())


def test_a_play_list_reaches_no_network(tmp_path):
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(ValueError, match="cannot be read as a video"):
        Video(tmp_path / "list.mp4")


def test_a_drawing_that_was_not_written_whole_is_an_error_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "_frames_of", lambda path: 1)
    writer = DrawnVideo(tmp_path / "a.mp4", 10)
    for _ in range(2):
        writer.put(Image.new("RGB", (32, 32)))
    with pytest.raises(OSError, match="could not be written whole; is the disk full"):
        writer.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_brought_to_that_of_the_first(tmp_path):
    with DrawnVideo(tmp_path / "a.mp4", 10) as writer:
        for size in ((32, 32), (48, 64), (32, 32)):
            writer.put(Image.new("RGB", size))
    assert Video(tmp_path / "a.mp4").said == 3


@pytest.mark.parametrize("rate", [1000 / 7, 119.7364, 999.98, 0.00001])
def test_rates_that_mpeg_4_cannot_count_are_rounded(rate, tmp_path):
    with DrawnVideo(tmp_path / "a.mp4", rate) as writer:
        for _ in range(3):
            writer.put(Image.new("RGB", (32, 32)))
    assert Video(tmp_path / "a.mp4").said == 3


def test_a_drawing_that_cannot_be_begun_says_so(tmp_path):
    with (
        pytest.raises(OSError, match="a video of 1 x 1 pixels cannot be written"),
        DrawnVideo(tmp_path / "a.mp4", 9) as writer,
    ):
        writer.put(Image.new("RGB", (1, 1)))
    assert list(tmp_path.iterdir()) == []
