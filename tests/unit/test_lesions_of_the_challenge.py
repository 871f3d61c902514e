"""Lesion-wise scores beside those of the challenge's own package, in a Python of its own."""

import json
import subprocess
import sys

import numpy as np
import pytest
from small_cases import lps_affine

from workflow_scripts.cohort.nifti import write_nifti
from workflow_scripts.evaluation.lesions import lesion_scores
from workflow_scripts.evaluation.segmentation_scores import mask_scores
from workflow_scripts.study.voxels import Lesions

MM = (1.0, 1.0, 1.0)

CHALLENGE = """
import json, sys
import nibabel, numpy as np
from brats_evaluation import config_path, evaluate_single_exam
from panoptica import Panoptica_Evaluator
import surface_distance

evaluator = Panoptica_Evaluator.load_from_config(str(config_path("GoAT")))
answers = []
for truth, guess in json.load(open(sys.argv[1])):
    found = evaluate_single_exam(guess, truth, "case", evaluator)
    masks = [nibabel.load(file).get_fdata() > 0 for file in (truth, guess)]
    spacing = nibabel.load(truth).header.get_zooms()
    distances = surface_distance.compute_surface_distances(*masks, spacing)
    found["weighted_hd95"] = surface_distance.compute_robust_hausdorff(distances, 95)
    answers.append(found)
json.dump(answers, open(sys.argv[2], "w"), default=float)
"""


@pytest.fixture(scope="module")
def challenge_python(tmp_path_factory):
    """A Python of its own with the challenge's package, whose pins do not fit ours; it is used by no other test."""
    folder = tmp_path_factory.mktemp("challenge")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv/bin/python"
    install = [str(python), "-m", "pip", "install", "--quiet", "brats-evaluation==0.0.10", "surface-distance==0.1"]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"brats-evaluation cannot be installed here: {done.stderr.strip()[-300:]}")
    return python


@pytest.mark.slow
def test_scores_agree_with_the_package_of_the_challenge(challenge_python, tmp_path):
    """Its release for 2026 matches one part with one lesion, without dilation and without a volume limit: the scores are
    the same where lesions lie apart, are large, and are hit by one part each; only that missed and false ones are not in
    its means. Its HD95 is the percentile of both directions together, in voxels."""
    rng = np.random.default_rng(0)
    corners = [(8, 8, 8), (8, 8, 56), (8, 56, 8), (56, 8, 8)]
    pairs, masks = [], []
    for index in range(4):
        truth, guess = (np.zeros((80, 80, 80), np.uint8) for _ in range(2))
        for corner in corners[: 2 + index % 3]:
            core = np.add(corner, 3)
            truth[tuple(slice(low, low + 14) for low in corner)] = 2  # oedema, around an enhancing part
            truth[tuple(slice(low, low + 6) for low in core)] = 3
            shift = rng.integers(-2, 3, size=3)
            guess[tuple(slice(low, low + 14) for low in corner + shift)] = 2
            guess[tuple(slice(low, low + 6) for low in core + shift)] = 3
        if index == 3:
            truth[8:22, 56:70, 56:70] = 3  # missed
            guess[56:70, 56:70, 8:22] = guess[56:70, 56:70, 56:70] = 3  # false
        files = [tmp_path / f"{index}-{name}.nii.gz" for name in ("truth", "guess")]
        for file, mask in zip(files, (truth, guess), strict=True):
            write_nifti(file, mask, lps_affine(mask.shape, MM))
        pairs.append([str(file) for file in files])
        masks.append((truth, guess))
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    (tmp_path / "run.py").write_text(CHALLENGE)
    command = [
        str(challenge_python),
        str(tmp_path / "run.py"),
        str(tmp_path / "pairs.json"),
        str(tmp_path / "out.json"),
    ]
    subprocess.run(command, check=True, capture_output=True)
    for theirs, (truth, guess) in zip(json.loads((tmp_path / "out.json").read_text()), masks, strict=True):
        for region, label in (("wt", 2), ("et", 3)):
            ours = lesion_scores(truth >= label, guess >= label, MM, Lesions(dilation_voxels=1))
            dice, distance = mask_scores(truth >= label, guess >= label, MM)
            assert theirs[region]["global_bin_dsc"] == pytest.approx(dice, abs=1e-5)
            hit, wrong = ours["lesions"] - ours["lesions_missed"], ours["lesions_missed"] + ours["lesions_false"]
            if not wrong:
                assert theirs[region]["global_bin_hd95"] == pytest.approx(distance, abs=0.1)
            assert (theirs[region]["tp"], theirs[region]["fp"]) == (hit, ours["lesions_false"])
            assert theirs[region]["fn"] == ours["lesions_missed"]
            dice, distance = (theirs[region][key] * hit for key in ("sq_dsc", "sq_hd95"))
            assert ours["lesion_dice"] == pytest.approx(dice / (hit + wrong), abs=1e-5)
            assert ours["lesion_hd95_mm"] == pytest.approx((distance + 374 * wrong) / (hit + wrong), abs=0.1)
        # the tool of 2023 weighs border elements by area: less than a voxel apart
        assert abs(theirs["weighted_hd95"] - mask_scores(truth > 0, guess > 0, MM)[1]) < 1
