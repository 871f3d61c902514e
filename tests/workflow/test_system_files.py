"""The generative systems of config/systems/: composed, scaled, and refused where they do not go together."""

from __future__ import annotations

import pytest
import yaml
from test_config import DEFAULT, ROOT, SYSTEMS, read
from workflow import copy_project, planned

from workflow_scripts.base.errors import UserError
from workflow_scripts.study.settings.files import merge
from workflow_scripts.study.settings.study import read_study
from workflow_scripts.study.settings.systems import shipped_systems

SHIPPED = shipped_systems()
SYSTEM = SYSTEMS["slice_ldm"]


def test_all_shipped_systems_go_together():
    assert set(read(systems=list(SYSTEMS)).system) == set(SYSTEMS)


def test_system_settings_override_the_system_file():
    system = read(system_settings={"slice_ldm": {"sampler": {"steps": 7}}}).system["slice_ldm"]
    assert system.sampler == SHIPPED["slice_ldm"].sampler.model_copy(update={"steps": 7})


def test_a_system_gets_the_autoencoder_that_it_shares_with_the_settings_made_there():
    settings = {"slice_ldm": {"autoencoder": {"latent_channels": 3}, "scale": 0.5}}
    system = read(systems=["slice_ldm_2d"], system_settings=settings).system
    assert set(system) == {"slice_ldm_2d"}
    assert system["slice_ldm_2d"].autoencoder.latent_channels == 3
    assert system["slice_ldm_2d"].autoencoder.channels == [64, 128, 256, 256]
    assert system["slice_ldm_2d"].denoiser.channels == [64, 128, 256, 512], "its own scale is 1"


def test_scale_multiplies_every_width_and_nothing_else():
    settings = {"ldm_3d": {"scale": 0.1}, "lsgan_3d": {"scale": 0.25}}
    system = read(systems=list(SYSTEMS), system_settings=settings).system
    assert system["ldm_3d"].autoencoder.channels == [12, 24, 52, 52], "multiples of 4"
    assert system["ldm_3d"].autoencoder.discriminator.channels == [8, 12, 24, 52]
    assert system["ldm_3d"].denoiser.channels == [12, 24, 52, 104]
    assert system["lsgan_3d"].gan.channels == [128, 64, 32, 16, 8]
    assert system["lsgan_3d"].gan.z_dim == 2048
    assert system["ldm_3d"].sampler == SHIPPED["ldm_3d"].sampler


@pytest.fixture
def own_systems(tmp_path, monkeypatch):
    """A folder of systems to write into: config/systems of the folder that a study runs in."""
    (tmp_path / "config/systems").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config/systems"


def test_systems_that_share_an_autoencoder_must_set_it_alike(own_systems):
    for name in ("one", "two"):
        (own_systems / f"{name}.yaml").write_text(yaml.safe_dump(SYSTEM))
    both = DEFAULT | {"systems": ["one", "two"]}
    assert set(read_study(both).system) == {"one", "two"}
    with pytest.raises(UserError, match="share the autoencoder 'slice_vae', but set it differently"):
        read_study(merge(both, {"system_settings": {"two": {"autoencoder": {"latent_channels": 3}}}}))


DIFFUSES = ("denoiser", "conditions", "diffusion", "sampler")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gan": {}}, "gan does not go with `kind: diffusion`"),
        ({"kind": "gan"}, "conditions does not go with `kind: gan`"),
        (dict.fromkeys(DIFFUSES) | {"kind": "gan"}, "autoencoder does not go with `kind: gan`"),
        ({"kind": "gans"}, r"kind is 'gans', but must be one of diffusion, gan, carvemix, editing"),
        ({"autoencoder": "two"}, r"config/systems/two\.yaml does not exist"),
        ({"autoencoder": "one"}, "`autoencoder: one` names a system that has no autoencoder"),
        ({"label": None}, "system one: label is missing"),
        ({"generator": "slice_ldm"}, "generator is set: it goes with `kind: editing`"),
    ],
)
def test_a_composition_that_cannot_be_is_refused(own_systems, change, message):
    system = {key: value for key, value in (SYSTEM | change).items() if value is not None}
    (own_systems / "one.yaml").write_text(yaml.safe_dump(system))
    with pytest.raises(UserError, match=message):
        read(systems=["one"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds None, but must be a mapping"),
        (b"- label: x\n", r"one\.yaml holds \[{'label': 'x'}\], but must be a mapping"),
        (b"label: caf\xe9\n", "is no text in UTF-8"),
        (b"label: 'x\n", "is no valid YAML"),
        (b"label: x\n3: {}\n", "system one: the key 3 at the top is no text"),
    ],
)
def test_a_file_that_holds_no_system_is_named(own_systems, content, message):
    (own_systems / "one.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read(systems=["one"])


NARROW = """
label: narrow
autoencoder: slice_ldm
denoiser: {channels: [32, 64]}
"""


def test_a_system_of_an_existing_kind_is_added_in_one_file(tmp_path):
    project = copy_project(tmp_path)
    (project / "config/systems/narrow.yaml").write_text(NARROW)
    study = ["--configfile", str(ROOT / "tests/tiny.yaml"), "--config"]
    alone, both = (planned(project, *study, f"systems=[{names}]") for names in ("slice_ldm", "slice_ldm,narrow"))
    assert both["train_generator"] == both["audit_memorisation"] == 2 * alone["train_generator"] == 2
    assert both["train_autoencoder"] == both["extract_latents"] == 1, "it shares the autoencoder that it names"
    assert both["train_segmentation"] == alone["train_segmentation"] + 2, (
        "its mix at ratio 1, and its synthetic cases alone"
    )


def test_a_system_that_draws_with_anothers_model_has_its_settings():
    both = ["slice_ldm", "slice_ldm_edit"]
    found = read(systems=both, system_settings={"slice_ldm": {"scale": 0.25}}).system
    lender, system = (found[name] for name in both)
    for name in ("autoencoder", "denoiser", "diffusion", "conditions", "latents"):
        assert getattr(system, name) == getattr(lender, name), name
    assert system.training is None


@pytest.mark.parametrize(
    ("systems", "settings", "message"),
    [
        (["slice_ldm_edit"], {}, r"(?s)slice_ldm, which is not among systems.*systems: \[slice_ldm, slice_ldm_edit\]"),
        (["slice_ldm", "slice_ldm_edit"], {"denoiser": {"channels": [4]}}, "whose denoiser is set there"),
        (["slice_ldm", "slice_ldm_edit"], {"generator": None}, "generator is missing"),
        (["slice_ldm", "slice_ldm_edit"], {"sampler": {"name": "heun"}}, "slice_ldm_edit: sampler.name is heun"),
        (["lsgan_3d", "slice_ldm_edit"], {"generator": "lsgan_3d"}, "must be of `kind: diffusion`"),
    ],
)
def test_a_system_that_cannot_draw_with_anothers_model_is_refused(systems, settings, message):
    with pytest.raises(UserError, match=message):
        read(systems=systems, system_settings={"slice_ldm_edit": settings})
