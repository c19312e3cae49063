"""Networks in plain PyTorch: backbones, adapters and the fusion network."""
