"""What neurons are called."""

import pytest

from fusion_engine.core.errors import FusionError
from fusion_engine.core.neurons import Neuron, read_neuron, read_neurons, written

NAMES = ["parent_0", "parent_1", "2", "a:b"]


def test_what_is_written_is_read_again() -> None:
    for parent in range(len(NAMES)):
        neuron = Neuron(parent, 17)
        assert read_neuron(written(neuron, NAMES), NAMES) == neuron
    assert str(Neuron(1, 4)) == "1:4"


def test_numbers_stand_for_parents_and_names_go_first() -> None:
    assert read_neuron("1:4", NAMES) == Neuron(1, 4)
    assert read_neuron("2:4", ["x", "2", "z"]) == Neuron(1, 4)


def test_lists_and_ranges_name_each_neuron_once() -> None:
    found = read_neurons("parent_0:3-5, 1:0;0:4\n1:1", NAMES, [6, 2, 1, 1])
    assert found == [Neuron(0, 3), Neuron(0, 4), Neuron(0, 5), Neuron(1, 0), Neuron(1, 1)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("17", "write parent:index"),
        ("parent_9:1", "did you mean 'parent_"),
        ("9:1", "no parent '9'"),
        ("0:6", "has neurons 0 to 5"),
        ("0:5-3", "from the smaller"),
        ("0:-1", "write parent:index"),
        ("0:0-999999999", "more than"),
        ("0:٣", "write parent:index"),
        ("x" * 500, "..."),
    ],
)
def test_what_names_no_neuron_is_one_line(text: str, says: str) -> None:
    with pytest.raises(FusionError, match=says) as caught:
        read_neurons([text], NAMES, [6, 6, 6, 6])
    assert "\n" not in str(caught.value)
