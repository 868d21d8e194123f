"""Which networks of the usual libraries can be read, traced and fused, each family at its smallest?

    python benchmarks/families.py [--only resnet18,vit_b_16,...] [--steps name,program,...] [--seconds 240]
                                  [--memory 8] [--again] [--table]

Needs the optional packages (pip install .[zoo]); networks have random weights, nothing is downloaded. Each family is
read in three forms (a state dict with --arch LIBRARY:NAME; an exported program; a state dict with the user's own
callable), traced and verified. Then a twin, its neurons permuted in every space and its weights noised by 1 %, or less
where that moves the outputs by more than a tenth of their spread, is fused with it by three recipes: error is the
distance of the fused outputs from the first parent's, relative to how far its outputs spread over samples, beside that
of the noised twin itself. The fused file is then loaded strictly in the library's own network.
Every family runs in a process of its own with limits of time and memory; seconds are those of one core. Results are
kept in benchmarks/results/families.json and what is there is not measured again; --table writes docs/architectures.md
from it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _running import ROOT, line, names, parser, read_results, write_results

FORMS = {"name": "by name", "program": "exported program", "module": "own module"}
RECIPES = ("git_rebasin_activations", "kf_linear", "average")
STEPS = (*FORMS, *RECIPES)
WALL = 25  # how many times the seconds of a core a busy machine may take
NOISE, MOVED = 0.01, 0.1  # of weights, and at most of outputs
CALIBRATION, TEST = 16, 16
CLASSES = 10


@dataclass(frozen=True)
class Family:
    """library: torchvision, timm or hf. settings: of its constructor, of hf of its config. shape: of one sample.
    tokens: whether samples are token ids below `settings['vocab_size']`."""

    library: str
    model: str
    shape: tuple[int, ...] = (3, 64, 64)
    settings: dict[str, Any] = field(default_factory=dict)
    tokens: bool = False

    @property
    def spec(self) -> str:
        """For --arch."""
        return "hf" if self.library == "hf" else f"{self.library}:{self.model}"


def _families() -> Iterator[Family]:
    for model in (
        "alexnet", "vgg11", "resnet18", "resnext50_32x4d", "densenet121", "squeezenet1_1", "mobilenet_v2",
        "mobilenet_v3_small", "shufflenet_v2_x0_5", "mnasnet0_5", "efficientnet_b0", "efficientnet_v2_s",
        "regnet_y_400mf", "googlenet", "convnext_tiny", "swin_t", "swin_v2_t",
    ):  # fmt: skip
        yield Family("torchvision", model)
    yield Family("torchvision", "inception_v3", (3, 75, 75))
    yield Family("torchvision", "vit_b_16", settings={"image_size": 64})
    yield Family("torchvision", "maxvit_t", (3, 224, 224))
    for model in ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "cait_xxs24_224", "xcit_nano_12_p16_224",
                  "mixer_s32_224", "resmlp_12_224", "gmlp_ti16_224", "levit_128s"):
        sized = {} if model.startswith("xcit") else {"img_size": 64}
        yield Family("timm", model, settings=sized)
    for model in ("nf_regnet_b0", "repvgg_a0", "mobilenetv4_hybrid_medium", "efficientvit_b0", "convnext_atto",
                  "poolformer_s12", "pvt_v2_b0", "mobilevit_xxs", "edgenext_xx_small", "ghostnet_100", "dla46_c"):
        yield Family("timm", model)
    yield Family("timm", "efficientvit_m0", (3, 128, 128), {"img_size": 128})
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    words = {**small, "vocab_size": 60, "max_position_embeddings": 32, "num_labels": CLASSES}
    for model in ("BertForSequenceClassification", "RobertaForSequenceClassification",
                  "ElectraForSequenceClassification", "AlbertForSequenceClassification"):
        yield Family("hf", model, (12,), {**words, "embedding_size": 24}, tokens=True)
    yield Family("hf", "DistilBertForSequenceClassification", (12,), tokens=True, settings={
        "vocab_size": 60, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": 32,
        "num_labels": CLASSES,
    })  # fmt: skip
    yield Family("hf", "GPT2LMHeadModel", (12,), tokens=True, settings={
        "vocab_size": 60, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0,
        "eos_token_id": 0,
    })  # fmt: skip
    causal = {**words, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    yield Family("hf", "OPTForCausalLM", (12,), {**causal, "ffn_dim": 48, "word_embed_proj_dim": 32}, tokens=True)
    yield Family("hf", "LlamaForCausalLM", (12,), {**causal, "num_key_value_heads": 2}, tokens=True)
    images = {**small, "image_size": 32, "num_labels": CLASSES}
    yield Family("hf", "ViTForImageClassification", (3, 32, 32), {**images, "patch_size": 8})
    yield Family("hf", "SwinForImageClassification", (3, 32, 32), {
        "image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4,
        "num_labels": CLASSES,
    })  # fmt: skip
    yield Family("hf", "ConvNextForImageClassification", (3, 32, 32), {
        "hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2, "num_labels": CLASSES, "image_size": 32,
        "layer_scale_init_value": 1.0,
    })  # fmt: skip
    yield Family("hf", "ResNetForImageClassification", (3, 32, 32), {
        "embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 2], "layer_type": "basic",
        "num_labels": CLASSES,
    })  # fmt: skip


FAMILIES = {family.model: family for family in _families()}


def __getattr__(name: str) -> Callable[[], Any]:
    """`--arch families:NAME`: the user's own module, which is the library's."""
    if name not in FAMILIES:
        raise AttributeError(name)
    return lambda: own_network(FAMILIES[name])


def own_network(family: Family) -> Any:
    """The library's own network, with its own random weights."""
    from fusion_engine.architectures.libraries.importing import library

    if family.library == "torchvision":
        extra = {"init_weights": False} if family.model in ("googlenet", "inception_v3") else {}
        return library("torchvision").models.get_model(
            family.model, weights=None, num_classes=CLASSES, **extra, **family.settings
        ).eval()
    if family.library == "timm":
        return library("timm").create_model(family.model, num_classes=CLASSES, **family.settings).eval()
    package = library("transformers")
    package.utils.logging.set_verbosity_error()
    kind = getattr(package, family.model)
    config = kind.config_class(**family.settings)
    config.use_cache, config._attn_implementation = False, "eager"
    return kind(config).eval()


def samples(family: Family, count: int, seed: int) -> Any:
    """Inputs of the family: pictures of smooth noise with a contrast, brightness and colour of their own, or token ids:
    of pictures that are alike on the whole, channels that are pooled over all positions would hardly vary."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    if family.tokens:
        return torch.randint(2, family.settings["vocab_size"], (count, *family.shape), generator=generator)
    channels, height, width = family.shape
    coarse = torch.randn(count, channels, max(height // 8, 2), max(width // 8, 2), generator=generator)
    fine = torch.randn(count, *family.shape, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") + 0.3 * fine
    contrast = torch.randn(count, 1, 1, 1, generator=generator).mul(0.5).exp()
    return contrast * smooth + torch.randn(count, channels, 1, 1, generator=generator)


def stir(family: Family, module: Any) -> None:
    """Random weights as training leaves them: no parameter at its start, and batch statistics of the data."""
    import torch

    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim < 2:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            elif not parameter.any():  # a head that starts with zeros would give the same outputs for all inputs
                parameter += torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
        norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        for norm in norms:
            norm.train()
            norm.momentum = None
        module(samples(family, CALIBRATION, 2))
        for norm in norms:
            norm.eval()
            norm.momentum = 0.1


def logits(module: Any, x: Any) -> Any:
    """Outputs as one tensor, without gradients."""
    import torch

    from fusion_engine.architectures import find_logits

    with torch.inference_mode():
        return find_logits(module(x)).logits


class Bench:
    """One family in this process: each step gives a mapping that is printed as a line of JSON."""

    def __init__(self, family: Family, folder: Path) -> None:
        import torch

        from fusion_engine.stats import StatisticsCache

        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.cache = StatisticsCache()  # what the recipes have in common
        self.family, self.folder = family, folder
        self.module = own_network(family)
        stir(family, self.module)
        self.x = samples(family, TEST, 3)
        self.outputs = logits(self.module, self.x)
        self.files = [self.write("first", self.module)]
        self.traced: Any = None
        self.named: Any = None
        self.twin: dict[str, Any] = {}

    def write(self, name: str, module: Any) -> Path:
        """A file as users of the library have it."""
        import torch

        if self.family.library == "hf":
            module.save_pretrained(self.folder / name)
            return self.folder / name
        torch.save(module.state_dict(), self.folder / f"{name}.pth")
        return self.folder / f"{name}.pth"

    def load(self, path: Path, arch: str) -> Any:
        from fusion_engine.parents import load_parent

        tokens = ("input_ids",) if self.family.tokens else ()
        return load_parent(path, arch, input_shape=self.family.shape, tokens=tokens)

    def verified(self, parent: Any) -> dict[str, Any]:
        """Trace and verify, and compare with the library's own outputs."""
        from fusion_engine.graph import trace, verify

        started = time.process_time()
        example = (self.x[:2],)
        graph = trace(parent.model, example)
        traced = time.process_time()
        report = verify(graph, parent.model, example)
        off = self.distance(logits(parent.model, self.x))
        if off > 1e-4:
            raise ValueError(f"outputs differ from the library's own by {off:.1e}")
        if parent is self.named:
            self.traced = graph
        return {
            "trace": traced - started, "verify": time.process_time() - traced, "spaces": len(report.spaces),
            "levels": len(graph.levels), "neurons": sum(s.size for s in graph.spaces.values()),
            "frozen": len(graph.frozen), "warnings": [*graph.warnings, *report.warnings],
        }  # fmt: skip

    def name(self) -> dict[str, Any]:
        return self.verified(self.first())

    def first(self) -> Any:
        """The network read by name: once."""
        if self.named is None:
            self.named = self.load(self.files[0], self.family.spec)
        return self.named

    def program(self) -> dict[str, Any]:
        import torch

        from fusion_engine.architectures import adapted

        module = self.module if self.family.library != "hf" else adapted(own_network(self.family))
        module.load_state_dict(self.module.state_dict())
        exported = torch.export.export(module, (self.x[:2],), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(exported, self.folder / "program.pt2")
        return self.verified(self.load(self.folder / "program.pt2", "auto"))

    def module_form(self) -> dict[str, Any]:
        import torch

        path = self.folder / "own.pth"
        torch.save(self.module.state_dict(), path)
        return self.verified(self.load(path, f"families:{self.family.model}"))

    def parents(self) -> list[Any]:
        """The network and its twin, read by name. The twin: permuted in every space, then noised."""
        import numpy as np

        from fusion_engine.graph import permute_state
        from fusion_engine.graph.running.verify import random_permutation

        first = self.first()
        if not self.twin:
            if self.traced is None:
                self.verified(first)
            state = dict(first.state)
            generator = np.random.default_rng(4)
            for space in self.traced.spaces.values():
                state |= permute_state(state, space, random_permutation(space.size, generator), self.traced)
            self.twin["permuted"] = self.distance(self.run(first, state))
            amount = NOISE
            for _ in range(4):
                noised = self.noised(first, state, amount)
                moved = self.distance(self.run(first, noised))
                if moved <= MOVED:
                    break
                amount *= 0.8 * MOVED / moved
            self.twin |= {"noise": moved, "amount": amount, "state": noised}
        from dataclasses import replace

        from fusion_engine.parents import make_parent

        second = make_parent("twin", first.architecture, self.twin["state"], first.metadata, first.key_map)
        return [first, replace(second, beside=first.beside, dtypes=first.dtypes)]

    def noised(self, parent: Any, state: Any, amount: float) -> Any:
        """The state with noise on all parameters, of `amount` of their spread; tied tensors stay tied."""
        import torch

        noise, state = torch.Generator().manual_seed(5), dict(state)
        parameters = [name for name, _ in parent.model.named_parameters()]
        for name in parameters:
            spread = state[name].std(correction=0) if state[name].numel() > 1 else state[name].abs().mean()
            state[name] = state[name] + amount * spread * torch.randn(state[name].shape, generator=noise)
        for aliases in self.traced.aliases.values():
            known = next((a for a in aliases if a in parameters), None)
            state |= {alias: state[known] for alias in aliases if known and alias in state}
        return state

    def run(self, parent: Any, state: Any) -> Any:
        import torch
        from torch.func import functional_call

        with torch.inference_mode():
            return functional_call(parent.model, dict(state), (self.x,))

    def fused(self, recipe: str) -> dict[str, Any]:
        from fusion_engine import fuse
        from fusion_engine.data import Dataset

        parents = self.parents()
        inputs = ("input_ids",) if self.family.tokens else ()
        data = Dataset(samples(self.family, CALIBRATION, 6), None, None, None, 0, "samples", inputs)
        started = time.process_time()
        result = fuse(parents, data, recipe, seed=0, cache=self.cache)
        seconds = time.process_time() - started
        off = self.distance(logits(result.model, self.x))
        strict = self.strict(result)
        return {
            "fuse": seconds, "error": off, "noise": self.twin["noise"], "permuted": self.twin["permuted"],
            "amount": self.twin["amount"], "strict": strict, "warnings": result.report["warnings"],
        }  # fmt: skip

    def strict(self, result: Any) -> str:
        """'yes', or why the fused file does not load strictly in the library's own network, with the same outputs."""
        import torch
        from safetensors.torch import load_file

        from fusion_engine.parents import write_state

        fresh = own_network(self.family)
        if self.family.library == "hf":
            place = self.folder / "fused"
            self.module.config.save_pretrained(place)
            write_state(place / "model.safetensors", result.file_state(), result.metadata())
            kept = set(load_file(self.files[0] / "model.safetensors"))
            if set(load_file(place / "model.safetensors")) != kept:
                return "other names than the parent's file"
            fresh, told = type(fresh).from_pretrained(place, output_loading_info=True, attn_implementation="eager")
            odd = [key for kind in ("missing_keys", "unexpected_keys") for key in told[kind]]
            if odd:
                return f"{odd[0]!r} missing or unexpected"
            fresh.config.use_cache = False
        else:
            write_state(self.folder / "fused.safetensors", result.file_state(), result.metadata())
            state: Any = OrderedDict(load_file(self.folder / "fused.safetensors"))
            state._metadata = fresh.state_dict()._metadata  # MNASNet asks for versions, which safetensors cannot hold
            try:
                fresh.load_state_dict(state, strict=True)
            except RuntimeError as problem:
                return str(problem).splitlines()[-1].strip()
        same = torch.allclose(logits(fresh.eval(), self.x), logits(result.model, self.x), atol=1e-5, rtol=1e-4)
        return "yes" if same else "loads, and computes something else"

    def distance(self, outputs: Any) -> float:
        """From the first parent's outputs, relative to how these spread over samples."""
        import torch

        first = self.outputs.double().flatten(1)
        spread = torch.linalg.norm(first - first.mean(0)).clamp_min(1e-30)
        return float(torch.linalg.norm(outputs.double().flatten(1) - first) / spread)


def measure(family: Family, steps: list[str], seconds: int) -> None:
    """The steps of one family, in this process; a line of JSON for each."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(family, Path(folder))
        todo = {"name": bench.name, "program": bench.program, "module": bench.module_form}
        for step in steps:
            started = time.process_time()
            Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
            try:
                with _alarm(seconds):
                    found = todo[step]() if step in todo else bench.fused(step)
            except (Exception, _TooLong) as problem:
                text = (str(problem).strip() or type(problem).__name__).splitlines()[0]
                found = {"failed": text[:400], "kind": type(problem).__name__}
            found |= {"step": step, "seconds": time.process_time() - started, "peak_mb": _peak()}
            print(json.dumps(found), flush=True)


class _TooLong(BaseException):
    pass


@contextmanager
def _alarm(seconds: int) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _TooLong(f"longer than {seconds} s")

    signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # of this process: what else the machine does is not counted
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _peak() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run_family(name: str, steps: list[str], options: Namespace) -> dict[str, Any]:
    """The steps in a process of their own; what it had printed stands when it is ended for time or memory."""
    command = [sys.executable, __file__, "--alone", name, "--steps", ",".join(steps), "--seconds", str(options.seconds)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks'}", "HF_HUB_OFFLINE": "1"}
    limit = ["bash", "-c", f"ulimit -d {options.memory * 2**20}; exec \"$@\"", "limited"]
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115
    why = "the process ended"
    with log, subprocess.Popen([*limit, *command], stdout=log, stderr=subprocess.PIPE, text=True, env=environment) as p:
        try:
            _, errors = p.communicate(timeout=WALL * options.seconds * len(steps) + 120)
            why = (errors.strip().splitlines() or [why])[-1]
        except subprocess.TimeoutExpired:
            p.kill()
            why = f"longer than {options.seconds} s"
        log.seek(0)
        found = {entry["step"]: entry for entry in map(json.loads, filter(lambda t: t.startswith("{"), log))}
    lost = [step for step in steps if step not in found]
    for number, step in enumerate(lost):
        found[step] = {"step": step, "failed": why if number == 0 else "not reached", "kind": "process"}
    return found


def cell(entry: dict[str, Any] | None) -> str:
    """A form or a twin in the table."""
    if entry is None:
        return "not measured"
    if "failed" in entry:
        text = "".join(letter for letter in entry["failed"] if letter.isprintable()).replace("|", "/")
        return text[:157] + ("…" if len(text) > 157 else "")
    if "error" not in entry:
        most = "at most " if entry.get("busy") else ""
        return f"ok, {most}{entry['seconds']:.0f} s, {entry['peak_mb']:.0f} MB"
    strict = "" if entry["strict"] == "yes" else f"; file: {entry['strict']}"
    return f"{entry['error']:.3g}, {entry['fuse']:.0f} s{strict}"


def returned(entry: dict[str, Any] | None) -> bool:
    """Whether a twin came back within the noise, in a file that loads strictly."""
    return entry is not None and "error" in entry and entry["error"] <= entry["noise"] and entry["strict"] == "yes"


def table(results: dict[str, Any]) -> str:
    """docs/architectures.md."""
    rows = [line(["family", *FORMS.values(), "noise", *RECIPES]), "|---" * (len(FORMS) + len(RECIPES) + 2) + "|"]
    for name, family in FAMILIES.items():
        found = results.get(name, {})
        noise = next((found[r]["noise"] for r in RECIPES if "noise" in found.get(r, {})), None)
        shown = f"{noise:.2g}" if noise is not None else ""
        cells = [f"{family.library}:{name}", *(cell(found.get(form)) for form in FORMS), shown]
        rows.append(line([*cells, *(cell(found.get(recipe)) for recipe in RECIPES)]))
    counts = [
        f"{title}: {sum('trace' in found.get(form, {}) for found in results.values())} of {len(FAMILIES)} traced and "
        "verified" for form, title in FORMS.items()
    ]  # fmt: skip
    back = [
        f"{recipe}: {sum(returned(found.get(recipe)) for found in results.values())} of {len(FAMILIES)} twins back "
        "within the noise, in a file that loads strictly" for recipe in RECIPES[:2]
    ]  # fmt: skip
    parts = Path(ROOT / "docs" / "architectures.md").read_text().partition(MARK)
    return f"{parts[0]}{MARK}\n\n" + "\n".join([*(f"- {text}" for text in [*counts, *back]), "", *rows]) + "\n"


MARK = "<!-- What follows is written by benchmarks/families.py --table. -->"


def main() -> None:
    """Run the families one after another, each in its own process."""
    arguments = parser(__doc__)
    arguments.set_defaults(data=str(ROOT))
    arguments.add_argument("--only", type=names, default=",".join(FAMILIES))
    arguments.add_argument("--steps", type=names, default=",".join(STEPS))
    arguments.add_argument("--seconds", type=int, default=240, help="limit of one step, of one core")
    arguments.add_argument("--memory", type=int, default=8, help="limit of a process in GB")
    arguments.add_argument("--again", action="store_true", help="measure what is there already")
    arguments.add_argument("--table", action="store_true", help="write docs/architectures.md and measure nothing")
    options = arguments.parse_args()
    if options.alone:
        measure(FAMILIES[options.alone], options.steps, options.seconds)
        return
    results = read_results("families")
    for name in [] if options.table else options.only:
        known = results.get(name, {})
        steps = [step for step in options.steps if options.again or step not in known]
        if steps:
            results = read_results("families")
            results[name] = {**results.get(name, {}), **run_family(name, steps, options)}
            write_results("families", results)
            for step in steps:
                print(f"{name:40} {step:24} {cell(results[name][step])}", flush=True)
    if options.table:
        (ROOT / "docs" / "architectures.md").write_text(table(results))


if __name__ == "__main__":
    main()
