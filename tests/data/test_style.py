import pytest

from detassign.data.style import SceneStyle


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"empty_share": 1.5}, "empty_share must be a share between 0 and 1"),
        ({"noise": -0.1}, "noise must be a finite number of at least 0"),
        ({"distractors": float("nan")}, "distractors must be a finite number"),
        ({"largest_count": 9, "largest_crowd": 5}, "1 <= largest_count <= largest_crowd"),
        ({"largest_count": 2.5}, "largest_count must be a whole number"),
        ({"typical_side": 0.5, "largest_side": 0.4}, "0 <= typical_side <= largest_side <= 1"),
        ({"smallest_side": 1}, "smallest_side must be at least 4 pixels"),
        ({"largest_stretch": 0.5}, "largest_stretch must be at least 1"),
    ],
)
def test_senseless_proportion_is_refused_by_name(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        SceneStyle(**changes)
