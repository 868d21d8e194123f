"""The chapters of Learn: what each says, and the question it asks. In [brackets] stand words of the glossary."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """key: in the address. short: in the list. lead: what to look at and do. question, options, right, answer: what
    the page asks, and what it says after the choice; the number of the right option."""

    key: str
    short: str
    title: str
    lead: str
    question: str
    options: tuple[str, ...]
    right: int
    answer: str


CHAPTERS = (
    Chapter(
        "problem", "Two networks", "Two networks for one problem",
        "Two small networks have learnt to colour the plane from the same points. Each began at its own random "
        "weights. Every hidden [neuron] draws one line: on one side it is silent, on the other it answers. Slide "
        "through them.",
        "A and B colour the plane almost alike. How alike are their neurons?",
        (
            "The same neurons in the same order",
            "Other lines, in other places of the list",
            "The same, because the points are the same",
        ),
        1,
        "Both solve the problem, each with its own lines in its own order. The order comes from the random start and "
        "means nothing.",
    ),
    Chapter(
        "permute", "Permute", "Exchange neurons: nothing changes",
        "Here neurons of A change places, each with all its weights: the ones that come in and the ones that go out. "
        "Such a [permutation] leaves the [function] as it is. Slide on and watch both the weights and the picture.",
        "Neuron 1 and neuron 5 change places, with all their weights. What changes?",
        ("The colours in the plane", "The accuracy, a little", "Only the list of weights"),
        2,
        "The sum over the neurons is the same in any order. So one function is written in 40,320 ways by 8 neurons, "
        "and two networks that are trained apart nearly never use the same one.",
    ),
    Chapter(
        "average", "Average", "Average two networks: it breaks",
        "Take each weight half from A and half from B: neuron 3 of A is averaged with neuron 3 of B, whatever they do. "
        "Slide from A to B: both ends work, and in between the loss rises. How far it rises above the line between the "
        "ends is the [barrier].",
        "Both ends work. Why does the middle fail?",
        (
            "Neuron 3 of A and neuron 3 of B do different work, and their mean does neither",
            "The networks were trained too briefly",
            "An average of weights is always too small",
        ),
        0,
        "The average mixes neurons that merely have the same number. The next chapter lets like stand with like.",
    ),
    Chapter(
        "match", "Match", "Match the neurons, then average",
        "B's neurons are put under those of A that answer to the same places ([matching]); B's [function] stays. Now "
        "the average works better, often by far. Drag a neuron of B to a wrong place and watch the [barrier] come "
        "back.",
        "You put one match wrong and the barrier rises. What does that say?",
        (
            "Two networks can never be averaged",
            "Averaging needs neurons of the same work in the same place",
            "The order only matters in large networks",
        ),
        1,
        "The networks were not far apart, only their order was. What remains of the barrier is real: lines of A that "
        "B does not have at all.",
    ),
    Chapter(
        "group", "Group", "Groups instead of pairs",
        "A [pair] takes one neuron of each network. [k-means] makes groups of any size: three neurons that do the "
        "same become one. With [importance], neurons that answer strongly count for more in their group (the bars "
        "below them).",
        "Two neurons of A do the work of one neuron of B. What can put the three together?",
        ("Pairs", "k-means groups", "Neither"),
        1,
        "k-means may take two of A and one of B, so that a line nobody else has keeps a group to itself. Weighing by "
        "importance guards strong neurons. It is no free gain: switch it on and off and read the figures.",
    ),
    Chapter(
        "solve", "Solve", "Solve instead of averaging",
        "The merged hidden neurons are not quite the parents' own, so the averaged output weights do not quite fit. "
        "[Least squares] finds the output weights that fit best, so that the fused network says on the points what the "
        "parents say on average. Slide from the average to the solution: the pull towards the average ([ridge]) holds "
        "them near the averaged ones; the weaker it is, the more the points decide.",
        "What are the new output weights asked to reproduce?",
        ("The colours of the points", "The weights of A", "What the parents say on the points, on average"),
        2,
        "No labels are needed: the parents' mean outputs are the target, the fused neurons the inputs. This is what "
        "the recipe k-means fusion does in layer after layer.",
    ),
    Chapter(
        "many", "Three and four", "Three and four parents",
        "Fusion is not for two alone. The network below stays as small as each of its [parents]: more parents, the "
        "same number of neurons.",
        "Four parents instead of two, one network of the same size. What gets harder?",
        ("Nothing", "More different lines share the same eight neurons", "The fused network takes four times as long"),
        1,
        "Thirty-two neurons become eight. The plain average suffers most; groups and a solve keep nearly everything, "
        "at the cost of running one network instead of an [ensemble] of four.",
    ),
    Chapter(
        "break", "Break it", "Try to break it",
        "Fuse four parents into fewer and fewer neurons, here by [k-means] with [least squares]. How few are enough? "
        "Then take another problem, or draw your own, and try again.",
        "You take away neurons until it breaks. What can no solving of output weights repair?",
        (
            "Lines that no fused neuron draws any more",
            "A wrong order of the neurons",
            "Output weights that are too small",
        ),
        0,
        "A solve combines the lines that are there. Where there are too few, the loss is in the groups and not in the "
        "weights. On the page Analyse see it, level by level, under **Where accuracy is lost**.",
    ),
    Chapter(
        "own", "Own points", "Draw your own problem",
        "Draw points of two or three classes. The engine trains four networks on them, fuses them, and every chapter "
        "then uses them. Points are kept in the store on this machine.",
        "Your networks are judged on the points that they were trained on. What can their figures not tell?",
        ("Whether averaging breaks them", "How they do on points they have not seen", "How high the barrier is"),
        1,
        "Accuracy on training points says little about new ones. The shipped problems are judged on 600 fresh points.",
    ),
    Chapter(
        "digit", "Draw a digit", "Draw a digit",
        "Draw a digit with the mouse or a finger. It runs through the demo's [parents] and the fused network, as "
        "Start fuses them. Each parent saw some digits more than others. Each small square is a neuron: press a square "
        "to outline its [group].",
        "One parent is wrong about your digit, and the fused network is right. How can that be?",
        (
            "The fused network was trained on your digit",
            "Others of the parents know this class, and their neurons were kept",
            "The fused network has more neurons",
        ),
        1,
        "The demo's parents saw uneven shares of the classes. Groups bring what each knows into one network of the "
        "size of one.",
    ),
)
KEYS = tuple(chapter.key for chapter in CHAPTERS)
WORDS = "words"
"""The last entry of the list: the glossary."""
