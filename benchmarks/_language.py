"""Sentences of a small grammar, and small networks of tokens as Hugging Face builds them: a DistilBERT-like classifier
and a causal language model. PyTorch alone; the benchmark and the tests of tokens share them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LENGTH = 18
_TOPICS = {
    "animal": ("cat", "dog", "horse", "bird", "fish", "wolf", "fox", "bear"),
    "machine": ("engine", "pump", "crane", "motor", "robot", "press", "drill", "lathe"),
    "plant": ("tree", "rose", "fern", "moss", "oak", "vine", "grass", "palm"),
}
_GOOD = ("fine", "strong", "lovely", "bright", "quick", "sound", "healthy", "calm")
_BAD = ("weak", "slow", "broken", "ill", "dull", "rotten", "noisy", "dirty")
_VERBS = {
    "animal": ("runs", "sleeps", "hunts", "eats"),
    "machine": ("turns", "stops", "works", "hums"),
    "plant": ("grows", "blooms", "wilts", "bends"),
}
_PLACES = ("here", "there", "today", "again", "often", "never")
_PAD, _CLS, _END = "[pad]", "[cls]", "[end]"
WORDS = (
    _PAD, _CLS, _END, "the", "a", "is", "not", "and", "but", "very", ".",
    *(w for words in _TOPICS.values() for w in words), *_GOOD, *_BAD, *(w for words in _VERBS.values() for w in words),
    *_PLACES,
)  # fmt: skip
NUMBER = {word: number for number, word in enumerate(WORDS)}
CLASSES = tuple(f"{feeling} {topic}" for topic in _TOPICS for feeling in ("good", "bad"))


def sentences(count: int, seed: int, topics: tuple[float, ...] = (1.0, 1.0, 1.0)) -> dict[str, np.ndarray]:
    """input_ids and attention_mask (count, LENGTH), labels (count,): which topic, and what is said of it, for good or
    bad.

    "the very dull cat is not ill and sleeps there .": 'not' turns an adjective round; the sentence is good if more of
    its adjectives are. topics: how often each is the subject, relative to the others.
    """
    random = np.random.default_rng(seed)
    share = np.asarray(topics, dtype=np.float64) / sum(topics)
    ids = np.zeros((count, LENGTH), dtype=np.int64)
    mask, labels = np.zeros_like(ids), np.zeros(count, dtype=np.int64)
    for row in range(count):
        topic = int(random.choice(len(_TOPICS), p=share))
        words, merit = _sentence(random, list(_TOPICS)[topic])
        numbers = [NUMBER[word] for word in (_CLS, *words, _END)]
        ids[row, : len(numbers)], mask[row, : len(numbers)] = numbers, 1
        labels[row] = 2 * topic + (merit < 0)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _sentence(random: np.random.Generator, topic: str) -> tuple[list[str], int]:
    """Words, and for how much good they speak: odd, so that one side wins."""

    def one(words: tuple[str, ...]) -> str:
        return words[int(random.integers(len(words)))]

    def adjective() -> tuple[list[str], int]:
        good = bool(random.integers(2))
        word = one(_GOOD if good else _BAD)
        form = int(random.integers(4))
        words = ["not", word] if form == 0 else ["very", word] if form == 1 else [word]
        return words, (1 if good else -1) * (-1 if form == 0 else 1)

    first, second, third = adjective(), adjective(), adjective()
    words = [one(("the", "a")), one(_TOPICS[topic]), "is", *first[0]]
    merit = first[1]
    if random.integers(2):
        words += [one(("and", "but")), *second[0], "and", *third[0]]
        merit += second[1] + third[1]
    words += ["and", one(_VERBS[topic])]
    if random.integers(2):
        words.append(one(_PLACES))
    return [*words, "."], merit


@dataclass
class Output:
    """As Hugging Face returns it."""

    logits: Tensor
    hidden: Tensor


class Attention(nn.Module):
    """Multi-head attention with separate projections. mask: (n, 1, t or 1, t) booleans of what may be seen, or None."""

    def __init__(self, width: int, heads: int, names: tuple[str, str, str, str], causal: bool) -> None:
        super().__init__()
        self.heads, self.names, self.causal = heads, names, causal
        for name in names:
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        n, t, width = x.shape
        size = (n, t, self.heads, width // self.heads)
        q, k, v = (getattr(self, name)(x).view(size).transpose(1, 2) for name in self.names[:3])
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal and mask is None)
        return getattr(self, self.names[3])(y.transpose(1, 2).reshape(n, t, width))


class ClassifierBlock(nn.Module):
    """DistilBERT's: norms after the residual sums."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads, ("q_lin", "k_lin", "v_lin", "out_lin"), causal=False)
        self.sa_layer_norm, self.output_layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.sa_layer_norm(x + self.attention(x, mask))
        return self.output_layer_norm(x + self.ffn(x))


class Classifier(nn.Module):
    """DistilBERT for sequence classification, small: embeddings with a norm, post-norm blocks, the first token's state
    through a layer with ReLU. Returns an `Output`."""

    def __init__(self, width: int = 48, heads: int = 4, blocks: int = 2, classes: int = len(CLASSES)) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(len(WORDS), width, padding_idx=0)
        self.position_embeddings = nn.Embedding(LENGTH, width)
        self.norm = nn.LayerNorm(width)
        self.layer = nn.ModuleList(ClassifierBlock(width, heads, 2 * width) for _ in range(blocks))
        self.pre_classifier, self.classifier = nn.Linear(width, width), nn.Linear(width, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Output:
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.word_embeddings(input_ids) + self.position_embeddings(positions))
        mask = attention_mask.bool()[:, None, None, :]
        for block in self.layer:
            x = block(x, mask)
        return Output(self.classifier(F.relu(self.pre_classifier(x[:, 0]))), x)


class LanguageBlock(nn.Module):
    """GPT-2's: norms before the branches."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, ("q", "k", "v", "c_proj"), causal=True)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class LanguageModel(nn.Module):
    """A causal language model as GPT-2 is, small: pre-norm blocks, the head tied to the embedding. Returns a dict."""

    def __init__(self, width: int = 48, heads: int = 4, blocks: int = 2) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(len(WORDS), width), nn.Embedding(LENGTH, width)
        self.h = nn.ModuleList(LanguageBlock(width, heads, 2 * width) for _ in range(blocks))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, len(WORDS), bias=False)
        self.lm_head.weight = self.wte.weight
        for embedding in (self.wte, self.wpe):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
        t = input_ids.shape[1]
        x = self.wte(input_ids) + self.wpe(torch.arange(t, device=input_ids.device))
        causal = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        mask = causal & attention_mask.bool()[:, None, None, :]
        for block in self.h:
            x = block(x, mask)
        return {"logits": self.lm_head(self.ln_f(x)), "hidden": x}


def train(model: nn.Module, data: dict[str, np.ndarray], steps: int, seed: int, rate: float = 3e-3) -> nn.Module:
    """Adam with a one-cycle rate on batches of 64; classifiers learn the labels, language models the next token."""
    torch.manual_seed(seed)
    ids, mask, labels = (torch.from_numpy(data[name]) for name in ("input_ids", "attention_mask", "labels"))
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps)
    model.train()
    for _ in range(steps):
        rows = torch.randint(len(ids), (64,))
        output = model(ids[rows], mask[rows])
        if isinstance(model, LanguageModel):
            wanted = ids[rows, 1:].masked_fill(mask[rows, 1:] == 0, -100)
            loss = F.cross_entropy(output["logits"][:, :-1].flatten(0, 1), wanted.flatten(), ignore_index=-100)
        else:
            loss = F.cross_entropy(output.logits, labels[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


def entropy_of_chance() -> float:
    """Loss of guessing words evenly, in nats."""
    return math.log(len(WORDS))
