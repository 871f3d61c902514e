"""The user's feature networks: weights files in their authors' layouts give the features that the authors' network gives."""

import hashlib

import pytest
import torch
from torch.nn import functional as F

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.seeds import torch_rng
from workflow_scripts.evaluation.frechet import GaussianStatistics, frechet_distance
from workflow_scripts.models.image_networks import NETWORKS, load_image_network
from workflow_scripts.models.inception import BlockA, InceptionV3

CONVOLUTIONS = {2: F.conv2d, 3: F.conv3d}
POOLS = {2: F.max_pool2d, 3: F.max_pool3d}


def drawn(shapes):
    """Weights of these names and shapes, each a function of its name alone; activations keep their size."""
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=torch_rng("weights", name))
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(1)
        elif len(shape) > 1:
            weights[name] = noise * (2 / noise[0].numel()) ** 0.5
        elif name.endswith(("running_var", "weight")):
            weights[name] = 1 + 0.2 * noise.tanh()
        else:
            weights[name] = 0.1 * noise
    return weights


def norm_shapes(name, channels):
    kinds = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{kind}": (channels,) for kind in kinds} | {f"{name}.num_batches_tracked": ()}


def resnet_shapes(dims, channels, blocks, bottleneck):
    """Names and shapes of the tensors of a ResNet, as torchvision and MedicalNet call them."""
    shapes = {"conv1.weight": (64, channels, *(7,) * dims)} | norm_shapes("bn1", 64)
    width = 64
    for layer, count in enumerate(blocks, start=1):
        inner = 32 * 2**layer
        out = inner * (4 if bottleneck else 1)
        for index in range(count):
            block = f"layer{layer}.{index}"
            kernels = ((inner, 1), (inner, 3), (out, 1)) if bottleneck else ((inner, 3), (out, 3))
            before = width
            for number, (after, kernel) in enumerate(kernels, start=1):
                shapes[f"{block}.conv{number}.weight"] = (after, before, *(kernel,) * dims)
                shapes |= norm_shapes(f"{block}.bn{number}", after)
                before = after
            if index == 0 and (layer > 1 or width != out):
                shapes[f"{block}.downsample.0.weight"] = (out, width, *(1,) * dims)
                shapes |= norm_shapes(f"{block}.downsample.1", out)
            width = out
    return shapes


def resnet_forward(weights, x, strides, dilations, stride_at):
    """The network as a plain function of its weights: `stride_at` is the convolution of a block that has the stride."""
    dims = x.ndim - 2

    def normed(x, name):
        mean, var, scale, shift = (
            weights[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        shape = (1, -1, *(1,) * dims)
        return (x - mean.reshape(shape)) / (var.reshape(shape) + 1e-5).sqrt() * scale.reshape(shape) + shift.reshape(
            shape
        )

    x = normed(CONVOLUTIONS[dims](x, weights["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = POOLS[dims](x, 3, stride=2, padding=1)
    for layer in range(1, 5):
        index = 0
        while f"layer{layer}.{index}.conv1.weight" in weights:
            block, y = f"layer{layer}.{index}", x
            stride = strides[layer - 1] if index == 0 else 1
            for number in range(1, 4):
                if f"{block}.conv{number}.weight" not in weights:
                    continue
                kernel = weights[f"{block}.conv{number}.weight"]
                wide = kernel.shape[-1] == 3
                dilation = dilations[layer - 1] if wide else 1
                step = stride if number == stride_at else 1
                y = CONVOLUTIONS[dims](y, kernel, stride=step, padding=dilation if wide else 0, dilation=dilation)
                y = normed(y, f"{block}.bn{number}")
                if f"{block}.conv{number + 1}.weight" in weights:
                    y = y.relu()
            if f"{block}.downsample.0.weight" in weights:
                x = normed(
                    CONVOLUTIONS[dims](x, weights[f"{block}.downsample.0.weight"], stride=stride),
                    f"{block}.downsample.1",
                )
            x, index = (x + y).relu(), index + 1
    return x.flatten(2).mean(dim=2)


def saved(content, file):
    torch.save(content, file)
    return file, hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("layout", ["authors", "torchvision", "parallel"])
def test_radimagenet_in_its_authors_layout_and_in_torchvisions(tmp_path, layout):
    weights = drawn(resnet_shapes(2, 3, (3, 4, 6, 3), bottleneck=True))
    places = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    head = {"fc.weight": torch.zeros(165, 2048), "fc.bias": torch.zeros(165)}
    content = {
        "authors": {f"backbone.{places[name.split('.')[0]]}.{name.split('.', 1)[1]}": x for name, x in weights.items()},
        "torchvision": weights | head,
        "parallel": {"state_dict": {f"module.{name}": x for name, x in weights.items()}},
    }[layout]
    file, digest = saved(content, tmp_path / "ResNet50.pt")
    network = load_image_network("radimagenet_resnet50", file, digest)
    assert (network.digest, network.spatial_dims, network.input_size) == (digest, 2, 224)
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = resnet_forward(weights, 2 * x - 1, (1, 2, 2, 2), (1, 1, 1, 1), stride_at=2)
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize(("depth", "blocks", "features"), [(10, (1, 1, 1, 1), 512), (50, (3, 4, 6, 3), 2048)])
def test_medicalnet_in_its_authors_layout(tmp_path, depth, blocks, features):
    weights = drawn(resnet_shapes(3, 1, blocks, bottleneck=depth == 50))
    content = {f"module.{name}": value for name, value in (weights | {"conv_seg.0.weight": torch.zeros(2)}).items()}
    file, digest = saved({"state_dict": content}, tmp_path / f"resnet_{depth}_23dataset.pth")
    network = load_image_network(f"medicalnet_resnet{depth}", file, digest)
    assert (network.digest, network.spatial_dims) == (digest, 3)
    x = torch.zeros(1, 1, 24, 32, 32)
    x[:, :, 4:20, 6:26, 8:28] = torch.rand(16, 20, 20) * 0.8 + 0.1
    brain = x[x > 0]
    scaled = torch.where(x > 0, (x - brain.mean()) / brain.std(correction=0), 0.0)
    with torch.no_grad():
        found = network(x)
        expected = resnet_forward(weights, scaled, (1, 2, 1, 1), (1, 1, 2, 4), stride_at=2 if depth == 50 else 1)
    assert found.shape == (1, features)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(network(torch.where(x > 0, x * 0.5 + 0.2, 0.0)), found, rtol=1e-3, atol=1e-3)
        assert network(torch.zeros_like(x)).isfinite().all(), "no brain at all"


# Features of torchvision 0.28 (for 1008 classes patched as pytorch-fid patches it) for `drawn` weights and a ramp.
INCEPTION = {
    1000: (0.12956, 0.76768, 0.00264, 0.31423, 0.36429),
    1008: (0.14444, 0.80818, 0.00384, 0.33993, 0.43871),
}


def inception_file(classes, tmp_path, **more):
    shapes = {name: tuple(value.shape) for name, value in InceptionV3(classes).state_dict().items()}
    return saved(drawn(shapes) | more, tmp_path / "inception.pth")


@pytest.mark.parametrize("classes", INCEPTION)
def test_inception_gives_the_features_of_its_authors_network(tmp_path, classes):
    auxiliary = {"AuxLogits.fc.bias": torch.zeros(1000)} if classes == 1000 else {}
    file, digest = inception_file(classes, tmp_path, **auxiliary)
    network = load_image_network("inception_v3", file, digest)
    assert ("2015" in network.name) == (classes == 1008) and network.input_size == 299
    ramp = torch.linspace(0, 1, 3 * 299 * 299).reshape(1, 3, 299, 299)
    with torch.no_grad():
        found = network(ramp)[0]
    assert found.shape == (2048,)
    torch.testing.assert_close(
        found[[0, 400, 1000, 1500, 2047]], torch.tensor(INCEPTION[classes]), rtol=1e-3, atol=1e-4
    )


def waves(phase, count=3, size=299):
    """Grey images (count, 3, size, size), whole numbers from 0 to 255."""
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float64)] * 2, indexing="ij")
    made = [
        torch.sin(x * (0.02 + 0.004 * k) + phase) * torch.cos(y * (0.03 - 0.002 * k) - 0.5 * k * (1 + phase))
        for k in range(count)
    ]
    return ((torch.stack(made) + 1) * 127.5).round()[:, None].expand(-1, 3, -1, -1)


def test_fid_from_images_is_that_of_torch_fidelity(tmp_path):
    """Its figures: version 0.4.0, inception-v3-compat with these weights, of the same images."""
    network = load_image_network("inception_v3", *inception_file(1008, tmp_path))
    found = []
    with torch.no_grad():
        for phase in (0.0, 0.7):
            centred = (
                waves(phase) - 128
            ) / 128  # as TensorFlow's FID and torch-fidelity do; pytorch-fid: 2 x / 255 - 1
            found.append(network(((centred + 1) / 2).float()).double().numpy())
    expected = (0.28707, 0.76438, 0.00483, 0.49468, 0.46392)
    assert found[0][2][[0, 400, 1000, 1500, 2047]] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    distance = frechet_distance(*(GaussianStatistics(2048).update(features) for features in found))
    assert distance == pytest.approx(0.8375231763962284, rel=1e-3)


def test_inception_has_the_parameters_that_torchvision_states():
    """torchvision: 27,161,264 with its auxiliary classifier of 3,326,696."""
    assert sum(weight.numel() for weight in InceptionV3(1000).parameters()) == 27_161_264 - 3_326_696
    names = set(InceptionV3(1008).state_dict())
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch3x3dbl_3.bn.running_var", "Mixed_6e.branch7x7dbl_5.conv.weight",
            "Mixed_7a.branch7x7x3_4.bn.bias", "Mixed_7c.branch3x3dbl_3b.conv.weight", "fc.bias"} <= names  # fmt: skip


def test_the_pools_of_2015_leave_the_padding_out():
    block = BlockA(8, 4).eval()
    constant = torch.ones(1, 8, 9, 9)
    with torch.no_grad():
        for weights in block.parameters():
            weights.abs_()  # a drawn sign could end all channels at 0, where both pools agree
        counted = block.pooled(constant)
        block.pool = "inside"
        inside = block.pooled(constant)
    assert torch.allclose(inside, inside[..., 4:5, 4:5].expand_as(inside)), (
        "a constant image stays constant to its edge"
    )
    assert torch.allclose(counted[..., 1:-1, 1:-1], inside[..., 1:-1, 1:-1])
    assert not torch.allclose(counted, inside)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_of_another_network_is_refused(tmp_path, name):
    file, digest = saved({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"other\.pth holds no weights of"):
        load_image_network(name, file, digest)
    with pytest.raises(UserError, match="has SHA-256"):
        load_image_network(name, file, "00" * 32)
    with pytest.raises(UserError, match="no weights file"):
        load_image_network(name, tmp_path / "absent.pth", None)


@pytest.mark.parametrize(
    ("name", "content"),
    [("medicalnet_resnet10", [1, 2]), ("inception_v3", {"fc.bias": "text"}), ("radimagenet_resnet50", {})],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, name, content):
    file, _ = saved(content, tmp_path / "odd.pth")
    with pytest.raises(UserError, match=r"odd\.pth holds no weights of"):
        load_image_network(name, file, None)


def test_the_wrong_depth_is_refused(tmp_path):
    file, _ = saved(drawn(resnet_shapes(3, 1, (1, 1, 1, 1), bottleneck=False)), tmp_path / "resnet_10.pth")
    with pytest.raises(UserError, match="holds no weights of MedicalNet's ResNet-50"):
        load_image_network("medicalnet_resnet50", file, None)


def test_a_converted_network_with_biases_is_refused_in_words(tmp_path):
    weights = drawn(resnet_shapes(2, 3, (3, 4, 6, 3), bottleneck=True)) | {"conv1.bias": torch.zeros(64)}
    file, _ = saved(weights, tmp_path / "converted.pth")
    with pytest.raises(UserError, match=r"Unexpected key\(s\) in state_dict: \"conv1.bias\""):
        load_image_network("radimagenet_resnet50", file, None)
