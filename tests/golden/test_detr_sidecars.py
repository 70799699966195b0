"""A recording's sidecar decides the detector: whatever size or count it had changed would be another detector."""

from dataclasses import dataclass

import pytest
from support.detr import description_of, scenarios, weights_of

SIZES = (
    *("hidden_dim", "nheads", "dim_feedforward", "enc_layers", "dec_layers", "dropout"),
    *("num_queries", "num_classes", "num_select", "pe_temperature"),
)
POINTS = {"enc_n_points": "encoder", "dec_n_points": "decoder"}


@dataclass
class Altered:
    """A case whose sidecar has one more than was recorded, under every key that begins so."""

    case: object
    key: str

    @property
    def sidecar(self):
        return self.case.sidecar

    @property
    def config(self):
        config = self.case.config
        return {key: value + 1 if key.startswith(self.key) else value for key, value in config.items()}


def weight_shapes(case):
    return {name: tuple(tensor.shape) for name, tensor in weights_of(case).items()}


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("case", scenarios("train_pad"))
def test_every_size_is_the_sidecars(case, key):
    shapes = weight_shapes(case)
    assert description_of(Altered(case, key), shapes) != description_of(case, shapes)


@pytest.mark.parametrize("key", POINTS)
@pytest.mark.parametrize("case", scenarios("train_pad"))
def test_encoder_and_decoder_have_the_sidecars_points(case, key):
    shapes, part = weight_shapes(case), POINTS[key]
    recorded, altered = (description_of(each, shapes)[part] for each in (case, Altered(case, key)))
    assert altered.get("points") == (case.config[key] + 1 if "points" in recorded else None)


@pytest.mark.parametrize("case", scenarios("train_pad"))
def test_levels_are_those_of_the_weights(case):
    shapes = weight_shapes(case)
    more = shapes | {"input_proj.9.0.weight": (case.config["hidden_dim"], case.config["hidden_dim"], 3, 3)}
    recorded, altered = (description_of(case, each) for each in (shapes, more))
    levels = recorded["encoder"].get("levels")
    assert levels is None or altered["encoder"]["levels"] == altered["decoder"].get("levels", levels + 1) == levels + 1
