"""CarveMix (Zhang et al. 2021, arXiv 2108.06883) as a kind of generator: a training patient's tumour in another one.

Requested conditions choose the donor, mirrored or not, whose tumour is nearest to them, and the place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from ..base.errors import UserError
from ..base.files import sha256_json, write_text
from ..base.provenance import code_digest
from ..cohort.regions import levels_to_channels
from ..diffusion.conditions import ConditionTable
from ..diffusion.generator import Generator, Request, Sample
from ..diffusion.hosts import Host, Hosts, flipped
from ..diffusion.training_set import TrainingFiles, read_training_set
from ..study.settings.generator import Mix
from ..study.settings.synthesis import SynthesisSettings
from ..training.model_files import save_model
from .carving import draw_threshold_mm, mix, place, signed_distance_mm
from .healing import healed

NEARNESS = 0.5
"""Standard deviations of all conditions together by which a donor may be farther from what is wanted than another."""

CENTROID = ("centroid_z_mm", "centroid_y_mm", "centroid_x_mm")
OF_PLACE = 0.1
"""Weight of the squared distance of a centroid's coordinate, others 1: a tumour can be moved, but not made larger."""


@dataclass(frozen=True)
class CarveMix(Generator):
    """Its table holds the training tumours, and after them, if it flips, the same mirrored left to right."""

    contract: dict
    conditions: ConditionTable
    device: torch.device
    hosts: Hosts | None
    settings: Mix

    kind: ClassVar[str] = "carvemix"

    @classmethod
    def train(cls, config: dict, files: TrainingFiles, out: str | os.PathLike, state: str | os.PathLike) -> None:
        assert files.train is not None, "the kind works on voxels"
        if files.train.n_patients < 2:
            raise UserError(
                f"system {config['system']} puts the tumour of one training patient into another, but "
                f"{files.train.manifest} has one patient: make every splits.n_real at least 2, or leave the system out"
            )
        data = read_training_set(files, config["regions"], normalised=False)
        table = data.conditions
        if config["mix"]["flips"]:
            table = ConditionTable(table.names, np.concatenate([table.rows, mirrored(table)]))
        contract = data.contract | {
            "kind": "generator",
            "name": config["system"],
            "generator": {"kind": cls.kind, "mix": config["mix"]},
            "spec": {},
            "autoencoder": None,
            "latent": {"shape": data.scale["shape"]},
            "features": table.describe(),
            **asdict(data.seen),
            "seed": config["seed"],
            "config_digest": sha256_json(config),
            "code_digest": code_digest(cls.__module__),
        }
        write_text(Path(out) / "loss.csv", "step\n")  # no step is made
        save_model(out, {"features.table": torch.from_numpy(table.rows).float()}, contract)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike,
        weights: dict,
        contract: dict,
        settings: SynthesisSettings,
        device: torch.device,
        hosts: Hosts | None = None,
    ) -> CarveMix:
        if list(weights) != ["features.table"]:
            raise UserError(f"{folder}: the weights are not features.table alone; run `snakemake -R train_generator`")
        table = ConditionTable(tuple(contract["features"]["names"]), weights["features.table"].double().numpy())
        return cls(contract, table, device, hosts, Mix.read(contract["generator"]["mix"], "mix"))

    def sample(self, requests: Sequence[Request]) -> Iterator[Sample]:
        for request in requests:
            if request.host is None or self.hosts is None:
                raise UserError(f"{self.contract['name']} puts tumours into training patients: it needs a host")
            yield self._mixed(request, request.host, self.hosts)

    def _mixed(self, request: Request, host: Host, hosts: Hosts) -> Sample:
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=request.rng)))
        spacing_mm, regions = self.contract["grid"]["spacing_mm"], self.contract["regions"]
        row = self._donor(request.conditions, host.case_id, hosts, rng)
        donor = hosts[self.contract["training_case_ids"][row % len(hosts.case_ids)]]
        if row >= len(hosts.case_ids):
            donor = flipped(donor)
        if rng.random() < 0.5 and self.settings.flips:
            host = flipped(host)
        if self.settings.host_tumour == "heal":
            host = healed(host)
        distance_mm = signed_distance_mm(donor.levels > 0, spacing_mm)
        limit_mm = draw_threshold_mm(distance_mm, self.settings.inner_share, self.settings.margin_mm, rng)
        region = distance_mm <= limit_mm
        columns = [self.conditions.names.index(name) for name in CENTROID]
        wanted = (request.conditions - self.conditions.rows[row])[columns] / np.asarray(spacing_mm)
        shift = place((donor.levels > 0) & region, host.foreground, wanted)
        image, levels, carved = mix(donor, host, region, shift)
        masks = levels_to_channels(levels, regions).astype(np.float32)
        return Sample(image, masks, levels, host.foreground, (host.levels > 0) & ~carved, donor.case_id)

    def _donor(self, wanted: np.ndarray, host: str, hosts: Hosts, rng: np.random.Generator) -> int:
        """The row of the table whose tumour is put into the host: of another patient, near to the conditions (F,)."""
        weights = [OF_PLACE if name in CENTROID else 1.0 for name in self.conditions.names]
        offset = self.conditions.normalise(self.conditions.rows) - self.conditions.normalise(wanted)
        squared = offset**2 @ np.array(weights)
        patients = [hosts.patient_of(case_id) for case_id in self.contract["training_case_ids"]]
        own = np.array(patients * (len(squared) // len(patients))) == hosts.patient_of(host)
        squared[own] = np.inf
        weight = np.exp(-0.5 * (squared - squared.min()) / NEARNESS**2)
        return int(rng.choice(len(weight), p=weight / weight.sum()))

    def describe(self) -> str:
        return f"tumours of other training patients, margin up to {self.settings.margin_mm:g} mm"


def mirrored(table: ConditionTable) -> np.ndarray:
    """The rows of the table (n, F), the tumours mirrored left to right."""
    return table.rows * np.where([name == "centroid_x_mm" for name in table.names], -1.0, 1.0)
