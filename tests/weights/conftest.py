"""What the tests of weights share: ResNets of PyTorch."""

import pytest


def _make_resnet(blocks, filters, groups=1, expansion=4, classes=1000):
    """A bottleneck ResNet of PyTorch with torchvision's names."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before, width, stride):
            super().__init__()
            after = width * expansion
            self.conv1 = nn.Conv2d(before, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(
                width, width, 3, stride, 1, groups=groups, bias=False
            )
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, after, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(after)
            self.downsample = nn.Sequential()
            if stride > 1 or before != after:
                self.downsample = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride, bias=False),
                    nn.BatchNorm2d(after),
                )

        def forward(self, x):
            y = self.bn1(self.conv1(x)).relu()
            y = self.bn2(self.conv2(y)).relu()
            y = self.bn3(self.conv3(y))
            return (y + self.downsample(x)).relu()

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            before = 64
            for stage, (number, width) in enumerate(zip(blocks, filters), 1):
                layer = nn.Sequential()
                for i in range(number):
                    stride = 2 if stage > 1 and i == 0 else 1
                    layer.append(Block(before, width, stride))
                    before = width * expansion
                setattr(self, f"layer{stage}", layer)
            self.fc = nn.Linear(before, classes)

        def forward(self, x):
            x = self.bn1(self.conv1(x)).relu()
            x = nn.functional.max_pool2d(x, 3, 2, 1)
            for stage in range(1, len(blocks) + 1):
                x = getattr(self, f"layer{stage}")(x)
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="session")
def torch_resnet():
    """Function that makes a ResNet of PyTorch of random numbers."""
    return _make_resnet
