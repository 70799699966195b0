"""Denoising queries as a structure: their pairs in every layer and who sees whom."""

from support.random_batches import random_targets

from detassign.assigners import ContrastiveDenoising, Denoising


def test_pairs_are_those_of_every_layer():
    queries = Denoising(groups=2)(random_targets(0, (2, 1), spare=0), 3)
    matches = queries.matches(2)
    assert matches.image.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]
    assert matches.sample.tolist() == [0, 1, 2, 3, 0, 2] * 2
    assert matches.target.tolist() == [0, 1, 0, 1, 0, 0] * 2
    assert (matches.score == 1).all()
    assert matches.ignored.tolist() == [[False] * 4, [False, True] * 2] * 2


def test_padding_in_the_loss_is_not_ignored():
    queries = ContrastiveDenoising(groups=2)(random_targets(0, (2, 1), spare=0), 3)
    assert queries.matches(2).ignored is None


def test_groups_are_hidden_from_each_other_and_all_of_them_from_the_others():
    queries = ContrastiveDenoising(groups=3)(random_targets(0, (2, 1), spare=0), 3)
    mask = queries.attention_mask(5)
    assert mask.shape == (17, 17)
    for row in range(17):
        for column in range(17):
            hidden = column < 12 and (row >= 12 or row // 4 != column // 4)
            assert mask[row, column] == hidden
