"""How files are to be read whose weights do not tell: the network, and its settings by choice or typed."""

from typing import Final

import streamlit as st

TYPED: Final = "typed"
_NETWORKS: Final = {
    "": "As the files say, else recognised", "mlp": "MLP", "vgg": "VGG", "resnet": "ResNet",
    "vit": "Vision transformer", TYPED: "Of a library, or typed",
}
_ACTIVATIONS: Final = {
    "relu": "ReLU", "gelu": "GELU", "silu": "SiLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "elu": "ELU",
    "leaky_relu": "Leaky ReLU",
}
SETTINGS: Final[dict[str, dict[str, tuple[str, dict[str, str]]]]] = {
    "mlp": {"activation": ("Activation", _ACTIVATIONS)},
    "vgg": {
        "activation": ("Activation", _ACTIVATIONS),
        "pooling": ("Pooling", {"max": "Max pooling", "avg": "Average pooling", "stride": "Strides of convolutions"}),
    },
    "resnet": {
        "activation": ("Activation", _ACTIVATIONS),
        "stem_stride": ("Stride of the first layer", {"1": "1", "2": "2", "4": "4"}),
        "stem_pool": ("Pooling behind it", {"none": "None", "max": "Max pooling"}),
    },
    "vit": {
        "activation": ("Activation", _ACTIVATIONS),
        "heads": ("Heads", {str(heads): str(heads) for heads in (1, 2, 3, 4, 6, 8, 12, 16)}),
        "norm": ("Norms", {"pre": "Before attention and MLP", "post": "Behind them"}),
        "pool": ("The head reads", {"token": "The class token", "mean": "The mean of all tokens"}),
    },
}
"""By built-in network: setting -> its title, and value -> title."""
_RECOGNISED: Final = "As recognised"


def reading_choice() -> str:
    """Widgets for the network and its settings; what they say, as `--arch` takes it ('' for what the files say)."""
    network = st.selectbox(
        "Architecture", list(_NETWORKS), format_func=_NETWORKS.__getitem__, key="parents-network",
        help="Weights do not tell activations, poolings, heads or the order of norms. Files that hold their network, "
        "and labelled samples, settle them; where you know them, say so here.",
    )
    if network == TYPED:
        typed: str = st.text_input(
            "Name, or network with settings", placeholder="torchvision:resnet50", key="parents-arch", max_chars=300,
            help="A name of a library, torchvision:resnet50 or timm:vit_tiny_patch16_224; hf for the config.json in "
            "each zip; or what is built in, with settings (vit:heads=4,norm=post). Settings follow a name: "
            "torchvision:resnet50:num_classes=10,input=3x64x64. Without input= samples are as in the data chosen "
            "beside. A registry's names run no code of yours; your own modules are for the command line.",
        )
        return typed.strip()
    offered = SETTINGS.get(network, {})
    chosen = {}
    for column, (name, (title, values)) in zip(st.columns(2) * 2, offered.items(), strict=False):
        value = column.selectbox(
            title, ["", *values], format_func=lambda v, of=values: of.get(v, _RECOGNISED),
            key=f"parents-{network}-{name}",
        )  # fmt: skip
        if value:
            chosen[name] = value
    return network + (":" if chosen else "") + ",".join(f"{name}={value}" for name, value in chosen.items())
