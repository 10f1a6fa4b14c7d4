"""Contracts: promises that a twin in memory and the real thing both keep.

A contract is a list of named coroutines; a test runs each against each implementation.
"""

from sie_testing.contracts.broker import BROKER_CONTRACT, BrokerUnderTest
from sie_testing.contracts.stream import STREAM_CONTRACT, StreamUnderTest

__all__ = ["BROKER_CONTRACT", "STREAM_CONTRACT", "BrokerUnderTest", "StreamUnderTest"]
