"""Layers of binary networks."""

from ebcore.layers.binary_conv import BinaryConv2d
from ebcore.layers.channel_shuffle import ChannelShuffle
from ebcore.layers.gate import Gate
from ebcore.layers.repeat_channels import RepeatChannels
from ebcore.layers.se import SqueezeExcite
from ebcore.layers.shifted_prelu import ShiftedPReLU
from ebcore.layers.two_slope_prelu import TwoSlopePReLU
from ebcore.layers.unit import ConvUnit

__all__ = [
    "BinaryConv2d",
    "ChannelShuffle",
    "ConvUnit",
    "Gate",
    "RepeatChannels",
    "ShiftedPReLU",
    "SqueezeExcite",
    "TwoSlopePReLU",
]
