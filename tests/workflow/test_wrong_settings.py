"""Wrong configurations and command lines, made by the hundred from the settings' own models: each is a sentence, at once."""

from __future__ import annotations

import copy
import importlib
import math
import pkgutil
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic.fields import FieldInfo
from workflow import ROOT, copy_project, snakemake

from workflow_scripts import programs
from workflow_scripts.base.errors import UserError
from workflow_scripts.study.dataset import parse_dataset
from workflow_scripts.study.files import Files
from workflow_scripts.study.settings.autoencoder import autoencoder_of
from workflow_scripts.study.settings.base import Block
from workflow_scripts.study.settings.files import merge, read_yaml
from workflow_scripts.study.settings.messages import blocks_of
from workflow_scripts.study.settings.study import Study, read_study
from workflow_scripts.study.settings.systems import SYSTEM, known_systems

DEFAULT = read_yaml(ROOT / "config/config.yaml") | {"data_root": "demo"}
WRONG, EXTREME, SHAPES, DATASETS = 300, 1500, 25, 150
PATTERN = re.compile(r"\(\?|\\[dws]|\]\*|\^\[|\.\+")  # what only a programmer reads
Way = tuple[str, ...]


def ways(block: type[Block], path: Way = ()) -> Iterator[tuple[Way, FieldInfo]]:
    """The way to every key that holds a value, and its field."""
    for name, field in block.model_fields.items():
        inner = blocks_of(field) if name != "published" else []
        for one in inner:
            yield from ways(one, (*path, name))
        if not inner and name not in ("system_settings", "published"):
            yield (*path, name), field


def of_systems() -> list[tuple[Way, FieldInfo]]:
    """The keys of each system of config/systems/ that has them: those of its kind's blocks, and of its own autoencoder."""
    found = []
    for name in known_systems():
        plain = read_yaml(ROOT / f"config/systems/{name}.yaml")
        for path, field in ways(SYSTEM):
            if path[0] in plain and (len(path) == 1 or isinstance(plain[path[0]], dict)):
                own = autoencoder_of(plain["autoencoder"]) if path[0] == "autoencoder" else None
                if own is not None and path[1] not in type(own).model_fields:
                    continue  # of the other kind of autoencoder
                found.append((("system_settings", name, *path), field))
    return found


KEYS = [*ways(Study), *of_systems()]


def with_value(path: Way, value: Any) -> dict:
    """The shipped configuration with `value` there, and the system that it is of among systems."""
    systems = ["slice_ldm", path[1]] if path[0] == "system_settings" and path[1] != "slice_ldm" else ["slice_ldm"]
    for key in reversed(path):
        value = {key: value}
    return merge(DEFAULT | {"systems": systems}, value)


def types_of(field: FieldInfo) -> str:
    return str(field.annotation) + str(field.metadata)


def holds(field: FieldInfo, *kinds: str) -> bool:
    return any(kind in types_of(field) for kind in kinds)


def out_of_range(field: FieldInfo) -> list:
    """Values beyond a number's own limits."""
    found = []
    for part in field.metadata:
        for name, far in (("ge", -1), ("gt", 0), ("le", 1), ("lt", 0)):
            if (limit := getattr(part, name, None)) is not None:
                found.append(limit + far)
    return found


def misspelt(rng: random.Random, name: str) -> str:
    """The name with two letters the other way round, one left out, or one twice."""
    place = rng.randrange(len(name) - 1)
    head, one, two, tail = name[:place], name[place], name[place + 1], name[place + 2 :]
    return rng.choice([head + two + one + tail, head + two + tail, head + one + one + two + tail])


def wrong(rng: random.Random, path: Way, field: FieldInfo, siblings: set[str]) -> tuple[Way, Any]:
    """A way and a value that no study can have there."""
    numeric = holds(field, "int", "float") and not holds(field, "str")
    kinds = ["type", "key", "misspelt", *["finite", "text"] * numeric, *["range"] * bool(out_of_range(field))]
    match rng.choice(kinds):
        case "type":  # no key that holds a value takes a mapping of other words, or a list of such
            return path, rng.choice([{"no": "such value"}, [{"no": 1}], [[["x"]]]])
        case "key":
            return (*path[:-1], f"{path[-1]}_{rng.randrange(100)}"), 1
        case "misspelt":
            name = misspelt(rng, path[-1])
            return (*path[:-1], name if name not in siblings else f"{name}x"), rng.choice([1, None, "x"])
        case "finite":
            return path, rng.choice([math.nan, math.inf, -math.inf, ".nan", "inf"])
        case "text":
            return path, rng.choice(["ten", "1,5", "1 2", "", " ", "0x", "--", "1e"])
        case _:
            return path, rng.choice(out_of_range(field))


def refusal(config: dict) -> str | None:
    """The sentence of a refused configuration, None where it is taken; what the Snakefile does first."""
    try:
        Files(read_study(config).plain())
    except UserError as error:
        return str(error)
    return None


def test_three_hundred_wrong_configurations_are_refused_by_the_key_that_is_wrong():
    rng = random.Random(0)
    names = {path[-1] for path, _ in KEYS}
    for _ in range(WRONG):
        path, value = wrong(rng, *rng.choice(KEYS), names)
        said = refusal(with_value(path, value))
        assert said is not None, f"{'.'.join(path)}: {value!r} was taken"
        assert path[-1] in said and not PATTERN.search(said), said
        assert len(said) < 2000, said


VALUES = [0, 1, 2, 3, 7, 8, -1, 0.0, 0.5, 1.0, 1e-9, 1e9, 1e300, 10**30, 2.5, True, False, None, "", "x", "none", "auto", "../x",
          "1", "a b", "Ä", "1e5", "[1]", [], [0], [1], [2, 1], [1, 1], [1, 2, 3], [8, 8, 8], [8, 16, 24], [9, 9, 9], [4096] * 3,
          [1e9], {}, {"a": 1}, [[]], ["x"], [None], ["whole_tumor"], ["t1c"], ["slice_ldm", "ldm_3d"], list(range(1, 20)), "null",
          "~", "%s", "$HOME", "a: b", "\n", "\t", "-", ":", "\0", "x" * 5000]  # fmt: skip


def test_no_value_whatever_ends_in_a_traceback():
    """Odd values at one to three keys of any system at once: taken or refused, with no other error."""
    rng = random.Random(1)
    taken = 0
    anywhere = [*ways(Study), *((("system_settings", None, *path), field) for path, field in ways(SYSTEM))]
    for _ in range(EXTREME):
        name, config = rng.choice(known_systems()), DEFAULT
        config = merge(config, {"systems": list(dict.fromkeys([name, *["slice_ldm"] * (rng.random() < 0.9)]))})
        for _ in range(rng.choice([1, 1, 2, 3])):
            path, _field = rng.choice(anywhere)
            value = rng.choice(VALUES)
            for key in reversed([name if part is None else part for part in path]):
                value = {key: value}
            config = merge(config, value)
        said = refusal(config)
        taken += said is None
        assert said is None or not PATTERN.search(said), said
    assert EXTREME // 100 < taken < EXTREME // 4, "some are valid, most are not"


def random_shapes(rng: random.Random) -> dict:
    """A configuration whose networks have random, small shapes."""
    widths, name = (
        [2, 3, 4, 6, 8, 10, 12, 16, 20],
        rng.choice(["slice_ldm", "slice_ldm_2d", "ldm_3d", "ddpm_3d", "lsgan_3d"]),
    )

    def some(pool: list, least: int, most: int) -> list:
        return [rng.choice(pool) for _ in range(rng.randint(least, most))]

    autoencoder: dict[str, Any] = {"channels": some(widths, 1, 4), "latent_channels": rng.choice([1, 2, 3, 8])}
    autoencoder["strides"] = [1, *(rng.choice([1, 2, 2, 3]) for _ in autoencoder["channels"][1:])]
    if name == "ldm_3d":
        autoencoder["patch_size"] = rng.choice([None, [8, 8, 8], [16, 16, 16]])
        autoencoder["discriminator"] = rng.choice([None, {"channels": some(widths, 1, 3)}])
    channels = some(widths, 1, 5)
    denoiser = {
        "kind": rng.choice(["unet_3d", "unet_2d_tiled"]),
        "channels": channels,
        "blocks_per_level": rng.choice([1, 2]),
        "embedding_dim": rng.choice([4, 6, 10]),
        "attention_levels": rng.choice([[], [1], [len(channels) - 1], [len(channels)]]),
        "middle_attention": rng.random() < 0.3,
    }
    gan = {"channels": some(widths, 1, 5), "discriminator_channels": some(widths, 1, 4), "z_dim": rng.choice([1, 7])}
    told = {"scalars": rng.choice(["all", [], ["volume_ml"], ["fractions"]]), "spatial": rng.choice(["none", "box"])}
    own = "slice_ldm" if name.startswith("slice") else name
    settings = {own: {"autoencoder": autoencoder}} if own in ("slice_ldm", "ldm_3d") else {}
    settings = merge(
        settings, {name: {"gan": gan} if name == "lsgan_3d" else {"denoiser": denoiser, "conditions": told}}
    )
    size = [rng.choice([8, 9, 12, 16, 17, 24, 32]) for _ in range(3)]
    changed = {
        "systems": list(dict.fromkeys([name, own])),
        "system_settings": settings,
        "preprocessing": {"size": size},
    }
    return merge(DEFAULT, changed)


def test_what_is_taken_can_be_built():
    """Each system of a configuration that is not refused is built, and its networks are called, without numbers."""
    from workflow_scripts.evaluation.system_cost import system_cost
    from workflow_scripts.study.conditions import condition_names

    rng, taken = random.Random(2), 0
    for _ in range(SHAPES):
        try:
            plain = read_study(random_shapes(rng)).plain()
        except UserError:
            continue
        taken += 1
        names = condition_names(plain["regions"])
        for system in plain["system"].values():
            system_cost(
                system, len(plain["modalities"]), len(plain["regions"]) + 1, plain["preprocessing"]["size"], names
            )
    assert taken > SHAPES // 4


# --- data sets ---------------------------------------------------------------------------------------------------------
OF_DATASETS = [0, 1, -1, 256, 1e300, math.nan, True, None, "", "x", "../x", "a b", "(", "[", [], ["x"], {}, {"a": 1}, {1: "x"}, [[1]],
               {"x": "("}]  # fmt: skip


def places(value: Any, way: tuple = ()) -> list[tuple]:
    """The way to every value of a YAML document; of lists to the first two."""
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    return [*([way] if way else []), *(found for key, one in inner for found in places(one, (*way, key)))]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config/datasets").glob("*.yaml")))
def test_a_changed_data_set_is_read_or_refused_by_its_file(name):
    """A value, or a key, of a file of config/datasets/ is replaced by whatever."""
    rng, whole, refused = random.Random(3), read_yaml(ROOT / f"config/datasets/{name}.yaml"), 0
    for _ in range(DATASETS):
        settings = copy.deepcopy(whole)
        *path, last = rng.choice(places(settings))
        holder = settings
        for step in path:
            holder = holder[step]
        value = copy.deepcopy(rng.choice(OF_DATASETS))
        holder[last] = value
        if isinstance(holder, dict) and rng.random() < 0.2:
            del holder[last]
            holder[rng.choice([f"{last}x", 3, None])] = value
        try:
            parse_dataset(settings, f"{name}.yaml")
        except UserError as error:
            refused += 1
            assert f"{name}.yaml" in str(error) and len(str(error)) < 3000, str(error)
    assert refused > DATASETS * 0.8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": ...}, "layouts.brats2021.labels is missing"),
        ({"label": {1: "x"}}, "unknown key 'label' under 'layouts.brats2021'. Did you mean 'labels'?"),
        ({"cases": "("}, "      brats2021:\n        cases: (P[0-9]+)_[0-9]+"),
        ({None: 1}, "the key None under 'layouts.brats2021' is no text"),
    ],
    ids=str,
)
def test_a_mistake_in_a_layout_is_answered_by_the_layouts_name(change, words):
    settings = copy.deepcopy(read_yaml(ROOT / "config/datasets/brats.yaml"))
    layout = settings["layouts"]["brats2021"]
    layout.update({key: value for key, value in change.items() if value is not ...})
    for key in [key for key, value in change.items() if value is ...]:
        del layout[key]
    with pytest.raises(UserError) as caught:
        parse_dataset(settings, "my.yaml")
    assert words in str(caught.value)


# --- command lines ----------------------------------------------------------------------------------------------------
PROGRAMS = [
    module.name for module in pkgutil.walk_packages(programs.__path__, f"{programs.__name__}.") if not module.ispkg
]
LINES = [["--no-such-option"], ["--config", "{"], ["--config", "[1]"], ["--config", "/no/such.yaml"], ["--threads", "0"], ["--threads", "many"],
         ["@/no/such.list"]]  # fmt: skip
OF_THEIR_OWN = {
    "document_settings",
    "estimate",
    "notice",
    "slurm_check",
    "status",
    "watch",
}  # called by hand, or by make


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.rpartition(".")[2] not in OF_THEIR_OWN])
def test_a_wrong_command_line_of_a_program_is_answered_by_its_usage(name, capsys):
    main = importlib.import_module(name).main
    for line in LINES:
        with pytest.raises(SystemExit) as caught:
            main(line)
        assert caught.value.code == 2
        said = capsys.readouterr().err
        assert ("usage:" in said and line[0].lstrip("-@") in said) or "required" in said


def test_snakemake_says_it_before_the_first_job(tmp_path):
    """The real command line: one sentence, no traceback, nothing planned or written."""
    project = copy_project(tmp_path)
    lines = [
        (["system=lsgan_3d"], "Did you mean 'systems'?"),
        (["segmentation={ratios: [0, .nan]}"], "no finite number"),
        (["data_root="], "data_root is empty"),
        (["system_settings={slice_ldm: {denoiser: {attention_levels: [4]}}}"], "levels 1 to 3"),
    ]
    for words, expected in lines:
        given = words if words[0].startswith("data_root") else ["data_root=demo", *words]
        done = snakemake(project, "--dry-run", "--config", *given)
        assert done.returncode != 0 and expected in done.stdout, done.stdout
        assert "Traceback" not in done.stdout and not (project / "results").exists()
