"""Network blocks that several models share: ConvNeXt, ResNet, mixer, pooling, upsampling."""
