"""Drawn detections, pixel by pixel."""

import numpy as np
import torch

from detassign.evidence.drawing.detections import class_colour, draw_detections
from detassign.heads import Detections


def detections(*rows, labels=None):
    """Detections from (x1, y1, x2, y2, score) each."""
    table = torch.tensor(rows, dtype=torch.float32)
    return Detections(table[:, :4], table[:, 4], torch.tensor(labels or [0] * len(rows)))


def test_drawing_is_the_image_with_boxes_in_their_classes_colours():
    pixels = np.full((700, 900, 3), (10, 20, 30), np.uint8)  # BGR
    found = detections((100, 200, 300, 400, 0.9), (500, 200, 800, 600, 0.5), labels=[0, 1])
    image = draw_detections(pixels, found, ["cat", "dog"])
    assert image.size == (900, 700)
    assert image.getpixel((5, 5)) == (30, 20, 10)  # untouched, as RGB
    assert image.getpixel((300, 300)) == class_colour(0)
    assert image.getpixel((800, 300)) == class_colour(1)
    assert image.getpixel((200, 300)) == (30, 20, 10)  # boxes are not filled


def test_small_images_are_enlarged_a_whole_number_of_times():
    image = draw_detections(np.zeros((60, 100, 3), np.uint8), detections((10, 10, 50, 50, 0.9)), ["cat"])
    assert image.size == (700, 420)
    assert image.getpixel((350, 200)) == class_colour(0)


def test_labels_stay_inside_the_image():
    pixels = np.zeros((700, 700, 3), np.uint8)
    corner = draw_detections(pixels, detections((690, 0, 700, 5, 0.9)), ["a class of some length"])
    middle = draw_detections(pixels, detections((300, 300, 310, 305, 0.9)), ["a class of some length"])
    plates = [(np.asarray(image) == class_colour(0)).all(-1).sum() for image in (corner, middle)]
    assert plates[0] > 0.8 * plates[1]


def test_no_detection_and_degenerate_boxes_are_drawn_too():
    pixels = np.zeros((700, 700, 3), np.uint8)
    assert draw_detections(pixels, detections((5, 5, 5, 4.99, 0.9)), ["cat"]).size == (700, 700)
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert not np.asarray(draw_detections(pixels, nothing, ["cat"])).any()


def test_many_classes_have_different_colours():
    assert len({class_colour(label) for label in range(80)}) == 80
