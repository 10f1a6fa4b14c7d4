"""The threads of a device: one, what an operator states, or every core."""

import os

import pytest
import torch

from sie_server.device.threads import use_threads


@pytest.fixture(autouse=True)
def one_thread():
    yield
    torch.set_num_threads(1)


def test_tests_compute_with_one_thread_as_a_device_does():
    assert torch.get_num_threads() == 1, "torch was imported before tests/conftest.py spoke"


@pytest.mark.parametrize("stated", [None, 1, 2, 0])
def test_a_device_has_one_thread_unless_an_operator_states_more(stated):
    cores = len(os.sched_getaffinity(0))
    threads = use_threads(stated)
    assert threads == torch.get_num_threads() == (1 if stated is None else stated or cores)
