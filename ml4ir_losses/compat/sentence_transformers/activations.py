"""Torch's activation modules that have the same values as an activation of Keras."""

_NAMES = ("Sigmoid", "Tanh", "ReLU", "ReLU6", "Softplus", "GELU", "SiLU", "ELU", "SELU", "CELU", "Mish", "Softsign")
ACTIVATIONS = {name: name.lower() for name in _NAMES}
