"""Recurrent networks: the hidden units are pinned. They run, but their neurons cannot be grouped."""

from ..labels.algebra import Labels
from .registry import Call, label_rule


@label_rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> Labels | list[Labels | None]:
    for labels in call.tensors():
        call.algebra.freeze(labels, call.tag)
    return call.results([])
