import torch

from ebcore.measure.accuracy import hits, percent

LOGITS = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0], [1.0, 1.0, 1.0], [9.0, 8.0, 7.0]])


def test_top_k_by_hand() -> None:
    labels = torch.tensor([2, 1, 0, 2])
    assert hits(LOGITS, labels, 1).tolist() == [False, True, True, False]
    assert hits(LOGITS, labels, 2).tolist() == [True, True, True, False]
    assert percent(hits(LOGITS, labels, 1)) == 50.0


def test_equal_logits_count_for_the_lowest_classes_only() -> None:
    equal = torch.zeros(3, 3)
    assert hits(equal, torch.tensor([0, 1, 2]), 1).tolist() == [True, False, False]
    assert hits(equal, torch.tensor([0, 1, 2]), 2).tolist() == [True, True, False]


def test_more_places_than_classes_are_all_classes() -> None:
    assert hits(LOGITS, torch.tensor([0, 0, 0, 0]), 5).all()
