"""What can be set about the simulated PhotoGPT when it is started; what is set while it runs is `control`'s."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PhotoGPTOptions:
    speed: float = 1.0
    """Simulated seconds per real second."""
    training_minutes: tuple[float, float] = (20, 25)
    """A training takes a time drawn from this range, in simulated minutes."""
    max_running: int = 3
    """Trainings that one key may have running at once."""
    keys: frozenset[str] | None = None
    """The keys that are accepted; None accepts every key, each with models of its own."""
    required_images: tuple[int, int] = (12, 20)
    """The fewest and the most `modelInput` images of a model that may be trained."""
    seed: int = 0
