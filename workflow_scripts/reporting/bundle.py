"""A trained generator's folder as a MONAI bundle: what it takes and gives (metadata.json), and how to draw from it (inference.json).

The weights stay where they are. Format: docs.monai.io, "MONAI Bundle Specification".
"""

from collections.abc import Mapping
from importlib.metadata import version

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_generator_20240725.json"
)
VERSION = "1.0.0"  # of this description of a generator
PATCH = {"is_patch_data": False}


def metadata(contract: Mapping, digest: str) -> dict:
    """The bundle's metadata.json. contract: model.json of the generator, digest: of it."""
    conditions, modalities, regions = contract["features"]["names"], contract["modalities"], contract["regions"]
    shape = {"spatial_shape": contract["grid"]["size"], **PATCH}
    image = {"type": "image", "format": "magnitude", "num_channels": len(modalities), "dtype": "float32"}
    mask = {"type": "image", "format": "segmentation", "num_channels": 1, "dtype": "uint8"}
    outputs = {
        "image": image | shape | {"value_range": [-1, 1], "channel_def": _numbered(modalities)},
        "levels": mask | shape | {"value_range": [0, len(regions)], "channel_def": _numbered(["background", *regions])},
    }
    asked = {"type": "tuple", "format": "condition", "num_channels": len(conditions), "spatial_shape": [1], **PATCH}
    asked |= {"dtype": "float32", "value_range": [], "channel_def": _numbered(conditions)}
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "changelog": {VERSION: f"contract {digest[:16]}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"sliceaug": "*"},
        "name": contract["name"],
        "task": "Images with tumour masks under conditions of the tumour",
        "description": f"A generator of kind {contract['generator']['kind']}, made by SliceAug; README.md is its card",
        "authors": "see README.md",
        "copyright": "rests with the owner of the training cases",
        "intended_use": "Research on data augmentation, and not for diagnosis",
        "network_data_format": {"inputs": {"conditions": asked}, "outputs": outputs},
    }


def inference() -> dict:
    """The bundle's inference.json, which ``python -m monai.bundle run`` takes with --bundle_root, the generator's folder."""
    return {
        "imports": ["$import sliceaug"],
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/output'",
        "count": 1,
        "first": 0,
        "train": None,
        "device": None,
        "generator": "$sliceaug.Generator.load(@bundle_root, train=@train, device=@device)",
        "run": ["$@generator.sample(@count, first=@first, out=@output_dir)"],
    }


def _numbered(names: list[str]) -> dict[str, str]:
    return {str(place): name for place, name in enumerate(names)}
