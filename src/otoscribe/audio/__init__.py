"""Recordings → mono float32 waveforms."""
