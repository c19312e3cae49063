"""Made-up visit notes: what the patient tells, with negations and things beside the point."""

from __future__ import annotations

import numpy as np

_OPENINGS = (
    "Follow-up visit.",
    "Seen in the outpatient clinic today.",
    "Referred for chronic low back pain.",
    "Routine review.",
    "Known inflammatory back pain, here for review.",
)
_STIFFNESS = (
    "Morning stiffness for about {minutes} minutes.",
    "Reports {minutes} min of stiffness on waking.",
    "Stiff in the morning, {minutes} minutes until loose.",
)
_NIGHT = (
    (
        "Sleeps through, no night pain.",
        "Denies pain at night.",
        "Nights are undisturbed.",
    ),
    (
        "Occasional night pain.",
        "Wakes once a week with back pain.",
        "Some nights with pain, improves after getting up.",
    ),
    (
        "Wakes in the second half of the night with pain almost every night.",
        "Severe night pain, has to get up and walk.",
        "Night pain most nights, alternating buttock pain.",
    ),
)
_FUNCTION = (
    ("Works full time without restriction.", "No limitation in daily life.", "Jogs twice a week."),
    ("Some trouble putting on socks.", "Needs breaks when sitting long.", "Desk work is tiring."),
    (
        "Off work for three weeks because of pain.",
        "Cannot bend to put on shoes.",
        "Needs help at home with heavier chores.",
    ),
)
_DRUGS = (
    ("Rarely takes an NSAID.", "No regular medication.", "NSAID on demand, works well."),
    ("Naproxen on most days with partial relief.", "Ibuprofen helps for some hours."),
    (
        "Little relief from full-dose NSAID.",
        "Second NSAID without sufficient effect.",
        "Etoricoxib daily, response unsatisfactory.",
    ),
)
_ASIDE = (
    "No history of psoriasis.",
    "Denies uveitis.",
    "One episode of uveitis years ago.",
    "Family history: father with ankylosing spondylitis.",
    "No family history of spondyloarthritis.",
    "Brother with psoriasis.",
    "No diarrhoea, no weight loss.",
    "Heel pain on the left last year, none now.",
    "Ex-smoker.",
    "Non-smoker.",
    "Exercises improve the pain, rest does not.",
    "No fever, no trauma.",
    "Vaccinations up to date.",
    "Moved house recently.",
)
_CLOSINGS = (
    "Exercise programme discussed.",
    "Physiotherapy continued.",
    "Radiograph and bloods requested.",
    "Review in six months.",
    "Advice on posture given.",
)


def write_note(burden: float, rng: np.random.Generator) -> str:
    """Return a short note of a visit.

    Parameters
    ----------
    burden : float
        How much the patient suffers, in standard deviations.
    rng : Generator
        Draws sentences; each sees the burden through noise of its own.

    Returns
    -------
    str
        Five to eight sentences, in English.
    """

    def level() -> int:
        return int(np.digitize(burden + rng.normal(0.0, 0.5), [-0.45, 0.65]))

    def one_of(options: tuple[str, ...]) -> str:
        return options[int(rng.integers(len(options)))]

    minutes = int(
        np.clip(5.0 * np.round(np.exp(3.3 + 0.75 * burden + rng.normal(0, 0.5)) / 5), 0, 180)
    )
    said = [
        one_of(_STIFFNESS).format(minutes=minutes) if minutes else "No morning stiffness.",
        one_of(_NIGHT[level()]),
        one_of(_FUNCTION[level()]),
        one_of(_DRUGS[level()]),
    ]
    asides = rng.choice(len(_ASIDE), size=int(rng.integers(1, 4)), replace=False)
    said += [_ASIDE[int(k)] for k in asides]
    rng.shuffle(said)
    return " ".join([one_of(_OPENINGS), *said, one_of(_CLOSINGS)])
