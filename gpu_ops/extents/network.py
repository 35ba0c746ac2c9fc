"""The pair model's architecture (PyTorch; used for training and export only).

An encoder looks at every frame once and keeps where things are: 24 channels for each 8x8 pixels plus how
likely that cell holds caption letters. A head compares two frames cell by cell, so one changed character
stays visible however long the line is, and answers with the five labels. Siamese comparison with an
element-wise difference and product follows common practice for sentence and patch pairs (InferSent, 2017;
MatchNet, 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = 24
EMBEDDING = CHANNELS + 1
CELL = 8


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a straight path; the dilated one sees neighbouring letters."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels, dilation=dilation), nn.Conv2d(channels, channels, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Encoder(nn.Module):
    """uint8 strips (N, H, W) -> embeddings (N, 25, H/8, W/8), the last channel being the letter
    probability."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _conv(1, 8, stride=2),
            _conv(8, 24, stride=2),
            _conv(24, 40, stride=2),
            Residual(40, 1),
            Residual(40, 2),
        )
        self.features = nn.Conv2d(40, CHANNELS, 1)
        self.letters = nn.Conv2d(40, 1, 3, padding=1)

    def forward(self, strips: Tensor) -> Tensor:
        x = (strips.float().unsqueeze(1) - 128.0) / 64.0
        x = self.trunk(x)
        return torch.cat([self.features(x), torch.sigmoid(self.letters(x))], dim=1)


class Head(nn.Module):
    """Two embeddings (N, 25, h, w) each -> logits (N, 5) of the labels of the pair (a, b)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.mix = _conv(4 * EMBEDDING, width, 1)
        self.near = nn.Sequential(_conv(width, width), _conv(width, width, stride=2))
        self.answer = nn.Sequential(nn.Linear(3 * width + 2, 48), nn.ReLU(), nn.Linear(48, 5))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        a, b = a.float(), b.float()
        x = self.near(self.mix(torch.cat([a, b, (a - b).abs(), a * b], dim=1)))
        text_a, text_b = a[:, CHANNELS:], b[:, CHANNELS:]
        text = nn.functional.max_pool2d(torch.maximum(text_a, text_b), 2, ceil_mode=True)
        over_text = (x * text).sum(dim=(2, 3)) / (text.sum(dim=(2, 3)) + 1.0)
        pooled = torch.cat(
            [
                x.amax(dim=(2, 3)),
                x.mean(dim=(2, 3)),
                over_text,
                text_a.amax(dim=(2, 3)),
                text_b.amax(dim=(2, 3)),
            ],
            dim=1,
        )
        return self.answer(pooled)


class PairNetwork(nn.Module):
    """Encoder and head together, as trained."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = Head()

    def forward(self, strips: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (P, 5) of the pairs of frames numbered `first` and `second` (P,), and the letter
        probabilities (N, H/8, W/8) of all strips uint8 (N, H, W)."""
        embeddings = self.encoder(strips)
        return self.head(embeddings[first], embeddings[second]), embeddings[:, CHANNELS]


class HeadProbabilities(nn.Module):
    """The head as exported: probabilities instead of logits."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.softmax(self.head(a, b), dim=1)
