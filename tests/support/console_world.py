"""A console without a process: the application behind its gate and its sign-in, as `main` has it.

*shell.* For tests. The gateway behind it is a function.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
from tests.support.config_writer import running
from tests.support.served import served_application

from sie_config.http.api import build_app
from sie_config.http.console.console import Console
from sie_config.http.doors import Doors
from sie_config.writer_process import ControlPlane
from sie_runtime.access.access import Access, AccessSettings
from sie_runtime.access.gate import Gate
from sie_runtime.http.bodies import Application

__all__ = ["OWN_PAGE", "console_application", "console_of", "served_console", "signed_in"]

OWN_PAGE = "http://console.example"

Answering = Callable[[httpx.Request], httpx.Response]


@contextlib.asynccontextmanager
async def console_application(
    folder: Path,
    *,
    tokens: Path | None = None,
    gateway: Answering | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[tuple[ControlPlane, Application]]:
    """A control plane, and the application of its process."""
    async with running(folder) as plane:
        access = Access(AccessSettings(auth_file=tokens, auth_reload_s=0.0))
        console = Console(
            plane,
            access,
            gateway_url="http://gateway" if gateway is not None else "",
            clock=clock,
            transport=httpx.MockTransport(gateway) if gateway is not None else None,
        )
        app = build_app(plane)
        console.mount(app)
        gate = Gate(app, access, Doors(app).role_of, pages=frozenset({OWN_PAGE}))
        yield plane, console.before(gate)
        await console.close()


def served_console(folder: Path, tokens: Path) -> AbstractContextManager[str]:
    """The same behind a socket, for a browser; without a broker and a gateway."""

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Application]:
        async with console_application(folder, tokens=tokens) as (plane, app):
            try:
                yield app
            finally:
                plane.stopping = True
                plane.sequencer.wake_followers()

    return served_application(opened)


@contextlib.asynccontextmanager
async def console_of(
    folder: Path,
    *,
    tokens: Path | None = None,
    gateway: Answering | None = None,
    clock: Callable[[], float] | None = None,
) -> AsyncIterator[tuple[ControlPlane, httpx.AsyncClient]]:
    """A control plane with its console, and a browser's client of it."""
    made = console_application(folder, tokens=tokens, gateway=gateway, clock=clock)
    async with made as (plane, app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=OWN_PAGE) as client:
            yield plane, client


async def signed_in(client: httpx.AsyncClient, token: str) -> dict[str, str]:
    """Sign in; gives the header that a page of the console sends with each change."""
    answer = await client.post(
        "/console/session", json={"token": token}, headers={"origin": OWN_PAGE}
    )
    assert answer.status_code == 200, answer.text
    return {"x-sie-csrf": answer.json()["csrf"]}
