"""The console of one process: its pages, sessions and its way to the gateway, put together.

*shell.* Promises that the console needs nothing but the public API. It adds files, and a cookie in
the place of a header. It also passes some paths on to the gateway, since its page may speak to its
own site alone.
"""

import ssl
from collections.abc import Callable

import httpx

from sie_config.http.console.pages import add_pages
from sie_config.http.console.sign_in import SignIn
from sie_config.http.console.to_gateway import ToGateway
from sie_config.http.direct import DirectApp
from sie_config.writer_process import ControlPlane
from sie_runtime.access.access import Access
from sie_runtime.http.bodies import Application

__all__ = ["Console"]


class Console:
    """One for each process. Closed by its owner."""

    def __init__(
        self,
        plane: ControlPlane,
        access: Access | None,
        *,
        gateway_url: str = "",
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._to_gateway = ToGateway(
            gateway_url, tls=tls, transport=transport, until_stopping=plane.until_stopping
        )
        self._sign_in = SignIn(
            access,
            log_id=lambda: plane.sequencer.position.log_id,
            gateway_url=gateway_url.rstrip("/"),
            clock=clock or plane.now,
        )

    def mount(self, app: DirectApp) -> None:
        """Mount the routes; the files last, whose path takes any name."""
        self._sign_in.mount(app)
        self._to_gateway.mount(app)
        add_pages(app)

    def before(self, app: Application) -> Application:
        """The application behind the sign-in; the gate is a part of it."""
        return self._sign_in.before(app)

    async def close(self) -> None:
        """Close what it holds."""
        await self._to_gateway.close()
