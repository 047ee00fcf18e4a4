"""Workers on the nodes at hand."""

import pytest

from sentiment.errors import InputError
from sweeps.execution.resources import Node, Workers, describe_nodes, plan_workers


@pytest.mark.parametrize(
    ("cores", "gpus", "asked", "workers"),
    [
        (2, 0, {}, Workers(2, 1, 0.0)),
        (8, 0, {"cpus_per_trial": 3}, Workers(2, 3, 0.0)),
        (8, 0, {"concurrency": 5}, Workers(5, 1, 0.0, 5)),
        (16, 1, {}, Workers(4, 4, 0.25)),
        (16, 2, {"gpus_per_trial": 1}, Workers(2, 8, 1)),
        (16, 2, {"gpus_per_trial": 0.4}, Workers(4, 4, 0.4)),
        (3, 1, {}, Workers(3, 1, 0.25)),
        (16, 8, {"gpus_per_trial": 2}, Workers(4, 4, 2)),
        (16, 1, {"gpus_per_trial": 0}, Workers(16, 1, 0)),
    ],
)
def test_trials_are_spread_over_what_there_is(cores, gpus, asked, workers):
    assert plan_workers([Node(cores, gpus)], **asked) == workers


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus_per_trial": 1}, "0 GPUs are here; give at most that"),
        ({"gpus_per_trial": -1}, "give 0 to 1, or a whole number"),
        ({"cpus_per_trial": 3}, "give 1 to 2"),
        ({"concurrency": 3}, "give 1 to 2, as many trials as fit at once$"),
        ({"concurrency": 2, "cpus_per_trial": 2}, "fewer --cpus-per-trial make room"),
        ({"concurrency": 0}, "give 1 to 2, as many trials as fit at once$"),
    ],
)
def test_more_than_there_is_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        plan_workers([Node(2)], **asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus_per_trial": 2}, "give 1, the only core here"),
        ({"concurrency": 2}, "give 1: no more than one trial fits at once"),
    ],
)
def test_a_range_of_one_is_told_as_one(asked, message):
    with pytest.raises(InputError, match=message):
        plan_workers([Node(1)], **asked)


NODES = [
    Node(16, 4, "10.0.0.1", "A100"),
    Node(8, 1, "10.0.0.2", "T4"),
    Node(32, 0, "10.0.0.3"),
    Node(0, 0, "10.0.0.4"),
]


@pytest.mark.parametrize(
    ("asked", "workers"),
    [
        # 16 on the first node by its cores, 4 on the second.
        ({}, Workers(20, 1, 0.25)),
        ({"gpus_per_trial": 1}, Workers(5, 4, 1)),
        ({"gpus_per_trial": 2}, Workers(2, 8, 2)),
        ({"gpus_per_trial": 0}, Workers(56, 1, 0)),
        ({"gpus_per_trial": 0, "cpus_per_trial": 10}, Workers(4, 10, 0)),
        ({"concurrency": 3}, Workers(3, 2, 0.25, 3)),
    ],
)
def test_trials_are_spread_over_the_nodes_of_a_cluster(asked, workers):
    assert plan_workers(NODES, **asked) == workers
    assert workers.room(NODES) == workers.count
    assert workers.room([]) == 0


def test_a_trial_needs_one_node():
    with pytest.raises(InputError, match="4 GPUs are on any one node"):
        plan_workers(NODES, gpus_per_trial=5)
    with pytest.raises(InputError, match="give 1 to 16, the cores on any one node"):
        plan_workers(NODES, cpus_per_trial=17)


def test_the_nodes_of_a_cluster_are_told_by_kind():
    assert describe_nodes([*NODES, Node(32, 0, "10.0.0.5")]) == (
        "1 node of 16 cores and 4 A100, 1 node of 8 cores and 1 T4, 2 nodes of 32 cores"
    )


def test_fewer_workers_get_more_memory_each():
    shared = plan_workers([Node(16, 2)])
    assert (shared.count, shared.memory_share) == (8, pytest.approx(0.225))
    half = shared.reduce_concurrency([Node(16, 2)])
    assert (half.count, half.gpus, half.memory_share) == (4, 0.5, pytest.approx(0.45))
    whole = half.reduce_concurrency([Node(16, 2)])
    assert (whole.count, whole.gpus, whole.memory_share) == (2, 1.0, None)
    assert whole.reduce_concurrency([Node(16, 2)]) is None
    cores = plan_workers([Node(5)])
    assert [
        cores.reduce_concurrency([Node(5)]).count,
        cores.reduce_concurrency([Node(5)]).room([Node(5)]),
    ] == [2, 2]
    assert plan_workers([Node(1)]).reduce_concurrency([Node(1)]) is None
