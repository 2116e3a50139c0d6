"""Config-driven segmentation experiments on volume electron microscopy."""
