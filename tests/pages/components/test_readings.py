"""How files are to be read, chosen on Parents: the choices are those that the engine takes."""

import itertools

import pytest
from streamlit.testing.v1 import AppTest

from fusion_engine.architectures import MLPConfig, ResNetConfig, VGGConfig, ViTConfig
from fusion_engine.architectures.settings import configured, split_spec
from pages.components.inputs.readings import SETTINGS


def chooser() -> None:
    import streamlit as st

    from pages.components.inputs.readings import reading_choice

    st.text(f"arch={reading_choice()}")


def spec(app: AppTest) -> str:
    return app.text[0].value.removeprefix("arch=")


def test_choices_make_a_spec() -> None:
    app = AppTest.from_function(chooser, default_timeout=60).run()
    assert spec(app) == ""
    app.selectbox(key="parents-network").set_value("vgg").run()
    assert spec(app) == "vgg"
    app.selectbox(key="parents-vgg-pooling").set_value("avg").run()
    app.selectbox(key="parents-vgg-activation").set_value("tanh").run()
    assert spec(app) == "vgg:activation=tanh,pooling=avg"
    app.selectbox(key="parents-network").set_value("typed").run()
    app.text_input(key="parents-arch").set_value(" timm:vit_tiny_patch16_224 ").run()
    assert spec(app) == "timm:vit_tiny_patch16_224"
    assert not app.exception


CONFIGS = {
    "mlp": MLPConfig((4, 3)), "vgg": VGGConfig((3, 8, 8), (4, "M"), (5,)),
    "resnet": ResNetConfig((3, 32, 32), 4, (4,), ((4,),), 10),
    "vit": ViTConfig((3, 8, 8), 4, 48, 4, (48,), (48,), 10),
}


@pytest.mark.parametrize("network", SETTINGS)
def test_every_choice_is_one_of_the_engines(network: str) -> None:
    for setting, (_, values) in SETTINGS[network].items():
        made = []
        for value in values:
            name, settings = split_spec(f"{network}:{setting}={value}")
            assert name == network
            made.append(configured(CONFIGS[network], settings))
        assert all(a != b for a, b in itertools.combinations(made, 2)), "each is another reading"
