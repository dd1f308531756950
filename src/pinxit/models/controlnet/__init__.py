"""ControlNets: copies of a U-Net's way down that follow a picture."""
