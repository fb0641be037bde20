"""Where settings come from: the environment, `.env`, and files that `*_FILE` variables name. Nothing else reads them.

What there is to set, and what it means: `settings`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import AliasChoices, ValidationError

from service.domain.errors import ConfigurationError
from service.settings import IN_FILES, Settings

_DOTENV = ".env"
_PREFIXES = ("GATEWAY_", "PHOTOGPT_")
_OTHERS = frozenset({"DATABASE_URL", "DATABASE_URL_FILE", "POLL_SCHEDULE"})
# What the command line, not the gateway, reads.
_CLIENT_VARIABLES = frozenset({"GATEWAY_URL"})
_FROM_FILE = "_FILE"


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, `.env` and `*_FILE` variables; ConfigurationError in one line if one is wrong."""
    try:
        return Settings(**_from_files(), **overrides)
    except ValidationError as error:
        raise ConfigurationError("; ".join(_explain(problem) for problem in error.errors())) from None


def unknown_variables() -> list[str]:
    """Variables that look like settings and are none: misspelt, mostly."""
    known = {_variable_of(name) for name in Settings.model_fields}
    known |= {name + _FROM_FILE for name in known if name in IN_FILES} | _CLIENT_VARIABLES
    return sorted(name for name in os.environ if name.startswith(_PREFIXES) and name not in known)


def environment_without_settings() -> dict[str, str]:
    """The environment for a child process that must not inherit our settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_PREFIXES) and name not in _OTHERS}


def _from_files() -> dict[str, Any]:
    """What the `*_FILE` variables name, wherever these are set."""
    found: dict[str, Any] = {}
    set_in_file = dotenv_values(_DOTENV, encoding="utf-8", interpolate=False) if Path(_DOTENV).is_file() else {}
    for variable in sorted(IN_FILES):
        path = os.environ.get(variable + _FROM_FILE) or set_in_file.get(variable + _FROM_FILE)
        if not path:
            continue
        try:
            found[variable] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{variable}{_FROM_FILE}={path} can't be read: {error}") from None
    return found


def _variable_of(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias
    if not isinstance(alias, AliasChoices):
        raise TypeError(field)
    return str(alias.choices[0])


def _explain(problem: Any) -> str:
    where = str(problem["loc"][0]) if problem["loc"] else ""
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
