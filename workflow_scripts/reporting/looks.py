"""What a data set's regions are called in tables, and their colours in figures: said once by each program."""

from collections.abc import Mapping

# Okabe & Ito 2008 and a red: for regions without a colour of their own, from the outside in
_COLOURS = ("#F0E442", "#E69F00", "#FF3B30", "#56B4E9", "#009E73", "#CC79A7")
_names: dict[str, str] = {}
_colours: dict[str, str] = {}


def use_looks(looks: Mapping | None) -> None:
    """Take ``region_names`` and ``region_colours`` of a data set for all that this program writes."""
    _names.clear(), _colours.clear()
    _names.update((looks or {}).get("region_names", {}))
    _colours.update((looks or {}).get("region_colours", {}))


def region_name(region: str) -> str:
    """What readers call a region; a modality keeps its name."""
    return _names.get(region, region.replace("_", " "))


def region_colour(region: str, place: int) -> str:
    """Colour of a region, the `place`-th from the outside."""
    return _colours.get(region, _COLOURS[place % len(_COLOURS)])
