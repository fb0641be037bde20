"""`/docs`: the API to read and try in a browser. Everything the page loads comes from the service itself."""

from __future__ import annotations

import base64
import hashlib
import re

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

_ASSETS = "/docs/assets"
_PAGE = bytes(
    get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="photogpt-webhooks",
        swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{_ASSETS}/favicon-32x32.png",
        # The browser is not to keep anybody's key.
        swagger_ui_parameters={"persistAuthorization": False, "displayRequestDuration": True, "tryItOutEnabled": True},
    ).body
)


def _policy(page: bytes) -> str:
    """Of all that the page has in itself, its scripts alone may run, and only as they are now."""
    digests = (hashlib.sha256(script).digest() for script in re.findall(rb"<script>(.*?)</script>", page, re.DOTALL))
    hashes = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src 'self'{hashes}; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )


_HEADERS = {"content-security-policy": _policy(_PAGE)}


def install(app: FastAPI) -> None:
    """Serve the page and, from the package fastapi-swagger, the files of Swagger UI."""
    app.include_router(router)
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]))


@router.get("/")
async def root() -> RedirectResponse:
    return RedirectResponse("/docs")


@router.get("/docs")
async def docs() -> HTMLResponse:
    return HTMLResponse(_PAGE, headers=_HEADERS)
