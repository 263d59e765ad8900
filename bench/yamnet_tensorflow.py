"""YAMNet in TensorFlow: features and network as Google's code has them, with the weights that ours has.

Source: https://github.com/tensorflow/models/tree/master/research/audioset/yamnet.
Batch normalisation is folded into the convolutions, as TensorFlow's own optimiser does with a fixed network.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otoscribe.model.encoders.yamnet import FRONT_END, STRIDES, Yamnet

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

HOP = 48
"""Frames from one patch to the next: half a patch."""


class TensorflowYamnet(tf.Module):  # type: ignore[misc]
    """Waveform [samples] → embeddings [patches, 1024] and scores [patches, 521].

    Args:
        encoder: whose weights to use.
    """

    def __init__(self, encoder: Yamnet) -> None:
        super().__init__()
        trunk = encoder.trunk
        self.first = _kernel(trunk.first.convolution, (2, 3, 1, 0))
        self.depthwise = [_kernel(layer.convolution, (2, 3, 0, 1)) for layer in trunk.depthwise]
        self.pointwise = [_kernel(layer, (2, 3, 1, 0)) for layer in trunk.pointwise]
        self.classifier = _kernel(encoder.classifier, (1, 0))
        self.mel = tf.signal.linear_to_mel_weight_matrix(
            FRONT_END.mel_bands,
            FRONT_END.fft_length // 2 + 1,
            FRONT_END.sample_rate,
            FRONT_END.minimum_hz,
            FRONT_END.maximum_hz,
        )

    def whole(self, waveform: Any) -> tuple[Any, Any]:
        """Encode a recording of any length, all patches in one batch."""
        transformed = tf.signal.stft(
            waveform, FRONT_END.window_length, FRONT_END.hop_length, FRONT_END.fft_length
        )
        mel = tf.math.log(tf.matmul(tf.abs(transformed), self.mel) + FRONT_END.log_offset)
        return self._network(tf.signal.frame(mel, FRONT_END.patch_frames, HOP, axis=0))

    def patch(self, waveform: Any) -> tuple[Any, Any]:
        """Encode the 15,600 samples of one patch; by no FFT, as Google's code for TensorFlow Lite."""
        window, length = FRONT_END.window_length, FRONT_END.fft_length
        frames = tf.signal.frame(waveform, window, FRONT_END.hop_length)
        angles = 2 * np.pi * np.outer(np.arange(window), np.arange(length // 2 + 1)) / length
        hann = tf.signal.hann_window(window)[:, None]
        cosine = tf.matmul(frames, hann * np.cos(angles).astype(np.float32))
        sine = tf.matmul(frames, hann * np.sin(angles).astype(np.float32))
        magnitude = tf.sqrt(cosine * cosine + sine * sine)
        mel = tf.math.log(tf.matmul(magnitude, self.mel) + FRONT_END.log_offset)
        return self._network(mel[None])

    def _network(self, patches: Any) -> tuple[Any, Any]:
        kernel, bias = self.first
        x = tf.nn.relu(tf.nn.conv2d(patches[..., None], kernel, 2, "SAME") + bias)
        for stride, depthwise, pointwise in zip(STRIDES, self.depthwise, self.pointwise, strict=True):
            steps = [1, stride, stride, 1]
            x = tf.nn.relu(tf.nn.depthwise_conv2d(x, depthwise[0], steps, "SAME") + depthwise[1])
            x = tf.nn.relu(tf.nn.conv2d(x, pointwise[0], 1, "SAME") + pointwise[1])
        embeddings = tf.reduce_mean(x, axis=[1, 2])
        kernel, bias = self.classifier
        return embeddings, tf.nn.sigmoid(tf.matmul(embeddings, kernel) + bias)


def limit(threads: int) -> None:
    """Let TensorFlow use so many threads; before anything else of it is used."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def function(network: TensorflowYamnet) -> Any:
    """Return `whole`, compiled for any length."""
    return tf.function(network.whole, input_signature=[tf.TensorSpec([None], tf.float32)])


def lite(network: TensorflowYamnet, samples: int) -> bytes:
    """Return `patch` as a TensorFlow Lite file in 32 bits."""
    compiled = tf.function(network.patch, input_signature=[tf.TensorSpec([samples], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([compiled.get_concrete_function()], network)
    converted: bytes = converter.convert()
    return converted


def _kernel(layer: Any, order: tuple[int, ...]) -> tuple[Any, Any]:
    """Return a layer's weights in TensorFlow's order, and its bias."""
    kernel: NDArray[np.float32] = layer.weight.numpy().transpose(order)
    return tf.constant(kernel), tf.constant(layer.bias.numpy())
