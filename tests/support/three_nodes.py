"""A Ray cluster of three nodes on this machine, one of which can be lost."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from unittest.mock import patch

import pytest

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="Ray is an extra of its own: pip install 'otoscribe[ray]'"
)


@contextmanager
def three_nodes() -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield the cluster's address, and what kills a node and returns how many are left."""
    import ray
    from ray.cluster_utils import Cluster

    # Where its processes find what these tests give them to do.
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]

    def lose() -> int:
        cluster.remove_node(nodes[0], allow_graceful=False)
        return len(cluster.list_all_nodes())

    try:
        cluster.wait_for_nodes()
        yield cluster.address, lose
    finally:
        ray.shutdown()
        cluster.shutdown()
