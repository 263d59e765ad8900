"""Models of transformers' with a few random weights, in folders as `save_pretrained` writes them."""

import tempfile
from functools import cache

import torch

KINDS = ("wav2vec2", "whisper", "ast", "clap", "clap_fused")
WIDTH = 16


@cache
def tiny_model(kind: str = "wav2vec2") -> str:
    """Return the folder of a model of one kind, made at the first call."""
    import transformers

    folder = tempfile.TemporaryDirectory(prefix=f"tiny-{kind}-")
    _FOLDERS.append(folder)
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    if kind == "wav2vec2":
        config = transformers.Wav2Vec2Config(
            **shape,
            conv_dim=(8, 8),
            conv_kernel=(10, 8),
            conv_stride=(5, 4),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            mask_time_prob=0.0,
        )
        network = transformers.Wav2Vec2Model(config)
        extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000)
    elif kind == "whisper":
        config = transformers.WhisperConfig(
            d_model=WIDTH,
            encoder_layers=1,
            encoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=32,
            num_mel_bins=20,
            max_source_positions=100,
            max_target_positions=8,
            vocab_size=20,
            pad_token_id=1,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=3,
        )
        network = transformers.WhisperModel(config)
        extractor = transformers.WhisperFeatureExtractor(feature_size=20, chunk_length=2)
    elif kind == "ast":
        config = transformers.ASTConfig(**shape, patch_size=8, max_length=208, num_mel_bins=16)
        network = transformers.ASTModel(config)
        extractor = transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=208)
    else:
        fused = kind == "clap_fused"
        audio = transformers.ClapAudioConfig(
            window_size=2,
            num_mel_bins=16,
            spec_size=64,
            patch_size=4,
            patch_stride=(4, 4),
            depths=[1, 1],
            num_attention_heads=[1, 2],
            hidden_size=WIDTH,
            patch_embeds_hidden_size=WIDTH // 2,
            num_hidden_layers=2,
            projection_dim=8,
            enable_fusion=fused,
        )
        text = transformers.ClapTextConfig(**shape, vocab_size=20, max_position_embeddings=8)
        config = transformers.ClapConfig(
            text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=8
        )
        network = transformers.ClapModel(config)
        extractor = transformers.ClapFeatureExtractor(
            feature_size=16, max_length_s=2, truncation="fusion" if fused else "rand_trunc"
        )
    network.save_pretrained(folder.name)
    extractor.save_pretrained(folder.name)
    return folder.name


_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Removed when the program ends."""
