"""What every kind of fusion gives, as digests: to see whether two checkouts give the same to the bit.

    python tests/digests.py [--out before.json] [--data ../shared/data] [--only TEXT]
    python tests/digests.py --compare before.json after.json [--all]

Run it from a checkout's root with PYTHONPATH set to that root, so that the checkout's engine is the one measured. It
fuses the test zoo's models, every built-in architecture, trained digit classifiers and, where they are, the MNIST
parents of --data: by all presets, by every grouping with solver average, by groupings of each kind with least squares,
by every importance, solver and refining step, to other widths, of different widths, without labels, and of three
parents. A digest is the sha256 of names, types, shapes and bytes: of the fused state, the groupings, the importances,
the report (without times, memory and versions) and the network's outputs. Analyses, a leaderboard, trained parents and
the catalogue of methods come with them. --compare prints what differs, and exits with 1 where anything does or is
missing in the second file; what only the second one has is listed as new.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from fusion_engine import Recipe, fuse, load_data, load_parents, recipes
from fusion_engine.architectures import MLPConfig, ResNetConfig, VGGConfig, ViTConfig, build
from fusion_engine.core.errors import FusionError
from fusion_engine.core.registry import catalogue
from fusion_engine.data import Dataset
from fusion_engine.parents import Metadata, Parent, make_parent
from fusion_engine.stats import StatisticsCache

SAMPLES = 32
# Not a property of the result: how long it took, on what, and what was at hand already.
PASSING = ("seconds", "spent", "cost", "memory", "versions", "shared", "ended", "started", "path")
# Values that shorten what trains; only given to methods that have such a parameter.
SHORT = {"steps": 4, "epochs": 2, "batch": 16}
GROUPINGS_OF_EACH_KIND = ("hungarian", "balanced", "optimal_transport", "cca", "zipit", "partial_permutation")
LIKE_CHOICES = 1  # extra variants of a parameter are tried on this many architectures
Case = tuple[str, Callable[[], Mapping[str, str]]]

CONFIGS: dict[str, Any] = {
    "mlp": MLPConfig((12, 16, 10, 4)),
    "mlp_tanh": MLPConfig((12, 10, 4), activation="tanh", bias=False),
    "vgg": VGGConfig((3, 8, 8), (6, "M", 8, "M"), (10, 4)),
    "vgg_bn": VGGConfig((3, 8, 8), (6, "M", 8, "M"), (4,), batch_norm=True, conv_bias=False),
    "resnet_bn": ResNetConfig((3, 8, 8), 4, (4, 8), ((4,), (8,)), 4),
    "resnet_gn": ResNetConfig((3, 8, 8), 4, (4, 8), ((6,), (8,)), 4, norm="group", groups=2),
    "resnet_plain": ResNetConfig((3, 8, 8), 4, (4, 8), ((4,), (8,)), 4, stem="imagenet", norm="none", conv_bias=True),
    "vit": ViTConfig((3, 8, 8), 4, 8, 2, (12, 10), (8, 8), 4),
    "vit_qkv": ViTConfig(
        (3, 8, 8), 4, 8, 2, (12,), (8,), 4, attention="qkv", class_token=False, pool="mean", norm_first=False
    ),
}


# ---- digests


def digest(value: Any) -> str:
    """Short sha256 of anything a fusion gives; floats and arrays by their bytes, mappings whatever their order."""
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()[:20]


def _feed(sha: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        sha.update(f"array {value.dtype} {value.shape};".encode())
        sha.update(str(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Mapping):
        sha.update(b"{")
        for key in sorted(value, key=str):
            if not any(word in str(key) for word in PASSING):
                sha.update(f"{key}:".encode())
                _feed(sha, value[key])
        sha.update(b"}")
    elif isinstance(value, list | tuple):
        sha.update(b"[")
        for item in value:
            _feed(sha, item)
        sha.update(b"]")
    elif isinstance(value, frozenset | set):
        _feed(sha, sorted(value, key=str))
    elif isinstance(value, float | np.floating):
        sha.update(float(value).hex().encode() + b";")
    elif isinstance(value, int | np.integer | str | bool | np.bool_ | None):
        sha.update(f"{value!s};".encode())
    elif dataclasses.is_dataclass(value):
        _feed(sha, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif isinstance(value, torch.device | torch.dtype | torch.Size | Path):
        sha.update(str(value).encode())
    else:
        raise TypeError(f"no digest of a {type(value).__name__}")


def of_result(result: Any, x: Tensor) -> dict[str, str]:
    """Digests of everything a FusionResult holds, and of its model's outputs on `x`."""
    with torch.inference_mode():
        outputs = result.model(x)
    parts = {
        "state": dict(result.state),
        "order of tensors": list(result.state),
        "outputs": outputs,
        "merge": {name: list(g.merge) for name, g in result.groupings.items()},
        "unmerge": {name: list(g.unmerge) for name, g in result.groupings.items()},
        "labels": {name: g.labels and list(g.labels) for name, g in result.groupings.items()},
        "groupings": [(name, g.space, g.method) for name, g in result.groupings.items()],
        "info": {name: dict(g.info) for name, g in result.groupings.items()},
        "importance": {name: list(scores) for name, scores in result.importance.items()},
        "recipe": result.recipe.to_mapping(),
    }
    report = {f"report.{key}": part for key, part in result.report.items() if not any(w in key for w in PASSING)}
    return {name: digest(part) for name, part in {**parts, **report}.items()}


def fused(make: Callable[[], Any], x: Tensor) -> dict[str, str]:
    """Digests of a fusion; where it is refused the line that says why, where it fails the error's type."""
    try:
        return of_result(make(), x)
    except FusionError as refusal:
        return {"refused": f"{type(refusal).__name__}: {refusal}"}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}


# ---- parents


def _randomise(state: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Weights of the usual size, norms and biases away from 0 and 1, so that differences show."""
    random = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            random[name] = tensor
        elif name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
            random[name] = torch.rand(tensor.shape, generator=generator) + 0.5
        else:
            scale = (2 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.3
            random[name] = torch.randn(tensor.shape, generator=generator) * scale
    return random


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built_parents(config: Any, count: int = 3) -> list[Parent]:
    """Parents of a built-in architecture with random weights."""
    state = build(config).state_dict()
    counts = [[1 + (seed + label) % 3 for label in range(config.classes)] for seed in range(count)]
    return [
        make_parent(f"parent_{seed}", config, _randomise(state, _seeded(seed)), Metadata(class_counts=counts[seed]))
        for seed in range(count)
    ]


class OneInput(nn.Module):
    """A model of several vectors as one of a single vector: data sets hold one tensor a sample."""

    def __init__(self, model: nn.Module, sizes: Sequence[int]) -> None:
        super().__init__()
        self.model, self.sizes = model, list(sizes)

    def forward(self, x: Tensor) -> Any:
        return self.model(*x.split(self.sizes, 1))


def zoo_parents(name: str, count: int = 3) -> tuple[list[Parent], Dataset]:
    """Parents of a model of the tests' zoo, through an architecture of the user's own, and samples like its inputs."""
    from fusion_engine.architectures import CustomConfig
    from tests.zoo import build as build_zoo

    def model(seed: int = 0) -> nn.Module:
        network, inputs = build_zoo(name, seed)
        return network if len(inputs) == 1 else OneInput(network, [x.shape[1] for x in inputs]).eval()

    module = sys.modules.setdefault("digests_of_zoo", types.ModuleType("digests_of_zoo"))
    setattr(module, name, model)
    inputs = torch.cat(build_zoo(name)[1], 1)
    shape = (SAMPLES, *inputs.shape[1:])
    x = torch.randn(shape, generator=_seeded(100))
    if not inputs.is_floating_point():
        x = torch.randint(int(inputs.max()) + 1, shape, generator=_seeded(100))
    with torch.inference_mode():
        outputs = model()(x[:2])
    classes = (outputs if isinstance(outputs, Tensor) else outputs[0]).shape[1]
    config = CustomConfig(f"digests_of_zoo:{name}", tuple(shape[1:]), classes)
    parents = [
        make_parent(f"parent_{seed}", config, model(seed).state_dict(), Metadata(class_counts=[seed + 1] * classes))
        for seed in range(count)
    ]
    return parents, Dataset(x=x, y=torch.arange(SAMPLES) % classes, classes=classes)


def images(config: Any) -> Dataset:
    """Random samples for a built-in architecture."""
    x = torch.randn((SAMPLES, *config.input_shape), generator=_seeded(100))
    return Dataset(x=x, y=torch.arange(SAMPLES) % config.classes, classes=config.classes)


# ---- recipes


def _parameters(kind: str, name: str) -> list[dict[str, Any]]:
    return next(method["parameters"] for method in catalogue()[kind] if method["name"] == name)


def step(kind: str, name: str, **settings: Any) -> dict[str, Any]:
    """A method as a step of a recipe, shortened where it trains."""
    names = {parameter["name"] for parameter in _parameters(kind, name)}
    return {"method": name, **{k: v for k, v in {**SHORT, **settings}.items() if k in names}}


def short(recipe: Recipe) -> Recipe:
    """A preset's recipe with few steps of training."""
    settings = {}
    for where, kind, chosen in [
        ("importance", "importance", recipe.importance), ("solver", "solver", recipe.solver),
        *((f"post.{i}", "post", chosen) for i, chosen in enumerate(recipe.post)),
    ]:  # fmt: skip
        names = {parameter["name"] for parameter in _parameters(kind, chosen.method)}
        settings |= {f"{where}.{k}": v for k, v in SHORT.items() if k in names}
    return recipe.set(settings)


def variants(kind: str, name: str) -> Iterator[dict[str, Any]]:
    """The method as it is, then with every other choice of every parameter of choices, words or two values."""
    yield step(kind, name)
    for parameter in _parameters(kind, name):
        values: list[Any] = [*(parameter["choices"] or ()), *(parameter["words"] or ())]
        if parameter["type"] == "bool":
            values = [False, True]
        for value in values:
            if value != parameter["default"]:
                yield step(kind, name, **{parameter["name"]: value})


def method_recipes(every_variant: bool, **settings: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Recipes that try every method of every kind, the rest being plain and quick. settings: for those that have such
    parameters."""
    plain = {"importance": "activation", "grouping": "kmeans", "solver": "average"}
    methods = {kind: [m["name"] for m in entries] for kind, entries in catalogue().items()}
    chosen = {kind: [step(kind, n, **settings) for n in names] for kind, names in methods.items()}
    if every_variant:
        chosen = {kind: [v for n in names for v in variants(kind, n)] for kind, names in methods.items()}
    for importance in chosen["importance"]:
        yield f"importance {_label(importance)}", {**plain, "importance": importance}
    for grouping in chosen["grouping"]:
        yield f"grouping {_label(grouping)}", {**plain, "grouping": grouping}
        if every_variant or grouping["method"] in GROUPINGS_OF_EACH_KIND:
            yield f"least squares {_label(grouping)}", {**plain, "grouping": grouping, "solver": "least_squares"}
    accepts = {m["name"]: m["accepts"] for m in catalogue()["solver"]}
    for solver in chosen["solver"]:
        grouping = "kmeans" if accepts[solver["method"]] is None else accepts[solver["method"]][0]
        yield f"solver {_label(solver)}", {**plain, "grouping": grouping, "solver": solver}
    for post in chosen["post"]:
        yield f"post {_label(post)}", {**plain, "grouping": "permutation", "post": [post]}


def _label(chosen: Mapping[str, Any]) -> str:
    settings = [f"{k}={v}" for k, v in chosen.items() if k != "method" and SHORT.get(k) != v]
    return " ".join([str(chosen["method"]), *settings])


# ---- cases


def network_cases(name: str, parents: Sequence[Parent], data: Dataset, *, presets: bool, thorough: bool) -> list[Case]:
    """Fusions of two parents of one architecture, and some of three."""
    cache, base, two = StatisticsCache(), parents[0], parents[:2]
    x = data.normalised()

    def case(what: str, recipe: Any, sources: Sequence[Parent] = two, data: Dataset = data, **more: Any) -> Case:
        settings = {"base": base, "cache": cache, **more}
        return f"{name}: {what}", lambda: fused(lambda: fuse(sources, data, recipe, **settings), x)

    # A custom architecture comes in one width: there all neurons of two parents are merged.
    settings = {} if name.startswith("built") else {"ratio": 1.0}
    cases = [case(what, recipe) for what, recipe in method_recipes(thorough, **settings)]
    cases += [case(f"preset {key}", short(recipes()[key].recipe)) for key in recipes() if presets]
    linear = {"importance": "activation", "grouping": "kmeans", "solver": step("solver", "least_squares")}
    cases.append(case("three parents", {**linear, "grouping": "kmeans"}, parents[:3]))
    if thorough:
        three = [m["name"] for m in catalogue()["grouping"] if m["max_parents"] is None]
        plain = {**linear, "solver": "average"}
        cases += [case(f"three parents, {g}", {**plain, "grouping": g}, parents[:3]) for g in three]
        cases += [case(f"width {width}", {**linear, "width": width}) for width in (0.5, 1.5)]
        cases.append(case("seed 5", {**linear, "grouping": step("grouping", "spectral")}, seed=5))
        cases.append(case("grouping auto, tries auto", {**linear, "grouping": step("grouping", "auto")}))
        cases.append(case("tries auto", {**linear, "grouping": {"method": "kmeans", "tries": "auto"}}))
        unlabelled = dataclasses.replace(data, y=None)
        for importance in ("activation", "conductance"):
            weights = step("importance", importance, n_steps=2)
            cases.append(case(f"unlabelled, {importance}", {**linear, "importance": weights}, data=unlabelled))
        solver = {"method": "gradient", "epochs": "auto", "rate": "auto", "patience": 1}
        trained = {"method": "full_distillation", "steps": "auto", "rate": "auto", "patience": 1}
        cases.append(case("gradient, held out", {**linear, "solver": solver}))
        cases.append(case("distilled, held out", {**linear, "post": [trained]}))
        cases.append(case("with a test set", linear, test=data, cache=None))
    return cases


def width_cases() -> list[Case]:
    """Parents of different widths."""
    found = []
    for name, configs in {
        "mlp": (MLPConfig((12, 16, 10, 4)), MLPConfig((12, 14, 12, 4))),
        "vgg_bn": (
            VGGConfig((3, 8, 8), (6, "M", 8, "M"), (4,), True, False),
            VGGConfig((3, 8, 8), (8, "M", 6, "M"), (4,), True, False),
        ),
    }.items():
        parents = [built_parents(config, 2)[i] for i, config in enumerate(configs)]
        data, cache = images(configs[0]), StatisticsCache()
        for what, recipe in method_recipes(False):
            found.append(_width_case(f"{name} of two widths: {what}", parents, data, recipe, cache))
    return found


def _width_case(what: str, parents: Sequence[Parent], data: Dataset, recipe: Any, cache: Any) -> Case:
    return what, lambda: fused(lambda: fuse(parents, data, recipe, cache=cache), data.normalised())


def trained_cases() -> list[Case]:
    """Trained digit classifiers: the trainer, presets, analyses and a leaderboard."""
    from fusion_engine.analysis import analyse
    from fusion_engine.demo import load_demo
    from fusion_engine.leaderboard import leaderboard
    from fusion_engine.training import train_parents

    data = load_data("digits:train").subset(list(range(0, 400, 4)))
    test = load_data("digits:test").subset(list(range(200)))
    demo, cache = load_demo("mlp"), StatisticsCache()

    def trained(architecture: str, **more: Any) -> dict[str, str]:
        found = train_parents(architecture, data, parents=2, epochs=1, **more)
        return {p.name: digest({"state": dict(p.state), "metadata": p.metadata.as_json()}) for p in found}

    def analysed() -> dict[str, str]:
        result = fuse(demo[:2], data, "kf_linear", cache=cache)
        report = analyse(demo[:2], data, fused=result, points=5)
        return {name: digest(part) for name, part in report.items() if name != "seconds"}

    def board() -> dict[str, str]:
        names = ["kf_linear", "git_rebasin_activations_repair", "average", "ties"]
        table = leaderboard(demo[:2], data, test, names, seeds=(0, 1), base=demo[0])
        entries = sorted(table["entries"], key=lambda entry: entry["label"])  # by accuracy, then by time
        kept = [{k: v for k, v in entry.items() if k != "pareto"} for entry in entries]
        rows = sorted(table["rows"], key=lambda row: row["key"])
        return {"entries": digest(kept), "rows": digest(rows), "references": digest(table["references"])}

    def preset(key: str, parents: Sequence[Parent]) -> Case:
        make = lambda: fuse(parents, data, short(recipes()[key].recipe), test=test, cache=cache, base=parents[0])  # noqa: E731
        return f"digits, {len(parents)} parents: preset {key}", lambda: fused(make, data.normalised())

    cases: list[Case] = [preset(key, demo[:count]) for key in recipes() for count in (2, 4)]
    cases += [
        ("trained: mlp", lambda: trained("mlp")),
        ("trained: resnet20, sgd, same start", lambda: trained("resnet20", optimiser="sgd", same_init=True, width=0.5)),
        ("trained: vit, full", lambda: trained("vit", regime="full", width=0.5)),
        ("trained: mlp from a base", lambda: trained("mlp", base=demo[0])),
        ("digits: analyses", analysed),
        ("digits: leaderboard", board),
    ]
    return cases


def mnist_cases(folder: Path) -> list[Case]:
    """All presets on the MNIST parents; none where they are absent."""
    files = sorted((folder / "mnist-mlp-noniid2").glob("parent_*.safetensors"))
    if not files:
        print(f"no MNIST parents in {folder}: skipped", file=sys.stderr)
        return []
    parents, data = load_parents(files), load_data(folder / "mnist-calibration-400.npz")
    test, cache = load_data(folder / "mnist-test-9600.npz").subset(list(range(500))), StatisticsCache()

    def preset(key: str) -> Case:
        make = lambda: fuse(parents, data, short(recipes()[key].recipe), test=test, cache=cache, base=parents[0])  # noqa: E731
        return f"mnist: preset {key}", lambda: fused(make, test.normalised())

    return [preset(key) for key in recipes()]


def catalogue_cases() -> list[Case]:
    """Every field of every method, and the order of the methods."""
    methods = catalogue()

    def of(kind: str) -> dict[str, str]:
        fields = {(m["name"], field): value for m in methods[kind] for field, value in m.items()}
        return {f"{name}.{field}": digest(json.loads(json.dumps(value))) for (name, field), value in fields.items()}

    cases: list[Case] = [(f"catalogue: {kind}", lambda kind=kind: of(kind)) for kind in methods]  # type: ignore[misc]
    order = {kind: " ".join(m["name"] for m in entries) for kind, entries in methods.items()}
    return [*cases, ("catalogue: order", lambda: order), ("catalogue: presets", lambda: _presets())]


def _presets() -> dict[str, str]:
    return {name: digest(preset.as_json()) for name, preset in recipes().items()}


def all_cases(folder: Path) -> Iterator[Case]:
    """Everything, by architecture, so that one's parents can go before the next one's come."""
    from tests.zoo import zoo_names

    yield from catalogue_cases()
    for number, (name, config) in enumerate(CONFIGS.items()):
        parents, data = built_parents(config), images(config)
        yield from network_cases(f"built {name}", parents, data, presets=True, thorough=number < LIKE_CHOICES)
    yield from width_cases()
    yield from trained_cases()
    yield from mnist_cases(folder)
    for name in zoo_names():
        try:
            parents, data = zoo_parents(name)
        except (FusionError, ImportError, TypeError) as problem:
            yield f"zoo {name}: parents", lambda problem=problem: {"skipped": str(problem)}  # type: ignore[misc]
            continue
        yield from network_cases(f"zoo {name}", parents, data, presets=True, thorough=False)


# ---- writing and comparing


def measure(folder: Path, only: str) -> dict[str, dict[str, str]]:
    """Case -> part -> digest."""
    found: dict[str, dict[str, str]] = {}
    spent: Counter[str] = Counter()
    for name, make in all_cases(folder):
        if only not in name:
            continue
        assert name not in found, f"two cases are called {name}"
        torch.manual_seed(0)  # who draws from the global state gets the same at least, and is not hidden by others
        np.random.seed(0)
        started = time.process_time()
        found[name] = dict(make())
        spent[name] = time.process_time() - started  # type: ignore[assignment]
    groups: Counter[str] = Counter()
    for name, seconds in spent.items():
        groups[name.split(":")[0]] += seconds  # type: ignore[assignment]
    slowest = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.most_common(8))
    print(f"slowest cases: {slowest}", file=sys.stderr)
    print("slowest groups: " + ", ".join(f"{n} {s:.1f} s" for n, s in groups.most_common(8)), file=sys.stderr)
    return found


def compare(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]], everything: bool) -> bool:
    """Print a table of both; True where all of the first file is in the second one and equal."""
    counts: dict[str, Counter[str]] = {}
    lines = []
    for name in sorted({*before, *after}):
        one, other = before.get(name, {}), after.get(name, {})
        for part in sorted({*one, *other}):
            state = "equal" if one.get(part) == other.get(part) else "differs"
            state = "missing" if part not in other else "new" if part not in one else state
            counts.setdefault(name.split(":")[0], Counter())[state] += 1
            if state != "equal" or everything:
                texts = [v for v in (one.get(part, ""), other.get(part, "")) if " " in v]
                lines.append(f"{state:8} {name} | {part}" + "".join(f"\n           {text}" for text in texts))
    states = ("equal", "differs", "missing", "new")
    print("| what | " + " | ".join(states) + " |\n|---|" + "---|" * len(states))
    for group, by_state in counts.items():
        print(f"| {group} | " + " | ".join(str(by_state[state]) for state in states) + " |")
    total = sum(counts.values(), Counter())
    print("| **all** | " + " | ".join(str(total[state]) for state in states) + " |")
    print("\n".join(["", *lines]) if lines else "\nno difference")
    return not total["differs"] and not total["missing"]


def main() -> None:
    """Measure this checkout, or compare two files."""
    root = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=root / "benchmarks" / "results" / "digests.json")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--all", action="store_true", help="list what is equal too")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data")
    options = parser.parse_args()
    if options.compare:
        before, after = (json.loads(path.read_text())["cases"] for path in options.compare)
        sys.exit(0 if compare(before, after, options.all) else 1)
    torch.set_num_threads(1)  # sums of several threads depend on how the work was shared
    started = time.perf_counter()
    with threadpool_limits(1):
        cases = measure(options.data, options.only)
    seconds = time.perf_counter() - started
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"versions": versions, "cases": cases}, indent=1, sort_keys=True))
    endings = Counter(part for parts in cases.values() for part in parts if part in ("refused", "failed", "skipped"))
    print(f"{len(cases)} cases, {sum(map(len, cases.values()))} digests in {seconds:.0f} s; {dict(endings)}")


if __name__ == "__main__":
    main()
