"""The gateway's HTTP face, made over the parts that live.

*main*: answers nothing itself; here is what the routes read, and from whom.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from sie_core.resolver import Resolver
from sie_gateway.faces import FaceModels
from sie_gateway.faces.vocabulary import Vocabulary
from sie_gateway.fleet.kind_loads import KindLoads
from sie_gateway.fleet.watch import FleetWatch
from sie_gateway.http.admin import Cluster, admin_app
from sie_gateway.http.app import GatewayApp
from sie_gateway.http.live_status import LiveStatus
from sie_gateway.http.request_log import RequestLog
from sie_gateway.http.slips import Slips
from sie_gateway.http.widths import Widths
from sie_gateway.parts import Parts, make_inference
from sie_gateway.request.requests import Limits
from sie_gateway.settings import GatewaySettings
from sie_runtime.access.rates import Rates
from sie_runtime.http.connections import within_descriptors
from sie_runtime.process.named_requests import NamedRequests
from sie_runtime.reach import Reach

__all__ = ["build_app"]


def build_app(
    settings: GatewaySettings,
    parts: Parts,
    resolver: Callable[[], Resolver],
    stop: asyncio.Event,
    *,
    replica_not_ready: Callable[[], str],
    reaches: Sequence[Reach],
    asked_for: Callable[[str, str | None], None],
    loads: KindLoads,
) -> GatewayApp:
    """The HTTP face over the parts that live. `replica_not_ready` says why, empty when ready;
    `reaches` are of what it calls; `asked_for` is told the model and adapter of each request."""

    def not_ready() -> str:
        if stop.is_set():
            return "this gateway is stopping"
        return replica_not_ready() or _unheard(resolver(), parts.watch, reaches)

    inference = make_inference(settings, parts, resolver, asked_for=asked_for, loads=loads)
    face_models = _face_models_of(settings, resolver)
    limits = Limits(
        items_max=settings.request_items_max,
        chars_max=settings.request_chars_max,
        payload_bytes_max=settings.item_bytes_max,
    )
    slips = Slips(resolver)
    retry_after_s = settings.provisioning_retry_after_s
    cluster = Cluster(
        resolver=resolver,
        slips=slips,
        workers=parts.watch.live,
        clocks=parts.watch.clocks,
        awaited=lambda: loads.awaited or not parts.watch.hears,
        not_ready=not_ready,
        reaches=reaches,
        config_url=settings.config_public_url or settings.config_url,
        desk=parts.desk,
        face_models=face_models,
        items_max=settings.request_items_max,
        in_flight_max=settings.in_flight_items_max,
        widths=Widths(inference, resolver, limits, retry_after_s=retry_after_s).of,
    )
    rest = admin_app(cluster)
    return GatewayApp(
        inference,
        NamedRequests(rest, rest.routes),
        limits=limits,
        body_bytes_max=settings.body_bytes_max,
        provisioning_retry_after_s=retry_after_s,
        live=_live_status_of(settings, cluster, stop),
        face_models=face_models,
        request_log=RequestLog(settings.log_requests, position=lambda: resolver().position),
        slips=slips,
        rates=_rates_of(settings),
    )


def _unheard(resolver: Resolver, watch: FleetWatch, reaches: Sequence[Reach]) -> str:
    """The reason why this gateway cannot answer yet, in words; empty where it can."""
    if resolver.position is None:
        return "no verified registry is loaded yet"
    if watch.settled:
        return ""
    unreached = [reach.why_not for reach in reaches if reach.why_not]
    return ": ".join(["the workers were not heard yet", *unreached])


def _face_models_of(settings: GatewaySettings, resolver: Callable[[], Resolver]) -> FaceModels:
    return FaceModels(
        settings.tei_embed_model,
        settings.tei_rerank_model,
        vocabulary=_vocabulary(settings.token_vocabulary),
        tasks=lambda spec: resolver().tasks_of(spec),
        backend=lambda spec: resolver().backend_of(spec),
    )


def _live_status_of(settings: GatewaySettings, cluster: Cluster, stop: asyncio.Event) -> LiveStatus:
    return LiveStatus(
        cluster.view,
        interval_s=settings.live_status_s,
        stop=stop,
        # The rest is for requests.
        watchers_max=max(1, within_descriptors(settings.http_connections_max) // 8),
    )


def _rates_of(settings: GatewaySettings) -> Rates | None:
    if not settings.tenant_rate_per_s:
        return None
    return Rates("tenant", per_s=settings.tenant_rate_per_s, burst=settings.tenant_burst)


def _vocabulary(path: Path | None) -> Vocabulary | None:
    """The vocabulary of a file. Raises `ValueError`, which says what is amiss."""
    if path is None:
        return None
    try:
        return Vocabulary.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"token_vocabulary: {path} is no vocabulary: {error}") from error
