"""The stops of the guided tour over the real pages."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """page: where it stops. text: what is there and what to do, with words of the glossary in [brackets]. focus: a CSS
    selector of what is outlined. fused: whether the page shows something only once there is a fusion."""

    page: str
    title: str
    text: str
    focus: str = ""
    fused: bool = True


STEPS = (
    Step(
        "start", "Fuse the demo",
        "Press the button: four small networks that read digits become one. It takes a few seconds; then go on.",
        ".st-key-fuse-demo button", fused=False,
    ),
    Step(
        "start", "What came out",
        "The story says it in a sentence a step. The chart shows why a [plain average] fails, and what [matching] "
        "does to the [barrier].",
        ".st-key-barrier",
    ),
    Step(
        "parents", "The parents",
        "The networks that were fused, layer by layer, and the classes that each has seen. Your own checkpoints come "
        "in here.",
        ".st-key-parents-chosen",
    ),
    Step(
        "explore", "Their neurons",
        "Every mark is a [neuron]; like ones lie together and a [group] shares a colour. Press one to see its "
        "[passport].",
        ".plane-chart",
    ),
    Step(
        "fuse", "Recipes",
        "A [recipe] says how important neurons are, how they are [grouped] and how weights are found. Choose one and "
        "fuse.",
        ".st-key-run-panel",
    ),
    Step(
        "leaderboard", "Which recipe is best",
        "Runs many recipes on the same parents and sorts them by [accuracy] and time.",
        "",
    ),
    Step(
        "compare", "Side by side",
        "The fused network beside its [parents], the [plain average] and the [ensembles], class by class.",
        "",
    ),
    Step(
        "analyse", "Why it is so",
        "Press Analyse: where accuracy is lost [level] by level, what each parent knows, and the [barrier] between "
        "them.",
        ".st-key-analyse button",
    ),
    Step(
        "learn", "And how it works",
        "Ten short chapters with a picture to play with, each with a question. Here the tour ends.",
        ".st-key-chapters", fused=False,
    ),
)
