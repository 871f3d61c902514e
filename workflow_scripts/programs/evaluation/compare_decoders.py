"""Decode the same synthetic latents slice by slice and along depth, and compare both with real volumes.

Writes two tables:
- --out, a row a volume, decoder, modality and direction: the mean absolute difference of neighbours in the foreground,
  for --config `volumes` synthetic cases under either decoder, and for the real validation cases. Between axial slices,
  streaks make it larger than in real volumes, and blur smaller.
- --fid, a row a plane and decoder: the Fréchet distance of its slices to those of real validation and test cases. Floor:
  real training cases against the same. All sets hold the same number of cases, of each patient the first, and as many
  slices, as in evaluate_images; no row where there is no case to compare.

The synthetic cases are as decoded: the quality gate has refused none of them. Config (--config): volumes; jackknife_groups;
images: keys of evaluation.images that decide the features; the others as of the synthesis.
"""

import tempfile
from pathlib import Path

from workflow_scripts.base.cli import Folder, log, program_parser, run_program
from workflow_scripts.base.files import read_tsv, write_tsv
from workflow_scripts.base.progress import track
from workflow_scripts.base.seeds import numpy_rng, torch_rng
from workflow_scripts.cohort.subset import Subset


def main(argv: list[str] | None = None) -> None:
    parser = program_parser(__doc__, "train", "val", "test", out="decoders.tsv", fid="decoder_fid.tsv")
    parser.add_argument(
        "--model", action=Folder, required=True, help="folder of a trained generator with a depth decoder"
    )
    parser.add_argument("--real", type=Path, required=True, help="table of the real cases' features")
    parser.add_argument("--features", type=Path, required=True, help="folder in which these features are kept")
    args = parser.parse_args(argv)

    import numpy as np
    import pandas as pd
    import torch

    from workflow_scripts.diffusion.generator import Request
    from workflow_scripts.diffusion.kinds import load_generator
    from workflow_scripts.diffusion.synthesis import cut_to_foreground, foreground_of
    from workflow_scripts.evaluation.case_features import CaseFeatures, check_same_settings
    from workflow_scripts.evaluation.decoder_images import COLUMNS
    from workflow_scripts.evaluation.decoders import gradient_rows
    from workflow_scripts.evaluation.feature_files import FeatureFiles
    from workflow_scripts.study.settings.evaluation import DecodersSettings
    from workflow_scripts.training.devices import default_device, use_threads

    use_threads(args.threads)
    settings = DecodersSettings.read(args.config | {"depth_decoder": True}, "evaluation.decoders")
    volumes, groups = settings.volumes, settings.jackknife_groups
    generator = load_generator(args.model, settings, default_device())
    decoders = {"slice": generator.autoencoder, "depth": generator.decoder}
    contract, real = generator.contract, read_tsv(args.real).set_index("case_id")
    train, val, test = (Subset.open(getattr(args, name), name) for name in ("train", "val", "test"))
    reference, n_real = sorted(val.first_of_each_patient + test.first_of_each_patient), train.n_patients
    ids = {"reference": reference, "floor": train.first_of_each_patient}
    features_of = CaseFeatures(settings.images, {"modalities": contract["modalities"], **contract["grid"]})
    check_same_settings(real.iloc[0], features_of.provenance)
    wanted = min(volumes, *map(len, ids.values()))  # cases that can be compared; the others have gradients alone

    modalities, table = contract["modalities"], []
    with tempfile.TemporaryDirectory() as folder, track(volumes, f"decoders of {contract['name']}", "volume") as bar:
        files = {name: FeatureFiles(folder, features_of.digest, name) for name in ("slice", "depth")}
        counts: dict[str, list[dict[str, int]]] = {"slice": [], "depth": []}
        made_ids: list[str] = []
        for number in range(volumes):
            case_id = f"synthetic {number}"
            rows = generator.conditions.rows
            request = Request(rows[number % len(rows)], torch_rng(settings.seed, "decoders", number))
            latent = generator.latents([request])[0]
            made = {name: generator.decode(latent, decoder) for name, decoder in decoders.items()}
            background = contract["written"]["background"]
            foregrounds = {name: foreground_of(sample, background) for name, sample in made.items()}
            shared = torch.from_numpy(np.logical_and(*foregrounds.values()))  # gradients of the same voxels for both
            for name, sample in made.items():
                rows = gradient_rows(torch.from_numpy(sample.image), shared, modalities)
                table += [{"case_id": case_id, "decoder": name} | row for row in rows]
            if len(made_ids) < wanted:
                cut = {
                    name: cut_to_foreground(sample.image, sample.levels, foregrounds[name])[0]
                    for name, sample in made.items()
                }
                seen = {name: features_of(image) for name, image in cut.items()}
                slices = {name: {plane: x.shape[1] for plane, x in planes.items()} for name, planes in seen.items()}
                if all(count for planes in slices.values() for count in planes.values()):
                    made_ids.append(case_id)
                    for name in made:
                        files[name].write(case_id, case_id, seen[name])
                        counts[name].append(slices[name])
                else:
                    log.warning("%s has a plane without a slice of enough foreground: left out of FID", case_id)
            bar.update(1)
        for case_id in val.case_ids:
            image = torch.from_numpy(np.asarray(val.store.image(case_id), dtype=np.float32))
            table += [
                {"case_id": case_id, "decoder": "real"} | row
                for row in gradient_rows(image, (image > -1).any(dim=0), modalities)
            ]
        distances = (
            _distances(args.features, n_real, real, ids, made_ids, files, counts, features_of, groups)
            if made_ids
            else []
        )
    of = {"n_real": n_real, "system": contract["name"]}
    table = pd.DataFrame(table).assign(**of)
    write_tsv(args.out, table)
    provenance = {key: value for key, value in features_of.provenance.items() if key != "settings_digest"}
    fid = pd.DataFrame(distances, columns=list(COLUMNS)).assign(**of, **provenance)
    write_tsv(args.fid, fid)
    means = table[table.between == "axial slices"].groupby("decoder", sort=False)["value"].mean()
    log.info(
        "%s: mean difference between neighbouring axial slices %.4f decoded slice by slice, %.4f along depth; %.4f in real "
        "validation cases", *(contract["name"], means["slice"], means["depth"], means["real"]),
    )  # fmt: skip
    for row in fid.itertuples():
        log.info("FID %s %s: %.4g (%d cases)", row.plane, row.decoder, row.value, row.n_cases)


def _distances(
    folder: Path, n_real: int, real, ids: dict, made_ids: list[str], files: dict, counts: dict, features_of, groups: int
) -> list[dict]:
    """Rows of `decoder_images.decoder_distances`: as many real cases as synthetic ones, and as many slices of each."""
    from workflow_scripts.evaluation.case_features import slice_counts
    from workflow_scripts.evaluation.decoder_images import decoder_distances
    from workflow_scripts.evaluation.feature_files import FeatureFiles
    from workflow_scripts.evaluation.feature_sets import CaseSet, draw_cases, matched_slices

    planes = features_of.planes
    rng = numpy_rng(0, "cases for the Fréchet distance", n_real)  # those that evaluate_images draws
    ids = {name: draw_cases(found, len(made_ids), rng) for name, found in ids.items()}
    of_sets = {name: slice_counts(real, found, planes) for name, found in ids.items()}
    for name, found in counts.items():
        of_sets[name] = {p: dict(zip(made_ids, (of[p] for of in found), strict=True)) for p in planes}
    kept = FeatureFiles(folder, features_of.digest, real["set"].iloc[0], real.features_digest)
    drawn = matched_slices(of_sets, seed=0)
    sets = {name: CaseSet(ids.get(name, made_ids), files.get(name, kept), drawn[name], groups) for name in of_sets}
    n_modalities = len(features_of.provenance["modalities"].split("+"))
    return list(decoder_distances(sets, planes, n_modalities, int(real.feature_dimension.iloc[0])))


if __name__ == "__main__":
    run_program(main)
