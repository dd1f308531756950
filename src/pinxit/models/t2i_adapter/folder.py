"""The JSON of a T2I-Adapter's folder, so that other tools can read what we save."""

from __future__ import annotations

from collections.abc import Mapping

from pinxit.models.common.diffusers_json import VERSION
from pinxit.models.t2i_adapter.config import AdapterConfig


def folder_files(config: AdapterConfig) -> Mapping[str, object]:
    """config.json. The light form's last level repeats the channels of the one before, and is not listed."""
    full = "full_adapter_xl" if config.unshuffle == 16 else "full_adapter"
    return {
        "config.json": {
            "_class_name": "T2IAdapter",
            "_diffusers_version": VERSION,
            "adapter_type": full if config.inner is None else "light_adapter",
            "channels": list(config.channels if config.inner is None else config.channels[:-1]),
            "downscale_factor": config.unshuffle,
            "in_channels": config.in_channels,
            "num_res_blocks": config.blocks,
        }
    }
