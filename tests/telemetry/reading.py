"""What `/metrics` says, read back."""

from prometheus_client.parser import text_string_to_metric_families

from service.components import Components

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(parts: Components) -> Series:
    return parsed(parts.metrics.exposition().decode())


def parsed(exposition: str) -> Series:
    """Each series by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def value(parts: Components, name: str, **labels: str) -> float:
    """Of the series `photogpt_webhooks_{name}` with exactly these labels."""
    return series(parts)[f"photogpt_webhooks_{name}", frozenset(labels.items())]
