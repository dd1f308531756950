"""The judge: a small detector that says which known things a picture shows, where, and in which style.

```
picture 96x96 -> stem 48 -> 24 -> 12 -> 6 -> features [D]  -> style, embedding
                             |     |    |
                             +<----+<---+  added upwards
                             v
                      map 24x24: a logit for each concept (its peak lies on the thing's middle), the log of its side
```

Detection by centre points follows Zhou et al. 2019 (Objects as Points), without its offsets: a cell is four pixels.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pinxit.schema.errors import BadModelFile

SIDE = 96
STRIDE = 4
CONFIG_KEY = "judge"
RARE = -4.6
"""First logit everywhere: a thing lies on about one place in a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeConfig:
    """What a judge knows. `widths` are the channels at 48, 24, 12 and 6 pixels."""

    concepts: tuple[str, ...]
    styles: tuple[str, ...]
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)
    embedding: int = 64


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge sees in B pictures.

    Shapes: `heat` [B, concepts, 24, 24] logits, `side` [B, 24, 24] the natural log of a thing's side as a share of the
    picture's, `style` [B, styles] logits, `embedding` [B, E] of length one, `features` [B, D].
    """

    heat: Tensor
    side: Tensor
    style: Tensor
    embedding: Tensor
    features: Tensor


FIELDS = tuple(field.name for field in fields(Verdict))


class Residual(nn.Module):
    """Two 3x3 convolutions around which the input passes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


def _down(wide: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(wide, out, 3, stride=2, padding=1, bias=False), nn.GroupNorm(8, out), nn.ReLU())


class Judge(nn.Module):
    """The network of one judge. Pictures are float [B, 3, 96, 96] in -1..1."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        a, b, c, d = config.widths
        self.stem = _down(3, a)
        self.stage1 = nn.Sequential(_down(a, b), Residual(b))
        self.stage2 = nn.Sequential(_down(b, c), Residual(c))
        self.stage3 = nn.Sequential(_down(c, d), Residual(d))
        self.lateral2 = nn.Conv2d(d, c, 1)
        self.lateral1 = nn.Conv2d(c, b, 1)
        self.head = nn.Sequential(nn.Conv2d(b, d, 3, padding=1), nn.ReLU())
        self.heat = nn.Conv2d(d, len(config.concepts), 1)
        self.side = nn.Conv2d(d, 1, 1)
        self.style = nn.Linear(2 * d, len(config.styles))
        self.embed = nn.Linear(2 * d, config.embedding)
        with torch.no_grad():
            self.heat.bias.fill_(RARE)  # pyright: ignore[reportOptionalMemberAccess] - made with a bias

    def forward(self, x: Tensor) -> Verdict:
        fine = self.stage1(self.stem(x))
        middle = self.stage2(fine)
        coarse = self.stage3(middle)
        middle = F.relu(middle + F.interpolate(self.lateral2(coarse), scale_factor=2.0))
        fine = F.relu(fine + F.interpolate(self.lateral1(middle), scale_factor=2.0))
        found = self.head(fine)
        features = coarse.mean(dim=(2, 3))
        whole = torch.cat([features, found.amax(dim=(2, 3))], dim=1)
        return Verdict(
            heat=self.heat(found),
            side=self.side(found)[:, 0],
            style=self.style(whole),
            embedding=F.normalize(self.embed(whole).float(), dim=1),
            features=features,
        )


def save_judge(judge: Judge, path: Path) -> None:
    """Write a judge with its configuration, in float16."""
    state = {name: value.detach().half().contiguous() for name, value in judge.state_dict().items()}
    save_file(state, path, metadata={CONFIG_KEY: json.dumps(asdict(judge.config), ensure_ascii=False)})


def load_judge(path: Path) -> Judge:
    """Read a judge back, in float32. Raises BadModelFile for any other file."""
    try:
        with safe_open(path, framework="pt") as file:
            told = (file.metadata() or {}).get(CONFIG_KEY)
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118  safetensors' own API
        raw = json.loads(told or "")
        config = JudgeConfig(
            concepts=tuple(raw["concepts"]),
            styles=tuple(raw["styles"]),
            widths=tuple(raw["widths"]),
            embedding=raw["embedding"],
        )
        judge = Judge(config)
        judge.load_state_dict(state)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadModelFile(f"{path.name} is not a judge of pictures.", hint="Install pinxit again.") from error
    return judge.requires_grad_(False).eval()


@torch.inference_mode()
def judged(judge: Judge, pictures: Tensor, *, batch: int = 64) -> Verdict:
    """The verdict on uint8 pictures [N, 3, H, W] of any size."""
    parts: list[Verdict] = [judge(seen(pictures[at : at + batch])) for at in range(0, len(pictures), batch)]
    return Verdict(*(torch.cat([getattr(part, name) for part in parts]) for name in FIELDS))


def seen(pictures: Tensor) -> Tensor:
    """Pictures as the judge takes them: 96 pixels wide, averaged rather than sampled, float in -1..1."""
    x = pictures.float() / 127.5 - 1
    if x.shape[-2:] != (SIDE, SIDE):
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)
