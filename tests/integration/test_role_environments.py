"""What an image would contain: each role in an environment of its own, with exactly its extra."""

import asyncio
import importlib.metadata
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.support.config_writer import model
from tests.support.nats import nats_server
from tests.support.polling import until_told

from sie_cli.ports import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
