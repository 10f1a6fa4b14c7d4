"""Every route that is not inference: health, metrics, models, and the registry to read.

*shell.* A FastAPI application over views. Promises the one shape of errors, also for paths and
methods that do not exist. Nothing here changes a configuration: a write is answered with the
address of the one writer.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, cast
from urllib.parse import quote

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from sie_core.resolver import Resolver
from sie_gateway.faces import TEI_PREFIX, FaceModels
from sie_gateway.faces.native import understands_202
from sie_gateway.faces.ollama import EMBED as OLLAMA
from sie_gateway.faces.openai import error_body
from sie_gateway.http.long_answers import long_answer, short_answer
from sie_gateway.http.model_status import model_status
from sie_gateway.http.model_traffic import model_traffic
from sie_gateway.http.nearest import nearest
from sie_gateway.http.openapi import openapi_document
from sie_gateway.http.pool_routes import add_pools
from sie_gateway.http.slips import Slips
from sie_gateway.http.tei_info import tei_info
from sie_gateway.http.views import (
    LongView,
    cluster_view,
    config_view,
    configs_view,
    infinity_models_view,
    model_view,
    models_view,
    ollama_models_view,
)
from sie_gateway.leases.lease_desk import LeaseDesk
from sie_gateway.request import asgi
from sie_runtime.access.gate import principal_of
from sie_runtime.access.openapi_page import PAGE_HEADERS, whole_page
from sie_runtime.access.strict_route import StrictRoute, any_query
from sie_runtime.process.telemetry import metrics_text
from sie_runtime.reach import Reach
from sie_schemas.api.models import ModelDims, ModelWithStatus, RegistryPosition
from sie_schemas.errors import FixRequest, Later, OurFault, SIEError
from sie_schemas.fleet import Heartbeat

__all__ = ["Cluster", "admin_app"]

_LOG: Final = logging.getLogger(__name__)
_CONFIGS: Final = "/v1/configs/"
_OURS: Final = (_CONFIGS, "/v1/pools")
_OLLAMAS: Final = "/api/"
"""Its clients show `error` where that is a sentence, and `[object Object]` where it is ours."""
_WRITES: Final = ["POST", "PUT", "PATCH", "DELETE"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The routes' sources, each read afresh for a request. `not_ready` says why, empty when
    ready; `widths` measures those of a model's vectors. `awaited`: requests wait for workers, or
    nobody can tell."""

    resolver: Callable[[], Resolver]
    slips: Slips
    workers: Callable[[], list[Heartbeat]]
    clocks: Callable[[], dict[str, float]]
    awaited: Callable[[], bool]
    not_ready: Callable[[], str]
    reaches: Sequence[Reach]
    config_url: str
    desk: LeaseDesk
    face_models: FaceModels
    items_max: int
    in_flight_max: int
    widths: Callable[[str], Awaitable[dict[str, int] | None]]

    def view(self) -> LongView:
        """The cluster as this gateway sees it now."""
        return cluster_view(
            self.resolver(),
            self.workers(),
            ready=not self.not_ready(),
            clocks=self.clocks(),
            awaited=self.awaited(),
            unreached=[each for reach in self.reaches for each in reach.troubles()],
            now=time.time(),
        )


def admin_app(cluster: Cluster) -> FastAPI:
    """The application."""
    app = FastAPI(
        title="SIE gateway",
        version=asgi.VERSION,
        # These pages load scripts from elsewhere; ours are below.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.router.route_class = StrictRoute
    app.add_exception_handler(SIEError, partial(_on_error, cluster))
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_defect)
    _add_operations(app, cluster)
    _add_models(app, cluster)
    _add_tei(app, cluster)
    _add_documents(app, cluster)
    # After the documents: it takes every other path below /v1/configs.
    _add_configs(app, cluster)
    add_pools(app, cluster.desk)
    _add_openapi(app)
    return app


def _add_openapi(app: FastAPI) -> None:
    """Our own document in place of the framework's, which knows no route of inference."""
    described: list[dict[str, Any]] = []

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        if not described:
            described.append(openapi_document(app))
        return described[0]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(whole_page(await openapi()), headers=dict(PAGE_HEADERS))


def _add_operations(app: FastAPI, cluster: Cluster) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """The process is alive."""
        return "ok"

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", response_class=PlainTextResponse)
    async def readyz() -> str:
        """A verified registry is loaded and the fleet was heard."""
        reason = cluster.not_ready()
        if reason:
            raise Later(reason, code="NOT_READY")
        return "ready"

    @app.get("/health")
    async def health(
        models: Annotated[str, Query(json_schema_extra={"enum": ["true", "false"]})] = "true",
    ) -> Response:
        """The cluster as this gateway sees it; with `models=false`, without the list of models."""
        if models not in {"true", "false"}:
            # By hand: the framework's own refusal has a body of another form.
            raise FixRequest("models is true or false", code="VALIDATION_ERROR", field="models")
        view = cluster.view()
        if models == "false":
            view = LongView(view.head, {"workers": view.lists["workers"]})
        return await long_answer(view)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Prometheus text; OpenMetrics, with exemplars, where `Accept` asks for it."""
        text, content_type = metrics_text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})


def _add_models(app: FastAPI, cluster: Cluster) -> None:
    @app.get("/v1/models")
    async def models() -> Response:
        """Every model of the registry, with the state that the workers report."""
        return await long_answer(models_view(cluster.resolver(), cluster.workers()))

    @app.get("/models", include_in_schema=False)
    async def models_at_root() -> Response:
        """The same, for a client of Infinity, whose paths have no version."""
        return await long_answer(infinity_models_view(cluster.resolver(), cluster.workers()))

    @app.get("/api/tags", include_in_schema=False)
    async def ollamas_models() -> Response:
        """Those that embed, for a client of Ollama, which looks at them before it asks."""
        return await long_answer(ollama_models_view(cluster.resolver(), cluster.workers()))

    @app.get("/api/version", include_in_schema=False)
    async def ollamas_version() -> dict[str, str]:
        """This release, for a client of Ollama, which asks whether anybody is there."""
        return {"version": asgi.VERSION}

    @app.get("/models/{spec:path}", include_in_schema=False)
    @app.get("/v1/models/{spec:path}")
    async def model(spec: str, request: Request) -> Response:
        """One model."""
        view = model_view(cluster.resolver(), cluster.workers(), spec)
        is_sdk = not understands_202(dict(request.scope["headers"]))
        if view["dims"] is None and is_sdk and _may_infer(request):
            # The published SDK, whose integrations make tables of these widths.
            view["dims"] = cast(ModelDims | None, await cluster.widths(spec))
        return short_answer(view)


def _may_infer(request: Request) -> bool:
    """To measure widths a model is loaded and run, which a token that may only look does not have
    done."""
    principal = principal_of(request.scope)
    return principal.may("infer") or not principal.is_known


def _add_tei(app: FastAPI, cluster: Cluster) -> None:
    def info(spec: str) -> Response:
        told = tei_info(
            cluster.resolver(),
            cluster.workers(),
            spec,
            items_max=cluster.items_max,
            in_flight_max=cluster.in_flight_max,
        )
        return short_answer(told)

    @app.get("/info")
    async def info_at_root() -> Response:
        """The model of requests that name none, as Text Embeddings Inference tells of its own."""
        return info(cluster.face_models.encoder(""))

    @app.get(f"{TEI_PREFIX}{{spec:path}}/info")
    async def info_of_model(spec: str) -> Response:
        """One model, as Text Embeddings Inference tells of its own."""
        return info(spec)

    @app.get(f"{TEI_PREFIX}{{spec:path}}/health", response_class=PlainTextResponse)
    async def health_of_model(spec: str) -> str:
        """The model is known, and this gateway takes requests."""
        cluster.resolver().resolve(spec)
        if cluster.not_ready():
            raise Later(cluster.not_ready(), code="NOT_READY")
        return "ok"


def _add_documents(app: FastAPI, cluster: Cluster) -> None:
    # The first route that fits is taken: the path of a model would take `/status` for its end.
    @app.get("/v1/configs/models/{model_id:path}/status")
    async def config_model_status(model_id: str) -> Response:
        """The revision of a model that each worker serves, against the one that the log wants.

        `traffic` is of this gateway since its start; null where it counted none of this model.
        """
        status = model_status(cluster.resolver(), cluster.workers(), model_id)
        told: ModelWithStatus = {**status, "traffic": model_traffic(model_id)}
        return short_answer(told)

    @app.get("/v1/configs/models")
    async def config_models() -> Response:
        """The models of this gateway's registry."""
        return await long_answer(configs_view(cluster.resolver(), "model"))

    @app.get("/v1/configs/models/{model_id:path}")
    async def config_model(model_id: str) -> Response:
        """One model's document."""
        return short_answer(config_view(cluster.resolver(), "model", model_id))

    @app.get("/v1/configs/bundles")
    async def config_bundles() -> Response:
        """The bundles of this gateway's registry."""
        return await long_answer(configs_view(cluster.resolver(), "bundle"))

    @app.get("/v1/configs/bundles/{name}")
    async def config_bundle(name: str) -> Response:
        """One bundle's document."""
        return short_answer(config_view(cluster.resolver(), "bundle", name))


def _add_configs(app: FastAPI, cluster: Cluster) -> None:
    @app.get("/v1/configs/epoch")
    async def config_epoch() -> Response:
        """The position of this gateway's registry."""
        position = cluster.resolver().position
        if position is None:
            raise Later("this gateway has no verified registry yet", code="NOT_READY")
        told: RegistryPosition = {
            "log_id": position.log_id,
            "epoch": position.epoch,
            "hash": position.hash,
            "digest": position.digest,
            "term": position.term,
            "source": "gateway-registry",
        }
        return short_answer(told)

    @app.api_route("/v1/configs/{rest:path}", methods=["GET", *_WRITES], include_in_schema=False)
    @any_query
    async def config_elsewhere(rest: str, request: Request) -> None:
        """Writes belong to sie-config, and so do all other reads."""
        location = f"{cluster.config_url.rstrip('/')}/v1/configs/{quote(rest)}"
        if request.method == "GET":
            raise FixRequest(
                f"a gateway shows its models, bundles and epoch: read {location} for the rest",
                code="NOT_FOUND",
                details={"location": location},
            )
        raise FixRequest(
            f"a gateway changes no configuration: send this {request.method} to {location}",
            code="METHOD_NOT_ALLOWED",
            details={"allow": "GET", "location": location},
        )


async def _on_error(cluster: Cluster, request: Request, error: Exception) -> Response:
    assert isinstance(error, SIEError)
    path, named = request.url.path, request.path_params
    spec = named.get("spec") or named.get("model_id") or ""
    cluster.slips.tell(error, spec, principal_of(request.scope))
    if isinstance(error, FixRequest) and error.details is None and path.startswith(_CONFIGS):
        # Most often it was meant for sie-config, which knows more names, moments and parameters.
        location = f"{cluster.config_url.rstrip('/')}{path}"
        error = FixRequest(
            f"{error.message}. This is a gateway; sie-config may know more: {location}",
            code=error.code,
            field=error.field,
            details={"location": location},
        )
    return _respond(request, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """The framework's own refusals, in our shape."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        refusal = FixRequest(
            f"{path} does not take {request.method}",
            code="METHOD_NOT_ALLOWED",
            details={"allow": (error.headers or {}).get("Allow", "GET")},
        )
    else:
        refusal = FixRequest(f"there is nothing at {path}: {nearest(path)}", code="NOT_FOUND")
    return _respond(request, refusal)


async def _on_gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this: the client left before its request was whole."""
    return Response(status_code=400)


async def _on_defect(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s met a defect", request.method, request.url.path, exc_info=error)
    return _respond(request, OurFault("the gateway failed; its log says why"))


def _respond(request: Request, error: SIEError) -> Response:
    """In the envelope of OpenAI too, or Ollama's, but on routes that only our own clients ask."""
    path = request.url.path
    told = OLLAMA.error if path.startswith(_OLLAMAS) else error_body
    answer = asgi.error_response(error, None if path.startswith(_OURS) else told(error))
    response = Response(answer.body, status_code=answer.status, media_type=answer.content_type)
    response.raw_headers += [*answer.headers, *asgi.VERSION_HEADERS]
    return response
