"""Networks of tokens: do classifiers and language models fuse, trained apart and from a shared start?

    python benchmarks/language.py [--kinds classifier,language] [--starts apart,shared] [--presets all] [--seeds 0]

Two DistilBERT-like classifiers and two small causal language models are trained on sentences of a small grammar
(benchmarks/_language.py), each parent on a share of its own: the first hardly sees machines, the second hardly animals.
Apart they start from weights of their own; shared, from one network that was trained a little on all, which is the base
of recipes that need one. Calibration: 300 sentences of all topics, of the language models without labels; test: 1,000
others. The parents are kept in benchmarks/results/language. Prints a leaderboard of all presets that apply, a column
for each pair, and writes benchmarks/results/language.json. Some minutes on one core.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

from _running import RESULTS, names, numbers, parser, print_table, write_results

KINDS = {"classifier": "Classifier", "language": "LanguageModel"}
INPUTS = ("input_ids", "attention_mask")
SHARES = ((6.0, 1.0, 2.0), (1.0, 6.0, 2.0))
CALIBRATION, TEST = 300, 1000
REFERENCES = ("best_parent", "mean_parent", "average", "ensemble", "softmax_ensemble")


def dataset(kind: str, sentences: dict[str, Any], name: str) -> Any:
    """As the files of docs/files.md hold it; a language model's sentences have no labels."""
    from fusion_engine.data import make_dataset
    from fusion_engine.data.npz import packed

    labels = sentences["labels"] if kind == "classifier" else None
    x = packed({key: sentences[key] for key in INPUTS}, name)
    return make_dataset(x, labels, None, None, None, name, inputs=INPUTS)


def trained(kind: str) -> dict[str, Any]:
    """States by name: 'base', and 'apart 0' to 'shared 1'; from the files that earlier runs left."""
    import _language as language
    import torch

    path = RESULTS / "language" / f"{kind}.pt"
    if path.exists():
        return dict(torch.load(path))
    print(f"training {kind} parents (once; some minutes)", file=sys.stderr, flush=True)

    def fresh(seed: int) -> Any:
        torch.manual_seed(seed)
        return getattr(language, KINDS[kind])()

    base = language.train(fresh(100), language.sentences(4000, 1), 60, 100)
    states = {"base": base.state_dict()}
    for p, share in enumerate(SHARES):
        data = language.sentences(3000, 10 + p, share)
        states[f"apart {p}"] = language.train(fresh(p), data, 350, p).state_dict()
        states[f"shared {p}"] = language.train(copy.deepcopy(base), data, 200, p, rate=1e-3).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(states, path)
    return states


def board(kind: str, start: str, presets: str, seeds: list[int]) -> dict[str, Any]:
    """The leaderboard of one pair."""
    import _language as language

    from fusion_engine.architectures.custom import custom_config
    from fusion_engine.leaderboard import leaderboard
    from fusion_engine.parents import make_parent

    config, _ = custom_config(f"_language:{KINDS[kind]}", (len(INPUTS), language.LENGTH), INPUTS)
    states = trained(kind)
    parents = [make_parent(f"{kind} {p}", config, states[f"{start} {p}"]) for p in range(len(SHARES))]
    data = dataset(kind, language.sentences(CALIBRATION, 1000), "calibration")
    test = dataset(kind, language.sentences(TEST, 2000), "test")
    return leaderboard(
        parents, data, test, presets if presets == "all" else names(presets), seeds=seeds,
        base=make_parent("base", config, states["base"]) if start == "shared" else None,
        on_row=lambda row: print(".", end="", file=sys.stderr, flush=True),
    )  # fmt: skip


def cells(found: dict[str, Any]) -> dict[str, str]:
    """By recipe and reference its figure: accuracy in %, or perplexity; or that it cannot run."""
    shown = {}
    for entry in found["entries"]:
        score = entry["score"]
        shown[f"`{entry['preset']}`"] = "–" if score is None else figure(entry["metric"], score["mean"])
    metric = next((entry["metric"] for entry in found["entries"] if entry["score"]), "accuracy")
    for reference in found["references"]:
        if reference["name"] in REFERENCES:
            shown[f"({reference['name'].replace('_', ' ')})"] = figure(metric, reference[metric])
    return shown


def figure(metric: str, value: float) -> str:
    return f"{100 * value:.1f}" if metric == "accuracy" else f"{value:.2f}"


def main() -> None:
    import torch

    options = parser(__doc__)
    options.add_argument("--kinds", type=names, default=list(KINDS))
    options.add_argument("--starts", type=names, default=["apart", "shared"])
    options.add_argument("--presets", default="all")
    options.add_argument("--seeds", type=numbers, default=[0])
    chosen = options.parse_args()
    torch.set_num_threads(1)
    boards = {
        f"{kind}, {start}": board(kind, start, chosen.presets, chosen.seeds)
        for kind in chosen.kinds
        for start in chosen.starts
    }
    write_results("language", boards)
    columns = {name: cells(found) for name, found in boards.items()}
    rows = list(dict.fromkeys(row for shown in columns.values() for row in shown))
    print()
    print_table(["recipe", *columns], [[row, *(shown.get(row, "–") for shown in columns.values())] for row in rows])
    for name, found in boards.items():
        for entry in found["entries"]:
            if entry["score"] is None:
                print(f"{name}: {entry['preset']}: {entry['reason']}")


if __name__ == "__main__":
    main()
