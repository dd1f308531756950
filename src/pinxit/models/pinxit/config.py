"""What the files of our own model say about its networks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pinxit.models.common.configs import ClipTextConfig, UNetConfig, VaeConfig
from pinxit.models.common.measured import clip_config, settings_of, unet_config, vae_config
from pinxit.models.common.prediction import Prediction
from pinxit.models.pinxit.folder import PREDICTION
from pinxit.schema.errors import BadModelFile
from pinxit.weights.identify import Match

TEXT = "text_encoder_2"
HEAD_WIDTH = 32
TEXT_HEAD_WIDTH = 64
SIZES = 6
"""Numbers in the size conditioning: original height and width, crop top and left, target height and width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinxitConfig:
    """One checkpoint of our own family. `side` is the picture size it was trained at, in pixels."""

    unet: UNetConfig
    vae: VaeConfig | None
    text_encoder: ClipTextConfig | None
    prediction: Prediction
    side: int

    @property
    def size_embedding(self) -> int:
        """How wide each of the six sizes is embedded."""
        pooled = self.text_encoder.projection if self.text_encoder else None
        return ((self.unet.adm_in_channels or 0) - (pooled or 0)) // SIZES


def config_from(match: Match) -> PinxitConfig:
    """The configuration of our own model. Raises BadModelFile where its parts contradict each other."""
    vae = vae_config(match)
    if vae is not None:
        groups = settings_of(match, "vae").integer("norm_num_groups") or max(1, vae.channels // 4)
        vae = replace(vae, norm_groups=groups)
    text = clip_config(match, activation="gelu", component=TEXT)
    side = settings_of(match, "unet").integer("sample_size")
    scale = 2 ** (len(vae.channel_mult) - 1) if vae else 16
    config = PinxitConfig(
        unet=unet_config(match, head_width=HEAD_WIDTH),
        vae=vae,
        text_encoder=text,
        prediction=PREDICTION,
        side=side * scale if side else 256,
    )
    if text is not None and (config.size_embedding < 2 or config.size_embedding % 2):
        raise BadModelFile(
            f"The U-Net's added embedding takes {config.unet.adm_in_channels} numbers, which is not the pooled text "
            f"({text.projection}) and six sizes.",
            hint="The parts belong to different models.",
        )
    return config
