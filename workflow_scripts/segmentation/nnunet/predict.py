"""Prediction of an arm on a whole case: nnU-Net's sliding window, brought back to the grid the case came on."""

from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from ..networks import load_weights
from ..segmenter import Plan
from .library import NnunetPlan, nnunet_home, quiet
from .pool import preprocess
from .precision import use_precision

TILE_STEP = 0.5  # of the patch: nnU-Net's default overlap


def load_network(plan: NnunetPlan, weights_file: Path) -> torch.nn.Module:
    """The plan's network with an arm's weights; as `networks.load_weights`."""
    _, configuration, labels = plan.managers()
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(plan.dataset["channel_names"]),
        labels.num_segmentation_heads,
        allow_init=False,
        deep_supervision=False,
    )
    return load_weights(network, weights_file)


class NnunetPredictor:
    """nnU-Net's sliding window: the function `predict` of `segmentation.segmenter`.

    mirror_axes : axes of the network's input to average flips over, or None for no mirroring
    precision : as `precision.use_precision`
    """

    def __init__(
        self,
        plan: Plan,
        weights_file: Path,
        mirror_axes: list[int] | None,
        precision: str,
        device: torch.device,
    ):
        self.plan = NnunetPlan.of(plan)
        network = load_network(self.plan, weights_file).to(device)
        self.precision = use_precision(network, device, precision)
        plans, configuration, _ = self.plan.managers()
        axes = tuple(mirror_axes) if mirror_axes else None
        with nnunet_home(), quiet():
            self.windows = nnUNetPredictor(
                tile_step_size=TILE_STEP,
                use_gaussian=True,
                use_mirroring=axes is not None,
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
            self.windows.manual_initialization(network, plans, configuration, None, self.plan.dataset, "SliceAug", axes)

    def probabilities(self, image: np.ndarray, spacing_mm: list[float]) -> np.ndarray:
        """Probabilities (R, D, H, W) float32 of each region for an image (M, D, H, W); 0 outside the foreground's box."""
        plans, configuration, labels = self.plan.managers()
        data, _, properties = preprocess(self.plan, image, None, spacing_mm)
        with nnunet_home(), quiet():
            logits = self.windows.predict_sliding_window_return_logits(torch.from_numpy(data))
            cropped = properties["shape_after_cropping_and_before_resampling"]
            found = torch.sigmoid(logits.float().cpu()).numpy()  # (R, D', H', W'), the plan's axes and spacing
            if found.shape[1:] != tuple(cropped):
                ours = [spacing_mm[axis] for axis in plans.transpose_forward]
                found = configuration.resampling_fn_probabilities(found, cropped, configuration.spacing, ours)
        whole = labels.revert_cropping_on_probabilities(
            np.asarray(found, dtype=np.float32),
            properties["bbox_used_for_cropping"],
            properties["shape_before_cropping"],
        )
        return whole.transpose(0, *(axis + 1 for axis in plans.transpose_backward))


predict = NnunetPredictor
