"""Algorithm 1 on numbers one can check, and on the published metrics."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebcore.errors import InputError
from ebcore.measure.hybrid_paper import PLOTTED
from ebcore.methods.partition import (
    PartitionOptions,
    choose_layers,
    cluster_values,
    layer_metrics,
)

# SqueezeNet's plotted metrics as read off the plot by eye, to 0.1.
READ_OFF = {
    2: 14.8, 3: 17.6, 4: 8.8, 5: 12.0, 6: 7.0, 7: 9.0, 8: 6.1, 9: 10.7, 10: 6.9, 11: 9.6,
    12: 6.2, 13: 8.6, 14: 6.2, 15: 8.4, 16: 7.9, 17: 6.1, 18: 12.2, 19: 17.8, 20: 11.6,
}  # fmt: skip


def test_the_metric_by_hand() -> None:
    errors, macs = {2: 0.5, 3: 0.25}, {2: 4e6, 3: 1e6}
    assert layer_metrics(errors, macs, PartitionOptions(gamma=2)) == {2: 1.0, 3: 2.25}
    # NF 1 and 1/4; 1.6 and 0.4; 0.8 and 0.2
    for normalise, expected in (
        ("max", {2: 2.5, 3: 8.25}),
        ("mean", {2: 1.75, 3: 5.25}),
        ("sum", {2: 3.0, 3: 10.25}),
    ):
        options = PartitionOptions(gamma=2, normalise=normalise)  # type: ignore[arg-type]
        assert layer_metrics(errors, macs, options) == pytest.approx(expected)


def test_clusters_grow_until_the_share_holds() -> None:
    metric = {2: 1.0, 3: 1.1, 4: 6.0, 5: 9.0, 6: 9.5, 7: 9.6}
    # 2 clusters: {4} joins {5, 6, 7}, 4 of 7 layers; 3 clusters: 3 of 7; 4: {6, 7}
    for share, clusters, chosen in (
        (4 / 7, 2, (4, 5, 6, 7)),
        (0.5, 3, (5, 6, 7)),
        (0.3, 4, (6, 7)),
        (0.2, 6, (7,)),  # with 5 clusters 6 and 7, the two closest, are still one
    ):
        found = choose_layers(metric, PartitionOptions(share=share))
        assert (found.clusters, found.chosen) == (clusters, chosen)
    assert choose_layers(metric, PartitionOptions(share=0.3), layers=20).chosen == (4, 5, 6, 7)


def test_a_union_takes_several_clusters() -> None:
    metric = {2: 1.0, 3: 1.1, 4: 5.0, 5: 9.0}
    found = choose_layers(metric, PartitionOptions(union=2, share=0.5))
    assert (found.clusters, found.chosen) == (3, (4, 5))
    assert found.cluster == {2: 0, 3: 0, 4: 1, 5: 2}


def test_an_explicit_choice_asks_no_clusters() -> None:
    found = choose_layers({2: 1.0, 3: 2.0, 4: 3.0}, PartitionOptions(layers=(4, 2), share=0.01))
    assert (found.chosen, found.clusters, found.metric[3]) == ((2, 4), 0, 2.0)
    with pytest.raises(InputError, match=r"not there: \[9\].*2 to 4"):
        choose_layers({2: 1.0, 3: 2.0, 4: 3.0}, PartitionOptions(layers=(9,)))


def test_a_share_that_nothing_keeps_within() -> None:
    with pytest.raises(InputError, match=r"partition.share 0.1: is less.*Raise it"):
        choose_layers({2: 1.0, 3: 2.0}, PartitionOptions(share=0.1))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"gamma": -1.0}, "gamma: is -1.0"),
        ({"unit": 0.0}, "unit: is 0.0"),
        ({"share": 1.5}, "share: is 1.5"),
        ({"union": 0}, "union: is 0"),
        ({"normalise": "median"}, "normalise: is 'median'"),
    ],
)
def test_bad_options_are_named(settings: dict[str, float], text: str) -> None:
    with pytest.raises(InputError, match=rf"partition\.{text}"):
        PartitionOptions(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("network", "share", "chosen"),
    [("sketchanet", 0.2, (7,)), ("sketchanet", 0.9, (7,)), ("hybrid-resnet-18", 0.11, (16, 17))],
)
def test_the_algorithm_as_printed_on_the_plotted_metrics(
    network: str, share: float, chosen: tuple[int, ...]
) -> None:
    layers = {"sketchanet": 7, "hybrid-resnet-18": 19}[network]  # as the plot's percentages count
    found = choose_layers(PLOTTED[network].metric, PartitionOptions(share=share), layers)
    assert found.chosen == chosen
    if network == "hybrid-resnet-18":
        assert found.clusters == 5


def test_unions_that_give_what_was_plotted() -> None:
    plotted = PLOTTED["sketchanet"]
    found = choose_layers(plotted.metric, PartitionOptions(share=0.3, union=2))
    assert (found.chosen, found.clusters) == (plotted.starred, 4)
    starred = PLOTTED["squeezenet"].starred
    for metric, union, clusters in ((READ_OFF, 6, 9), (PLOTTED["squeezenet"].metric, 5, 7)):
        found = choose_layers(metric, PartitionOptions(share=0.6, union=union))
        assert (found.chosen, found.clusters) == (starred, clusters)


def test_no_clusters_give_the_layers_plotted_for_resnet_18() -> None:
    """They leave out layer 10, whose metric is above those of 12 and 13: no threshold does."""
    plotted = PLOTTED["hybrid-resnet-18"]
    assert plotted.metric[10] > max(plotted.metric[12], plotted.metric[13])
    assert 10 not in plotted.starred and {12, 13} <= set(plotted.starred)


def _optimum(values: list[float], count: int) -> float:
    """Least sum of squares over all cuts of the sorted values."""
    ordered = sorted(values)

    def spread(begin: int, end: int) -> float:
        part = ordered[begin:end]
        return sum((v - sum(part) / len(part)) ** 2 for v in part)

    @cache
    def best(begin: int, left: int) -> float:
        if left == 1:
            return spread(begin, len(ordered))
        ends = range(begin + 1, len(ordered) - left + 2)
        return min(spread(begin, end) + best(end, left - 1) for end in ends)

    return best(0, count)


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_clusters_are_the_best_there_are(data: st.DataObject) -> None:
    numbers = st.integers(0, 400).map(lambda n: n / 10)
    values = data.draw(st.lists(numbers, min_size=4, max_size=7, unique=True))
    count = data.draw(st.integers(2, 4))
    cluster = cluster_values(values, count)
    assert cluster == cluster_values(values, count)
    groups: dict[int, list[float]] = {}
    for value, own in zip(values, cluster, strict=True):
        groups.setdefault(own, []).append(value)
    found = sum(sum((v - sum(g) / len(g)) ** 2 for v in g) for g in groups.values())
    assert found == pytest.approx(_optimum(values, count), abs=1e-9)
    means = [sum(groups[k]) / len(groups[k]) for k in range(count)]
    assert means == sorted(means)
