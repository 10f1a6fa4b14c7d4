"""Direct routes: none goes before a route that was added first."""

import pytest
from starlette.responses import Response
from starlette.routing import Mount

from sie_config.http.direct import DirectApp
from sie_config.http.doors import door


async def _never(_request, _error):
    return Response(status_code=500)


@door(None)
async def _endpoint(_request):
    return Response()


def an_app() -> DirectApp:
    return DirectApp(on_error=_never, on_defect=_never, openapi_url=None)


@pytest.mark.parametrize(
    ("method", "plain", "direct"),
    [
        ("PUT", "/v1/models/all", "/v1/models/{key}"),
        ("PUT", "/v1/models/{key}/notes", "/v1/models/{key:path}"),
        ("PUT", "/v1/{kind}/all", "/v1/models/{key}"),
        ("PUT", "/v1/{rest:path}", "/v1/models/{key}"),
    ],
)
def test_a_direct_route_that_would_go_before_an_earlier_one_is_refused_by_name(
    method, plain, direct
):
    app = an_app()
    app.router.add_route(plain, _endpoint, methods=[method])
    with pytest.raises(ValueError, match="would go before") as refused:
        app.add_direct(method, direct, _endpoint)
    assert plain in str(refused.value)


def test_a_mounted_application_is_such_a_route_too():
    app = an_app()
    app.router.routes.append(Mount("/v1/models", app=an_app()))
    with pytest.raises(ValueError, match="would go before /v1/models/"):
        app.add_direct("PUT", "/v1/models/{key}", _endpoint)


def test_another_path_or_method_and_an_earlier_direct_route_are_none():
    app = an_app()
    app.add_direct("PUT", "/v1/models/{key}", _endpoint)
    app.router.add_route("/v1/models/{key}/notes", _endpoint, methods=["PUT"])
    app.router.add_route("/v1/packs/{key:path}", _endpoint, methods=["POST"])
    app.add_direct("PUT", "/v1/models/{kind}", _endpoint)
    app.add_direct("PUT", "/v1/packs/{key:path}", _endpoint)
