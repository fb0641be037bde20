"""The settings in the order in which a person asks for them: what `check` prints, and docs/configure.md."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import AliasChoices

from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Group:
    """`together`: what has to fit together, a sentence each; the rules themselves are in `rules`."""

    title: str
    intro: str
    variables: tuple[str, ...]
    together: tuple[str, ...] = ()


GROUPS = (
    Group(
        "PhotoGPT",
        "Where PhotoGPT is, and with whose key it is called.",
        ("PHOTOGPT_API_KEY", "PHOTOGPT_BASE_URL", "GATEWAY_UPSTREAM_TIMEOUT"),
        ("With `GATEWAY_MODE=gateway` leave `PHOTOGPT_API_KEY` unset: each tenant brings its own.",),
    ),
    Group(
        "Who may call, and where",
        "A sidecar serves one application on its own machine; a gateway serves many tenants on the network.",
        (
            "GATEWAY_MODE",
            "GATEWAY_HOST",
            "GATEWAY_PORT",
            "GATEWAY_HEALTH_PORT",
            "GATEWAY_TOKEN",
            "GATEWAY_ADMIN_TOKEN",
            "GATEWAY_DOCS",
        ),
        (
            (
                "Off loopback, `PHOTOGPT_API_KEY` needs `GATEWAY_TOKEN`: otherwise `GATEWAY_HOST` would let the "
                "network spend its money."
            ),
            "`GATEWAY_TOKEN` needs `PHOTOGPT_API_KEY`: without it callers authenticate with their own keys.",
        ),
    ),
    Group(
        "Database and keys",
        "SQLite needs nothing; several processes need PostgreSQL ([scaling](scaling.md)).",
        (
            "DATABASE_URL",
            "GATEWAY_MASTER_KEY",
            "GATEWAY_PREVIOUS_MASTER_KEY",
            "GATEWAY_ROLE",
            "GATEWAY_REUSE_PORT",
            "GATEWAY_RETENTION_DAYS",
        ),
        (
            (
                "`GATEWAY_MODE=gateway`, and PostgreSQL in either mode, need `GATEWAY_MASTER_KEY`; on SQLite a sidecar "
                "makes one beside its database."
            ),
            (
                "`GATEWAY_PREVIOUS_MASTER_KEY` needs the new one beside it, in `GATEWAY_MASTER_KEY` "
                "([how to rotate it](security.md#the-master-key))."
            ),
            "`GATEWAY_ROLE` other than `all`, and `GATEWAY_REUSE_PORT`, need a `DATABASE_URL` of PostgreSQL.",
        ),
    ),
    Group(
        "Where callbacks may go",
        "To public addresses over https always, and to its own machine from a sidecar on loopback; everything else has "
        "to be opened here ([security](security.md#where-callbacks-may-go)).",
        ("GATEWAY_CALLBACK_ALLOW", "GATEWAY_CALLBACK_ALLOW_METADATA", "GATEWAY_EGRESS_PROXY", "GATEWAY_EXCERPTS"),
        (
            (
                "`GATEWAY_CALLBACK_ALLOW` may name link-local and metadata addresses only with "
                "`GATEWAY_CALLBACK_ALLOW_METADATA=true`."
            ),
        ),
    ),
    Group(
        "Watching",
        "When a model is read ([polling](polling.md)), and when a watch is given up.",
        (
            "GATEWAY_POLL_INTERVAL",
            "POLL_SCHEDULE",
            "GATEWAY_SWEEP",
            "GATEWAY_POLLS_PER_SECOND",
            "GATEWAY_POLLS_PER_KEY",
            "GATEWAY_POLLS_IN_FLIGHT",
            "GATEWAY_OVERDUE_AFTER",
            "GATEWAY_EXPIRE_AFTER",
            "GATEWAY_QUEUE_PAUSE",
            "GATEWAY_QUEUE_EXPIRE_AFTER",
            "GATEWAY_LEASE",
        ),
        (
            (
                "`GATEWAY_LEASE` must exceed `GATEWAY_UPSTREAM_TIMEOUT` and `GATEWAY_ATTEMPT_TIMEOUT`: otherwise a "
                "second worker would take what the first is still doing."
            ),
            (
                "The times of `POLL_SCHEDULE` are a minute apart (or a fifth of `GATEWAY_POLL_INTERVAL`, if that is "
                "less), and end before `GATEWAY_EXPIRE_AFTER`."
            ),
        ),
    ),
    Group(
        "Delivering",
        "How often a webhook is tried, and how many at once ([receiving](receiving.md#retries)).",
        (
            "GATEWAY_RETRY_SCHEDULE",
            "GATEWAY_ATTEMPT_TIMEOUT",
            "GATEWAY_DELIVERIES_PER_HOST",
            "GATEWAY_DELIVERIES_IN_FLIGHT",
        ),
    ),
    Group(
        "What one tenant may have",
        "Beyond it a tenant gets a 429, or waits its turn; other tenants notice nothing "
        "([security](security.md#limits-per-tenant)).",
        (
            "GATEWAY_TENANT_TRAININGS",
            "GATEWAY_TENANT_ENDPOINTS",
            "GATEWAY_TENANT_REQUESTS_PER_SECOND",
            "GATEWAY_TENANT_DELIVERIES",
        ),
    ),
    Group(
        "PhotoGPT's own API under /api",
        "What passes through to PhotoGPT ([drop-in](drop-in.md)).",
        ("GATEWAY_PROXY_ALL", "GATEWAY_PROXY_MOST_BYTES", "GATEWAY_PROXY_TIMEOUT"),
    ),
    Group(
        "Logs, traces and tests",
        "Logs go to stderr: lines of JSON, or text where that is a terminal. Traces: [operating](operate.md#traces).",
        ("GATEWAY_LOG_LEVEL", "GATEWAY_ACCESS_LOG", "GATEWAY_TRACES", "GATEWAY_CRASH_AT"),
    ),
)


def variables() -> dict[str, str]:
    """The field of Settings for each environment variable."""
    found = {}
    for name, field in Settings.model_fields.items():
        if not isinstance(field.validation_alias, AliasChoices):
            raise TypeError(name)
        found[str(field.validation_alias.choices[0])] = name
    return found


def description(variable: str) -> str:
    return Settings.model_fields[variables()[variable]].description or ""
