"""`/.well-known/webhook-signing-keys`: the public keys that verify `v1a` signatures, open to anybody."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from service.api.dependencies import Parts

router = APIRouter(tags=["Signing"])


class SigningKeyOut(BaseModel):
    id: str = Field(examples=["whk_0123456789abcdef"])
    public_key: str = Field(examples=["whpk_..."], description="`whpk_` and the base64 of an ed25519 public key.")
    active: bool = Field(description="Whether webhooks are signed with it now.")


class SigningKeysOut(BaseModel):
    keys: list[SigningKeyOut]


@router.get(
    "/.well-known/webhook-signing-keys",
    response_model=SigningKeysOut,
    summary="Read the public signing keys",
    description="They verify the `v1a` (ed25519) signature of every webhook. Fetch them from here and keep them; never "
    "take a key from a webhook.",
)
async def get_signing_keys(parts: Parts) -> Response:
    keys = [{"id": key.id, "public_key": key.public_key, "active": True} for key in parts.keyring.public_keys()]
    return JSONResponse({"keys": keys}, headers={"cache-control": "public, max-age=300"})
