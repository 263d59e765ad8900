"""Pretrained audio encoders, one file each."""
