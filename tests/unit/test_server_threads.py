"""Threads that a batch is lent: used while it runs, given back however it ends, never beyond."""

import os

import pytest
import torch
from tests.support.encoder_models import dense, minilm, random_tokens
from tests.support.sameness import assert_same

from sie_server.device.threads import Threads


@pytest.fixture(autouse=True)
def one_thread():
    yield
    torch.set_num_threads(1)


def test_a_batch_has_what_it_is_lent_and_leaves_one_thread_also_where_it_fails():
    threads = Threads(1, lent_max=2)
    with threads.lent(8):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1
    with pytest.raises(RuntimeError), threads.lent(2):
        raise RuntimeError("the backend's own")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("lent", [0, 1, 2])
def test_what_is_not_more_than_the_devices_own_changes_nothing(lent):
    with Threads(2, lent_max=4).lent(lent):
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("device", "stated"), [("cpu", 1), ("cpu", 2), ("cpu", 0), ("cuda", None)])
def test_nothing_is_lent_where_an_operator_states_the_threads_nor_beside_a_gpu(device, stated):
    threads = Threads.of(device, stated)
    assert threads.lent_max == 0
    cores = len(os.sched_getaffinity(0))
    assert threads.own == (1 if stated is None else stated or cores)


def test_answers_with_threads_that_were_lent_are_those_without():
    inputs = random_tokens([3, 12, 70])
    alone = dense(minilm(), inputs)
    with Threads(1, lent_max=2).lent(2):
        lent = dense(minilm(), inputs)
    assert_same(lent, alone)
