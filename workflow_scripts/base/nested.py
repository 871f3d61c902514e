"""Settings within settings."""

from collections.abc import Mapping


def flat(settings: Mapping, path: str = "") -> dict[str, object]:
    """Values by their dotted names."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        place = f"{path}.{name}" if path else str(name)
        found |= flat(value, place) if isinstance(value, Mapping) and value else {place: value}
    return found
