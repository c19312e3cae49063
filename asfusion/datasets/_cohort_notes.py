"""Clinical notes of a made-up chronic back pain cohort, with the truth about what they say.

A note is written from facts, never from a diagnosis. Phrases live in a small bank: one line a
phrase, ``n`` for narrative authors, ``t`` for telegraphic ones, ``b`` for both. In a phrase
``[words]`` names the concept, ``[concept:words]`` and ``[concept/polarity:words]`` another one,
``<long|short>`` is an abbreviation that some authors use, and ``{slot}`` is filled from the facts.

References
----------
The features of back pain that the notes report: Sieper et al., Ann Rheum Dis 2009;68:784,
doi:10.1136/ard.2008.101501. The other features: Rudwaleit et al., Ann Rheum Dis 2009;68:777,
doi:10.1136/ard.2009.108233.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias, cast

import numpy as np

from asfusion.exceptions import ConfigurationError

Polarity: TypeAlias = Literal[
    "positive", "negated", "family", "hypothetical", "historical", "hedged"
]
Piece: TypeAlias = tuple[str, str, str]  # words, concept or "", polarity or ""

MIN_WORDS, MAX_WORDS = 60, 180
STIFF_FROM_MIN = 5.0  # minutes; shorter stiffness is written as none

NOTE_FORBIDDEN: tuple[str, ...] = (
    "spondyl", "ankylos", "axspa", "spa", "axial", "bechterew", "sacroiliitis", "sacro-iliitis",
    "psoriatic arthritis", "reactive arthritis", "fibromyalgia", "osteoarthritis", "disc", "discs",
    "herniation", "prolapse", "hla", "b27", "crp", "c-reactive", "esr", "sedimentation",
    "calprotectin", "haemoglobin", "mri", "stir", "ct", "x-ray", "xray", "radiograph",
    "scintigraph", "oedema", "edema", "erosion", "syndesmophyte", "sclerosis", "biologic",
    "adalimumab", "etanercept", "infliximab", "golimumab", "certolizumab", "secukinumab",
    "ixekizumab", "bimekizumab", "upadacitinib", "tofacitinib", "anti-tnf", "tnf", "jak",
    "methotrexate", "sulfasalazine", "basdai", "basfi", "basmi", "asdas", "asas", "schober",
    "new york", "diagnosis", "diagnosed",
)  # fmt: skip
"""Words that would give away the diagnosis, a lab value, an image or a treatment decision."""

NOTE_CONCEPTS: tuple[str, ...] = (
    "insidious", "better_exercise", "better_rest", "night_pain", "alternating_buttock",
    "morning_stiffness", "uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis",
    "arthritis", "family_history", "nsaid_response", "smoker", "trauma", "lifting_job",
    "inflammatory_back_pain",
)  # fmt: skip
"""What a `Mention` may be about; the last one is the referrer's guess and is always hedged."""


@dataclass(frozen=True)
class NoteFacts:
    """What is true of one patient on one day; None stands for not asked.

    Parameters
    ----------
    age : int
        Years on the index date.
    sex : {"f", "m"}
        As registered.
    index_date : date
        Day of the note; no date in the note is later.
    onset_age : float
        Years.
    duration_months : float
        Months of back pain.
    insidious, better_exercise, better_rest, night_pain, alternating_buttock : bool
        Character of the pain. `better_rest` true means that rest relieves it.
    morning_stiffness_min : float
        Minutes.
    uveitis, psoriasis, ibd, enthesitis, heel, dactylitis, arthritis : bool or None
        Ever, by history or on examination. `heel` is heel pain, `enthesitis` any other site.
    family_history : bool or None
        A relative with psoriasis, uveitis, bowel or spinal inflammatory disease.
    nsaid_response : bool or None
        Pain much better within days of a full dose.
    smoker : bool or None
        At present.
    trauma, lifting_job : bool
        An injury before the pain began; heavy lifting at work.
    pain_nrs, fatigue_nrs : float
        Numerical rating, 0 to 10.
    site, author : int
        Counted from zero; they set headings, date format and the manner of writing.

    Raises
    ------
    ConfigurationError
        If `sex` is neither "f" nor "m", or `site` or `author` is negative.
    """

    age: int
    sex: Literal["f", "m"]
    index_date: date
    onset_age: float
    duration_months: float
    insidious: bool
    better_exercise: bool
    better_rest: bool
    night_pain: bool
    alternating_buttock: bool
    morning_stiffness_min: float
    uveitis: bool | None
    psoriasis: bool | None
    ibd: bool | None
    enthesitis: bool | None
    heel: bool | None
    dactylitis: bool | None
    arthritis: bool | None
    family_history: bool | None
    nsaid_response: bool | None
    smoker: bool | None
    trauma: bool
    lifting_job: bool
    pain_nrs: float
    fatigue_nrs: float
    site: int
    author: int

    def __post_init__(self) -> None:
        if self.sex not in ("f", "m"):
            msg = "NoteFacts: expected sex 'f' or 'm', got something else. Recode the column."
            raise ConfigurationError(msg)
        if self.site < 0 or self.author < 0:
            msg = (
                "NoteFacts: expected site and author to be non-negative integers, got a negative "
                "one. Count them from zero."
            )
            raise ConfigurationError(msg)


@dataclass(frozen=True)
class Mention:
    """One concept in a note: ``text[start:end]`` are the words that name it.

    Parameters
    ----------
    concept : str
        One of `NOTE_CONCEPTS`.
    start, end : int
        Offsets into the text, end exclusive.
    polarity : str
        ``positive`` and ``historical`` (present once, over now) hold of the patient, ``negated``
        does not, ``hedged`` is uncertain, ``hypothetical`` is advice, and ``family`` is about a
        relative, affirmed or denied.
    """

    concept: str
    start: int
    end: int
    polarity: Polarity


_BANK_TEXT = """
== opening any
n this {age}-year-old {woman} was referred with {chronic}<low back pain|LBP> of {dur} duration
n I saw this {age}-year-old {woman} on {index} because of {chronic}back pain
n {age}-year-old {woman} who presents with {chronic}<low back pain|LBP>, first noticed in {since}
n the patient, a {woman} of {age}, has had pain in the lower back since {since}
n {age}-year-old {woman} seen today for back pain that has been going on for {dur}
t {age}{F}, {chronic}<low back pain|LBP> {dur}
t {age} <year old|y/o> {woman}, <low back pain|LBP> since {since}
t {age} {F}. {chronic}<low back pain|LBP>, {dur}
t ref with <low back pain|LBP> x {dur}, {age}{F}
t {woman}, {age}. back pain since {since}
== opening letter
n thank you for seeing this {age}-year-old {woman}, who has had <low back pain|LBP> for {dur}
n I would like your opinion on this {woman} of {age} with {chronic}<low back pain|LBP>
n may I refer this {age}-year-old {woman} with back pain since {since}
t pls see this {age}{F} w {chronic}<low back pain|LBP> x {dur}
t re: {age} <year old|y/o> {woman}, <low back pain|LBP> since {since}
== onset any
n {s} was about {onset_age} when the pain started
n symptoms go back to the age of {onset_age}
n {s} has never been quite free of pain since the age of {onset_age}
n {s} had no back trouble before the age of {onset_age}
t onset age ~{onset_age}
t first sx at {onset_age} <years|yrs>
t start at {onset_age}
== insidious positive
n the pain [came on gradually], without an obvious trigger
n {s} describes [a slow start] over several weeks
n it [crept up] over {n} months
n there was [no clear beginning]; the pain was simply there more and more often
n the onset was [insidious]
t [insidious] onset
t [gradual onset]
t [crept up] over months
t [slow start]
== insidious negated
n the pain [started suddenly], from one day to the next
n {s} can name the day it began and describes [a sudden onset]
n the onset was [acute], {s} remembers the exact movement
n it [came on abruptly] while bending forward
n the onset was not [gradual]
t [sudden onset]
t [acute onset], bending
t not [insidious], started overnight
t [abrupt start]
== insidious hedged
n the onset is hard to date and was [probably gradual]
n {s} cannot say for certain whether it [began slowly] or at once
t onset [?gradual]
t mode of onset unclear, [gradual] possible
== better_exercise positive
n the back [eases once {s} gets moving]
n [movement helps], {s} feels best after a walk
n it [gets better with exercise]
n {s} [loosens up after walking] for ten minutes or so
n {s} [feels better on days with sport]
n keeping active [relieves the pain]
n {s} [has to keep moving to feel right]
n after {her} exercises the back is [clearly easier]
t [better w exercise]
t [improves with activity]
t [eases on moving]
t [walking helps]
t [relief with movement]
t active = [less pain]
== better_exercise negated
n the back [does not ease with movement]
n [exercise does not help]
n it [gets worse with exercise]
n {s} [feels worse after walking] for ten minutes or so
n {s} pays for days with sport and [feels no better for activity]
n keeping active [brings no relief]
n {s} [has to stop moving to feel right]
n after {her} exercises the back is [clearly worse]
n [movement makes it worse]
t [not better w exercise]
t [worse with activity]
t [no relief with movement]
t [walking makes it worse]
t [exercise no help]
t active = [more pain]
== better_exercise hedged
n {s} is not sure whether [movement helps]
n the effect of [exercise varies]; some days it seems to help
n [exercise possibly helps a little]
t [?better w exercise]
t [exercise] - effect unclear
t [movement] may help, not sure
== better_rest positive
n [lying down brings relief]
n {s} [feels better after resting]
n after a rest the back is [easier]
n the pain [settles with rest]
n {s} has to sit down, then [it eases]
t [better at rest]
t [eases lying down]
t [relieved by rest]
== better_rest negated
n [rest does not help]
n lying down [brings no relief]
n after a rest the back is [no easier]
n the pain is [not relieved by rest]
n {s} [feels worse after sitting] for long
n a day on the sofa [makes it worse]
t [no better with rest]
t [worse at rest]
t [rest no help]
t [not relieved lying down]
== better_rest hedged
n the response to [rest] is variable
n [rest] may help at times
t [?better with rest]
t effect of [rest] unclear
== movement 10
n it [better_exercise/positive:improves with activity] but [better_rest/negated:not with rest]
n {s} [better_exercise/positive:feels better moving], while [better_rest/negated:rest is no help]
t [better_exercise/positive:better w activity], [better_rest/negated:not w rest]
t [better_rest/negated:worse at rest], [better_exercise/positive:better moving]
== movement 01
n it [better_rest/positive:improves with rest], [better_exercise/negated:not with activity]
n {s} [better_exercise/negated:is worse on the move] and [better_rest/positive:better lying down]
t [better_rest/positive:better w rest], [better_exercise/negated:not w activity]
t [better_exercise/negated:worse moving], [better_rest/positive:better at rest]
== movement 11
n both [better_exercise/positive:gentle movement] and [better_rest/positive:rest] give some relief
t [better_exercise/positive:better w movement], [better_rest/positive:also w rest]
== movement 00
n neither [better_exercise/negated:exercise] nor [better_rest/negated:rest] makes a difference
n no relief from [better_exercise/negated:activity] or from [better_rest/negated:lying down]
t no relief: [better_exercise/negated:exercise], [better_rest/negated:rest]
t same [better_rest/negated:at rest] and [better_exercise/negated:with exercise]
== night_pain positive
n {s} [wakes with back pain] around {clock} am
n [pain wakes {him}] in the second half of the night
n nights are poor because of [back pain at night], {n} nights a week
n the [pain disturbs {her} sleep] most nights
n {s} sleeps {hours} hours and is [disturbed by pain] in the early morning
t [wakes {clock} am with pain]
t [night pain] {n}x/wk
t [noct pain +]
t [woken by pain] 2nd half of night
== night_pain negated
n {s} sleeps through without [night pain]
n there is no [pain at night]
n {s} sleeps {hours} hours and is [not disturbed by pain]
n {s} is not [woken by the back]
n nights are quiet, [back pain at night] is denied
t no [night pain]
t sleeps ok, no [noct pain]
t denies [pain at night]
t not [woken by pain]
== night_pain hedged
n {s} sleeps badly, possibly because of [pain at night]
n whether the [pain wakes {him}] or {s} wakes for other reasons is unclear
t [?night pain]
t poor sleep, [night pain] possible
== alternating_buttock positive
n the pain moves into the buttocks, [now left, now right]
n {s} has [alternating buttock pain]
n [buttock pain changes sides] from week to week, felt over the <sacroiliac joint|SIJ>
n at times it is the left buttock, [at times the right]
t [alternating buttock pain]
t [buttock pain, side varies]
t [buttock pain L/R alternating], <sacroiliac|SIJ> area
t [alt buttock pain] +
== alternating_buttock negated
n the pain stays in the midline, without [alternating buttock pain]
n there is no [buttock pain that changes sides]
n {s} denies [buttock pain]
n it does not [switch between the buttocks]
n the buttocks are [not affected]
n the pain [stays on the {side}] side
n [pain in alternating buttocks] is denied
n {s} points to the midline, [the buttocks] are spared
t no [alternating buttock pain]
t no [buttock pain]
t midline, no [alt buttock pain]
== alternating_buttock hedged
n {s} also mentions the buttock, [possibly alternating]
n [buttock pain] on the {side}, a change of sides cannot be excluded
t [?alternating buttock pain]
t buttock pain {side}, [? switches sides]
== morning_stiffness positive
n [morning stiffness] lasts {stiff}
n {s} is [stiff on waking] and needs {stiff} to loosen
n the back is [stiff in the morning] for {stiff}
n it takes {stiff} until the [stiffness on rising] has gone
t [morning stiffness] {stiff}
t <[morning stiffness]|[EMS]> {stiff}
t [AM stiffness] {stiff}
t [stiff a.m.] {stiff}
== morning_stiffness negated
n there is no relevant [morning stiffness]
n {s} is not [stiff in the morning]
n {s} gets out of bed without [stiffness]
t no [morning stiffness]
t [EMS] nil
t denies [AM stiffness]
== morning_stiffness hedged
n some [stiffness in the morning] is possible, {s} cannot give a duration
t [?AM stiffness], duration unclear
== pain any
n pain over the past week was {pain} out of 10
n {s} rates the pain at {pain}/10
n on average the pain is {pain} on a 0-10 scale
t pain {pain}/10
t NRS pain {pain}
t pain score {pain} (0-10)
== fatigue any
n tiredness was put at {fatigue}/10
n {s} rates fatigue at {fatigue} out of 10
n fatigue is {fatigue} on the 0-10 scale
t fatigue {fatigue}/10
t tired {fatigue}/10
== trauma positive
n {s} recalls [a fall] shortly before, in {injury}
n [a car accident] in {injury} preceded the pain
n {s} mentions [a sports injury] in {injury}
t [fall] {injury}
t [RTA] {injury}, before onset
t [injury] at sports {injury}
== trauma negated
n there was no [trauma]
n {s} does not recall any [injury]
n no [accident] preceded it
n {s} has not had [a fall] or the like
n there is no [injury] to explain the pain
n [trauma] is denied
n asked about [an accident], {s} says no
t no [trauma]
t denies [injury]
t no [fall/accident]
== trauma hedged
n {s} wonders whether [a minor fall] might have started it
t [?minor trauma] before
== uveitis positive
n {s} has had recurrent [uveitis], last in {event}, and is under the eye clinic
n there have been {n} attacks of [acute iritis], treated with steroid drops
n known [anterior uveitis] on the {side}
t recurrent [uveitis], eye clinic
t [iritis] {side}, {n} episodes
t [AAU] {event}, steroid drops
== uveitis historical
n {s} had one episode of [iritis] in {event}, settled with drops
n [uveitis] on the {side} in {event}, nothing since
t episode of [iritis] {event}
t prev [uveitis] {side} ({event})
t s/p [uveitis] {event}
== uveitis hedged
n {s} had a red eye in {event}, [uveitis] possible, no letter from the eye clinic
n an earlier [iritis] cannot be excluded from what {s} tells
t red eye {event}, [?iritis]
t [? uveitis] {event}, no records
== uveitis negated
n the eyes have never been [inflamed]
t eyes: never [red or painful]
== uveitis noun
b uveitis
b iritis
b eye inflammation
n a painful red eye
t red painful eyes
== psoriasis positive
n {s} has [psoriasis] at the elbows and scalp, treated with ointment
n [plaque psoriasis] since {event}
n there is [psoriasis] behind the ears and on the {side} knee
n nail pitting with known [psoriasis]
t [psoriasis], scalp
t [PsO] elbows, topical tx
t [psoriasis] since {event}
t skin: [psoriasis], mild
== psoriasis historical
n [psoriasis] as a teenager, clear for years
n {s} was treated for [psoriasis] until {event}; the skin is clear now
t prev [psoriasis], clear since {event}
t h/o [psoriasis] in youth, nil now
== psoriasis hedged
n a scaly patch at the {side} elbow, possibly [psoriasis]
n dry scalp, [psoriasis] cannot be excluded
t scaly patch {side} elbow, [?psoriasis]
t dandruff, [psoriasis] not excluded
== psoriasis negated
n the skin is free of [psoriasis]
t skin clear, no [psoriasis]
== psoriasis noun
b psoriasis
b psoriasis of skin or nails
n a scaly rash
t scaly rash
== ibd positive
n {s} has [Crohn's disease] and sees a gastroenterologist
n [ulcerative colitis] since {event}, quiet on mesalazine
n known [<inflammatory bowel disease|IBD>], last flare in {event}
t [Crohn's], under GI
t [UC] since {event}, mesalazine
t known [IBD]
== ibd historical
n a bout of [colitis] confirmed by the gastroenterologist in {event}, none since
t [ulcerative colitis] {event}, quiet since
t prev [Crohn's] flare {event}
== ibd hedged
n loose stools at times, [<inflammatory bowel disease|IBD>] has not been ruled out
n recurrent cramps and diarrhoea, possible [<inflammatory bowel disease|IBD>]
t loose stools, [?IBD]
t [IBD] not excluded, awaiting GI
== ibd negated
n bowels are regular and there has been no [blood in the stool]
t bowels reg, no [bloody stool]
== ibd noun
b <inflammatory bowel disease|IBD>
b Crohn's disease
b ulcerative colitis
b IBD
b bloody diarrhoea
== enthesitis positive
n {s} is sore over the {enthesis}, in keeping with [enthesitis]
n [enthesitis] at the {enthesis} on the {side}
t [enthesitis] {enthesis} {side}
t sore {enthesis}, [enthesitis]
== enthesitis seen
n there is [tenderness at the {enthesis}]
n [tender insertion] at the {side} {enthesis}
n pressure on the {side} {enthesis} is painful, as in [enthesitis]
t [tender {enthesis}]
t [tender insertion], {enthesis} {side}
t [enthesitis] {side} {enthesis}
== enthesitis historical
n {s} was treated for [enthesitis] at the {enthesis} in {event}, now settled
t prev [enthesitis] {enthesis} {event}
== enthesitis hedged
n some soreness at the {enthesis}, [enthesitis] possible
t [?enthesitis] {enthesis}
== enthesitis negated
n the [tendon insertions] are not tender
t [entheses] not tender
== enthesitis noun
b enthesitis
b tender entheses
b tenderness at tendon insertions
== heel positive
n {s} complains of [{side} heel pain] with the first steps of the day
n [pain at the back of the {side} heel] for {n} months
n both [heels hurt] after standing
t [heel pain] {side}
t [{side} heel sore] on first steps
t [heel pain] bilat
== heel historical
n [heel pain] on the {side} in {event}, gone since
t [heel pain] {event}, resolved
t prev [{side} heel pain] ({event})
== heel hedged
n the {side} foot aches at times, perhaps [at the heel]
t foot pain {side}, [?heel]
== heel negated
n the [heels] are free of pain
t [heels] fine
== heel noun
b heel pain
b pain in the heels
== dactylitis positive
n the {side} {toe} toe has been [thick like a sausage] for {n} weeks
n [dactylitis] of the {side} {toe} toe
t [dactylitis] {side} {toe} toe
t [sausage toe] {side}
== dactylitis seen
n the {side} {toe} toe is [swollen as a whole, like a sausage]
n [dactylitis] of the {side} {toe} toe
t [dactylitis] {side} {toe} toe
t {side} {toe} toe [sausage-like]
== dactylitis historical
n a [sausage toe] on the {side} in {event}, fully resolved
t prev [dactylitis] {event}
== dactylitis hedged
n {s} remembers a thick {toe} toe, [dactylitis] possible
t [?dactylitis] {toe} toe in past
== dactylitis negated
n no digit is [swollen along its length]
t digits normal, no [dactylitis]
== dactylitis noun
b dactylitis
b sausage digits
n a sausage-like digit
t sausage toes
== arthritis positive
n the {side} {joint} [swells up] from time to time
n {s} has had [swelling of the {side} {joint}] on and off since {event}
n {s} tells of [a swollen {joint}] on the {side}
t [swollen {side} {joint}]
t [swelling {joint}] {side}, on and off
t [arthritis] {side} {joint} since {event}
== arthritis seen
n the {side} {joint} is [swollen] and warm
n [arthritis] of the {side} {joint} with effusion
n there is [synovitis] of the {side} {joint}
t [synovitis] {side} {joint}
t {side} {joint}: [effusion]
t [swollen {side} {joint}], warm
== arthritis historical
n the {side} {joint} was [swollen] for some weeks in {event} and has been fine since
t [swollen {joint}] {event}, settled
t prev [arthritis] {side} {joint} ({event})
== arthritis hedged
n the {side} {joint} is said to swell, so that [arthritis] cannot be excluded
t {joint} pain, [?swelling]
t possible [synovitis] {side} {joint}
== arthritis negated
n peripheral joints show no [synovitis]
t joints: no [synovitis]
== arthritis noun
b swollen joints
b joint swelling
b peripheral arthritis
== none n
n {s} denies {list}
n there is no history of {list}
n {s} has never had {list}
n on direct questioning no {list}
n nothing to suggest {list}
== none t
t no {list}
t no h/o {list}
t denies {list}
t neg for {list}
t never {list}
== none exam
n no {list}
n no {list} found
n {s} shows no {list}
t no {list}
t w/o {list}
t without {list}
== family_history positive
n {her} [{relative}] has {kin_pso}
n [{relative}] with {kin_pso}, no details known
n {her} [{relative}] had repeated [uveitis/family:iritis]
n {her} [{relative}] has [ibd/family:Crohn's disease]
n {her} [{relative}] is treated for [ibd/family:ulcerative colitis]
n {her} [{relative}] has had an inflammatory disease of the spine since youth
t [{relative}] with {kin_pso}
t [{relative}]: [psoriasis/family:PsO]
t [{relative}] {kin_uve}
t [{relative}] - [ibd/family:Crohn's]
t [{relative}]: inflammatory spinal disease
== family_history hedged
n {her} [{relative}] may have {kin_pso}, not confirmed
n {her} [{relative}] had a stiff back from early on, cause not known
t [{relative}] [psoriasis/family:?psoriasis]
t [{relative}] ? bowel disease
== family_history negated
n no [<family history|FHx>] of {kin_pso}, {kin_uve} or {kin_ibd}
n none of {her} [relatives] has a skin, eye, bowel or inflammatory spinal disease
n the [<family history|FHx>] is non-contributory
t [FHx] neg
t no [FHx] of {kin_pso} or {kin_ibd}
t [<family history|FHx>] nil
== family_history headed
n none of the close [relatives] has {kin_pso}, {kin_uve} or {kin_ibd}
n no affected [relatives] known
n nothing similar in [parents or siblings]
t no [relatives] w {kin_pso} or {kin_ibd}
t nil in [1st degree relatives]
t [parents/sibs] not affected
== nsaid_response positive
n {nsaid} {dose} [takes most of the pain away] within two days
n {s} reports [a good response] to full-dose {nsaid}
n with {nsaid} {s} is [much better] the next day
n [NSAIDs help clearly], pain returns when {s} stops
t [good response] to {nsaid}
t {nsaid} {dose} - [works well]
t NSAID - [marked relief]
t [NSAID resp +]
== nsaid_response negated
n {nsaid} {dose} for two weeks [made no difference]
n {s} took full-dose {nsaid} [without benefit]
n with {nsaid} {s} is [no better] after several days
n [NSAIDs do not help] much
t [no response] to {nsaid}
t {nsaid} {dose} - [no effect]
t NSAID - [no relief]
t [NSAID resp -]
== nsaid_response hedged
n {nsaid} [may help a little], but {s} takes it irregularly
n [partial relief] with {nsaid}, hard to judge
t {nsaid} prn, [?benefit]
t [NSAID effect unclear]
== smoker positive
n {s} [smokes] {cig} cigarettes a day
n [current smoker], about {pack} pack-years
t [smokes] {cig}/d
t [smoker], {pack} py
== smoker negated
n {s} does not [smoke]
n {s} is a non-[smoker]
t non-[smoker]
t [smoking]: never
== lifting_job positive
n {s} works in a warehouse and [lifts up to {kg} kg]
n {her} job in the building trade involves [heavy lifting]
n {s} is a carer on a ward, [lifting] every shift
n as a bricklayer {s} [lifts heavy loads] daily
n {s} delivers furniture, which means [lifting {kg} kg] many times a day
t [heavy lifting] at work
t warehouse job, [lifts {kg} kg]
t carer, [lifting ++]
== lifting_job negated
n {s} has a desk job with no [heavy lifting]
n {s} teaches and does no [lifting]
n work is mostly at the computer, without [lifting]
n {s} works in a call centre, no [heavy loads]
n {s} is employed in accounting and [lifts nothing heavy]
n {her} work as a receptionist involves no [lifting]
n {s} does laboratory work, with little standing and no [heavy lifting]
t office work, no [lifting]
t desk job, no [heavy lifting]
t driver, no [lifting]
== question ibp
n could this be [<inflammatory back pain|IBP>]?
n [<inflammatory back pain|IBP>] cannot be excluded
n the pattern raises the possibility of [<inflammatory back pain|IBP>]
t [? IBP]
t [IBP] vs mechanical?
t poss [IBP]
t [IBP] not excluded
== question clinic
n the cause of the pain remains open for now
n {her} case will be discussed with the consultant
n further work-up is under way
t cause of <low back pain|LBP> open
t d/w consultant
t work-up ongoing
== question gp
n please advise on the cause and on further management
n I would be grateful for your assessment
n opinion requested on work-up and treatment
t pls assess
t cause of <low back pain|LBP>?
t opinion re further work-up pls
== return uveitis
n {s} was told to come back at once with a [red painful eye]
n should a [painful red eye] occur, an eye clinic visit on the same day is advised
t return if [red painful eye]
t to attend A&E if [eye red/painful]
== return arthritis
n {s} will call if [a joint swells]
n an earlier visit is offered in case of [joint swelling]
t call if [joint swelling]
t rtc sooner if [swollen joint]
== return psoriasis
n {s} should report any [scaly rash]
t to report if [scaly rash]
== return ibd
n {s} was asked to report any [blood in the stool]
t report if [bloody stool]
== pmh any
b appendicectomy in {old}
b migraine, a few attacks a year
b hay fever in spring
b <asthma, well controlled|asthma contr>
b hypothyroidism on replacement
b tonsillectomy in childhood
b wrist fracture in {old}, healed well
b penicillin allergy
b kidney stone in {old}
b {side} ankle sprain in {old}
b anxiety, stable, seen by GP
b iron deficiency treated in {old}
b pneumonia in {old}
b varicose veins
b tinnitus on the {side} since {event}
b hernia repair on the {side} in {old}
b nut allergy
b shingles in {event}
== pmh none
n there is no other illness of note
n {s} is otherwise healthy
t nil else
t o/w well
t nothing else of note
== pmh older
b hypertension, treated since {event}
b raised cholesterol, on a statin
b type 2 diabetes, diet controlled
== pmh f
b two uncomplicated pregnancies
b caesarean section in {old}
== pmh gut
b irritable bowel syndrome
b reflux, on and off
== pmh eye
b conjunctivitis in {old}, cleared with drops
b wears contact lenses, dry eyes at times
== pmh skin
b eczema as a child
b acne in {her} teens
== kin any
b father with type 2 diabetes
b mother treated for breast cancer
b grandfather had gout
b father had a heart attack at 61
b mother with thyroid disease
== drugs any
b paracetamol 1 g as needed
b omeprazole 20 mg in the morning
b vitamin D 1000 <IU daily|IU/d>
b levothyroxine 75 mcg
b cetirizine 10 mg in season
b sertraline 50 mg <once daily|od>
b heat packs, magnesium
b herbal tea and a rub-in gel
b nasal spray when needed
b iron tablets until {recent}
b metamizole 500 mg on bad days
== drugs none
n {s} takes no other medicines
n no other regular medication
n {s} uses nothing else on a regular basis
t no other meds
t nil else reg
== drugs older
b amlodipine 5 mg <once daily|od>
b atorvastatin 20 mg at night
== drugs f
b oral contraceptive
== social any
b lives with {her} partner and {kids}
b lives alone on the {floor} floor
b moved house in {event}
b alcohol at weekends only
b goes to the gym when time allows
b swims now and then
b has a dog, walks daily
b bought a new mattress in {recent}
b hobby: garden and choir
b plays cards on {weekday}s
b has just come back from a trip to the coast
b drinks {n} coffees a day
b looks after {her} parents
b renovating the house since {recent}
b cycles to the shops
b no travel abroad in the past year
n stress at home has been high this year
t sleep short, small child
== social work
b commutes {km} km by car
b works night shifts at times
b off sick for {n} days in {recent}
n {s} is worried about time away from work
== exam any
b BP {bp} mmHg, pulse {pulse}/min
b height {height} cm, weight {weight} kg
b heart and lungs unremarkable
b abdomen soft, no masses
b hip <range of motion|ROM> full
b shoulder <range of motion|ROM> full on both sides
b straight leg raise negative to 80 degrees
b reflexes symmetrical, power 5/5
b heel and toe walking normal
b no leg length difference
b gait normal
b afebrile, temp 36.{n} C
b no enlarged lymph nodes
b good general condition
b thyroid not enlarged
b peripheral pulses present
b oxygen saturation {sat} % on room air
n neurological examination is normal
t neuro nad
t CVS/RS nad
== plan any
b physiotherapy referral sent
b home exercise sheet given
b review in {n} months
b medication unchanged for now
b vaccination record checked
b advice on sleep and pacing given
b leaflet handed out
b phone review on request
b interpreter not needed
b sick note issued on {visit}
n the findings were discussed with the patient
t d/w pt
== plan clinic
b bloods and imaging to be arranged
b previous records requested from the GP
b copy of this note to the GP
b last GP visit {visit}
== plan gp
b no bloods or imaging done here so far
b seen by the physiotherapist on {visit}
b waiting list for the back class since {recent}
b last appointment here {visit}
"""
# fmt: off
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")
# fmt: on
_EXTRAS = ("uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis", "arthritis")
_ON_EXAMINATION = ("enthesitis", "dactylitis", "arthritis")
_RETURNS = ("uveitis", "arthritis", "psoriasis", "ibd")
_FILLER_SECTIONS = ("pmh", "drugs", "social", "exam", "plan", "kin")
_PIECE = re.compile(r"\[(?:(\w+)(?:/(\w+))?:)?([^\]]+)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_SHORT = re.compile(r"<([^|<>]*)\|([^<>]*)>")
_WORD = re.compile(r"\b[A-Za-z][a-z]{4,}\b")
_MISSPELT = {
    "stiffness": "stifness", "psoriasis": "psoriais", "uveitis": "uvietis", "buttock": "buttok",
    "ibuprofen": "ibuprofin", "diarrhoea": "diarrhea", "dactylitis": "dactilitis",
    "alternating": "alternatng", "exercise": "excercise", "gradually": "gradualy",
    "physiotherapy": "physiotheraphy", "examination": "examintion", "relief": "releif",
    "denies": "denys", "enthesitis": "enthisitis", "naproxen": "naproxene",
}  # fmt: skip


def _read_bank(text: str) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Return phrases by topic, kind and style (``n`` or ``t``)."""
    found: dict[tuple[str, str, str], list[str]] = {}
    topic = kind = ""
    for line in text.strip().splitlines():
        tag, _, rest = line.partition(" ")
        if tag == "==":
            topic, kind = rest.split()
            continue
        for style in "nt" if tag == "b" else tag:
            found.setdefault((topic, kind, style), []).append(rest)
    return {key: tuple(phrases) for key, phrases in found.items()}


_BANK = _read_bank(_BANK_TEXT)


@dataclass(frozen=True)
class _Site:
    sections: tuple[tuple[str, tuple[str, ...]], ...]  # heading, sections under it
    lines: bool  # a line for each heading
    date_format: int
    head: str
    foot: str
    referral: bool


# fmt: off
_SITES = (
    _Site((("", ("opening", "back")), ("", ("nsaid", "drugs", "extra", "pmh", "family", "social")),
           ("On examination", ("exam",)), ("", ("plan",))),
          True, 1, "Dear colleague,", "Kind regards", True),
    _Site((("PC", ("opening",)), ("HPC", ("back", "extra")), ("PMHx", ("pmh",)),
           ("DHx", ("nsaid", "drugs")), ("FHx", ("family",)), ("SHx", ("social",)),
           ("O/E", ("exam",)), ("Plan", ("plan",))),
          True, 0, "", "", False),
    _Site((("CHIEF COMPLAINT", ("opening",)), ("HISTORY OF PRESENT ILLNESS", ("back", "nsaid")),
           ("REVIEW OF SYSTEMS", ("extra",)), ("PAST HISTORY", ("pmh",)),
           ("MEDICATIONS", ("drugs",)), ("FAMILY HISTORY", ("family",)),
           ("SOCIAL HISTORY", ("social",)), ("EXAM", ("exam",)), ("PLAN", ("plan",))),
          True, 4, "Clinic visit {index}", "", False),
    _Site((("S", ("opening", "back", "nsaid", "extra", "family", "pmh", "drugs", "social")),
           ("O", ("exam",)), ("P", ("plan",))),
          True, 2, "{index}", "", False),
    _Site((("Back pain", ("opening", "back")), ("Other symptoms", ("extra",)),
           ("Background", ("pmh", "family", "social")), ("Treatment so far", ("nsaid", "drugs")),
           ("Examination", ("exam",)), ("To do", ("plan",))),
          False, 0, "Back clinic, {index}.", "Registrar", False),
    _Site((("Reason for referral", ("opening",)), ("Present illness", ("back", "nsaid")),
           ("Previous illnesses", ("pmh", "extra")), ("Family", ("family",)),
           ("Medication", ("drugs",)), ("Work and habits", ("social",)), ("Status", ("exam",)),
           ("Request", ("plan",))),
          True, 3, "Referral, {index}", "GP", True),
)
# fmt: on
_FAMILY_HEADINGS = ("FHx", "FAMILY HISTORY", "Family")


@dataclass(frozen=True)
class _Manner:
    """How an author writes; the same for every note of that author."""

    telegraphic: float
    abbreviates: float
    slips: float
    omits: float
    hedges: float
    separator: str


@lru_cache(maxsize=1024)
def _manner(author: int) -> _Manner:
    rng = np.random.default_rng([20, author])
    return _Manner(
        telegraphic=float(rng.choice([0.05, 0.35, 0.9])),
        abbreviates=float(rng.uniform(0.1, 0.9)),
        slips=float(min(rng.exponential(0.008), 0.04)),
        omits=float(rng.uniform(0.1, 0.3)),
        hedges=float(rng.uniform(0.04, 0.14)),
        separator=str(rng.choice([". ", "; ", ", "])),
    )


@dataclass
class _Item:
    """One statement, and what may happen to it when the note grows too long."""

    section: str
    place: float
    pieces: list[Piece]

    @property
    def n_words(self) -> int:
        return len("".join(words for words, _, _ in self.pieces).split())


class _Scribe:
    """Writes one note: chooses what to say, says it, and keeps to the length."""

    def __init__(self, facts: NoteFacts, rng: np.random.Generator) -> None:
        self.facts = facts
        self.rng = rng
        self.manner = _manner(facts.author)
        self.site = _SITES[facts.site % len(_SITES)]
        self.style = "t" if rng.random() < self.manner.telegraphic else "n"
        self.onset = facts.index_date - timedelta(days=round(facts.duration_months * 30.44))
        self.items: list[_Item] = []
        self.used: set[str] = set()
        self.nsaid = self.pick(tuple(_DAILY_MG))

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def whole(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return low + int(self.rng.random() * (high - low + 1))

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.random() * len(options))]

    # Dates: always counted back from the index date.

    def full_date(self, day: date) -> str:
        style = self.site.date_format if self.chance(0.85) else self.whole(0, 4)
        month = _MONTHS[day.month - 1]
        return (
            f"{day:%d/%m/%Y}",
            f"{day.day} {month} {day.year}",
            f"{day:%Y-%m-%d}",
            f"{day:%d.%m.%Y}",
            f"{day:%d}-{month[:3]}-{day.year}",
        )[style]

    def month_date(self, day: date) -> str:
        month = _MONTHS[day.month - 1]
        return self.pick(
            (f"{month} {day.year}", f"{month[:3]} {day.year}", f"{day.month:02d}/{day.year}")
        )

    def past(self, from_days: int, to_days: int) -> date:
        return self.facts.index_date - timedelta(days=self.whole(from_days, to_days))

    def event(self) -> str:
        """Return a month or year in the past twelve years, since the age of 14 at most."""
        span = min(12 * 365, max((self.facts.age - 14) * 365, 100))
        day = self.past(45, span)
        return str(day.year) if self.chance(0.55) else self.month_date(day)

    def since(self) -> str:
        near = self.facts.duration_months < 30
        return self.month_date(self.onset) if near or self.chance(0.3) else str(self.onset.year)

    def duration(self) -> str:
        months = max(1, round(self.facts.duration_months))
        if months < 24:
            return f"{months} months" if months > 1 else "1 month"
        years = f"{round(months / 6) / 2:g}" if months < 96 else f"{round(months / 12)}"
        return f"{years} {self.pick(('years', 'years', 'yrs')) if self.style == 't' else 'years'}"

    def stiffness(self) -> str:
        minutes = max(5, 5 * round(self.facts.morning_stiffness_min / 5))
        if minutes == 60 and self.chance(0.6):
            return self.pick(("an hour", "one hour", "1 h"))
        if minutes >= 90:
            return f"{round(minutes / 30) / 2:g} {self.pick(('hours', 'h', 'hrs'))}"
        return f"{self.pick(('about ', '~', '', ''))}{minutes} <minutes|min>"

    def measure(self, name: str) -> str:
        tall = self.rng.normal(166 if self.facts.sex == "f" else 179, 7)
        if name == "height":
            return f"{tall:.0f}"
        return f"{float(np.clip(self.rng.normal(25.5, 4), 18, 40)) * (tall / 100) ** 2:.0f}"

    def slot(self, name: str) -> str:
        """Return the words for a slot of a phrase."""
        plain = self.plain_slot(name)
        return self.drawn_slot(name) if plain is None else plain

    def plain_slot(self, name: str) -> str | None:
        facts, f = self.facts, self.facts.sex == "f"
        words = {
            "her": "her" if f else "his",
            "him": "her" if f else "him",
            "woman": "woman" if f else "man",
            "F": "F" if f else "M",
            "age": str(facts.age),
            "onset_age": f"{facts.onset_age:.0f}",
            "chronic": "chronic " if facts.duration_months >= 3 else "",
            "pain": f"{facts.pain_nrs:.0f}",
            "fatigue": f"{facts.fatigue_nrs:.0f}",
        }
        if name == "s":
            return ("she" if f else "he") if self.chance(0.75) else "the patient"
        return words.get(name)

    def drawn_slot(self, name: str) -> str:
        if name in _CHOICES:
            return self.pick(_CHOICES[name])
        if name in _RANGES:
            return str(self.whole(*_RANGES[name]))
        if name == "nsaid":
            return self.nsaid
        if name == "relative":
            return self.pick(_ELDERS if self.facts.age < 45 else _YOUNGER)
        if name in ("height", "weight"):
            return self.measure(name)
        age = self.facts.age
        makers: dict[str, Callable[[], str]] = {
            "dur": self.duration,
            "since": self.since,
            "stiff": self.stiffness,
            "event": self.event,
            "index": lambda: self.full_date(self.facts.index_date),
            "visit": lambda: self.full_date(self.past(7, 120)),
            "recent": lambda: self.month_date(self.past(45, 400)),
            "old": lambda: str(self.past(400, max(500, (age - 10) * 365)).year),
            "injury": lambda: self.month_date(self.onset - timedelta(days=self.whole(3, 60))),
            "dose": lambda: f"{_DAILY_MG[self.nsaid]} mg a day",
            "pack": lambda: str(self.whole(2, max(2, (age - 15) // 2))),
            "bp": lambda: f"{self.whole(108, 142)}/{self.whole(64, 88)}",
        }
        return makers[name]()

    # Statements

    def spell(self, words: str) -> str:
        """Return `words` with this author's slips."""
        if not self.manner.slips:
            return words
        return _WORD.sub(self.slip, words)

    def slip(self, match: re.Match[str]) -> str:
        word = match.group()
        if word in _MONTHS or not self.chance(self.manner.slips):
            return word
        if word in _MISSPELT:
            return _MISSPELT[word]
        k = self.whole(1, len(word) - 3)
        kind = self.whole(0, 2)
        if kind == 0:
            return word[:k] + word[k + 1] + word[k] + word[k + 2 :]
        return word[:k] + word[k + 1 :] if kind == 1 else word[:k] + word[k] + word[k:]

    def render(self, phrase: str, concept: str = "", polarity: str = "") -> list[Piece]:
        """Return the pieces of a phrase: slots filled, abbreviations chosen, words misspelt."""
        phrase = _SLOT.sub(lambda found: self.slot(found.group(1)), phrase)
        short = (
            self.manner.abbreviates if self.style == "n" else 1 - (1 - self.manner.abbreviates) / 2
        )
        phrase = _SHORT.sub(lambda found: found.group(2 if self.chance(short) else 1), phrase)
        pieces: list[Piece] = []
        at = 0
        for found in _PIECE.finditer(phrase):
            pieces.append((self.spell(phrase[at : found.start()]), "", ""))
            about, how = found.group(1) or concept, found.group(2) or polarity
            pieces.append((self.spell(found.group(3)), about, how))
            at = found.end()
        pieces.append((self.spell(phrase[at:]), "", ""))
        return [piece for piece in pieces if piece[0]]

    def say(
        self,
        section: str,
        place: float,
        key: tuple[str, str],
        concept: str = "",
        polarity: str = "",
    ) -> None:
        """Add a phrase of the bank; one already used is not said again."""
        options = [p for p in _BANK.get((*key, self.style), ()) if p not in self.used]
        if not options:
            return
        phrase = self.pick(options)
        self.used.add(phrase)
        pieces = self.render(phrase, concept, polarity or key[1])
        if self.style == "n" and section in ("back", "extra") and self.chance(0.12):
            lead = "" if phrase.startswith(("on ", "asked ")) else self.pick(_LEADS)
            pieces = [*self.render(lead), *pieces]
        self.items.append(_Item(section, place, pieces))

    def omitted(self) -> bool:
        return self.chance(self.manner.omits)

    def polarity(self, concept: str, *, value: bool) -> str:
        """Return how a fact is put: hedged now and then, more often when true."""
        if self.chance(self.manner.hedges * (1.0 if value else 0.6)):
            return "hedged"
        if value and concept in _EXTRAS and self.chance(0.35):
            return "historical"
        return "positive" if value else "negated"

    def state(self, section: str, place: float, concept: str, *, value: bool | None) -> None:
        if value is None or self.omitted():
            return
        self.say(section, place, (concept, self.polarity(concept, value=value)), concept)

    def tell_pain(self) -> None:
        facts = self.facts
        kind = "letter" if self.site.referral and self.chance(0.6) else "any"
        self.say("opening", 0, ("opening", kind))
        if self.chance(0.4):
            self.say("back", 0, ("onset", "any"))
        self.state("back", 1, "insidious", value=facts.insidious)
        self.state("back", 2, "trauma", value=facts.trauma)
        self.tell_movement()
        self.state("back", 5, "night_pain", value=facts.night_pain)
        self.state("back", 6, "morning_stiffness", value=self.stiff)
        self.state("back", 6.5, "alternating_buttock", value=facts.alternating_buttock)
        for place, topic in ((8, "pain"), (8.5, "fatigue")):
            if not self.chance(self.manner.omits + 0.15):
                self.say("back", place, (topic, "any"))

    @property
    def stiff(self) -> bool:
        return self.facts.morning_stiffness_min >= STIFF_FROM_MIN

    def tell_movement(self) -> None:
        facts = self.facts
        if self.chance(0.3):
            both = f"{facts.better_exercise:d}{facts.better_rest:d}"
            self.say("back", 3, ("movement", both))
            return
        self.state("back", 3, "better_exercise", value=facts.better_exercise)
        self.state("back", 4, "better_rest", value=facts.better_rest)

    def tell_extras(self) -> None:
        """Say what is there one by one, and what is not there in lists, as clinicians do."""
        absent: dict[str, list[str]] = {"extra": [], "exam": []}
        for k, concept in enumerate(_EXTRAS):
            value = cast("bool | None", getattr(self.facts, concept))
            if value is None or self.omitted():
                continue
            how = self.polarity(concept, value=value)
            certain = how in ("positive", "negated")
            examined = certain and concept in _ON_EXAMINATION and self.chance(0.4)
            section = "exam" if examined else "extra"
            if how == "negated":
                absent[section].append(concept)
            elif examined:
                self.say(section, k, (concept, "seen"), concept, "positive")
            else:
                self.say(section, k, (concept, how), concept)
        for section, concepts in absent.items():
            self.deny(section, concepts)

    def deny(self, section: str, concepts: list[str]) -> None:
        waiting = [concepts[k] for k in self.rng.permutation(len(concepts))] if concepts else []
        while waiting:
            size = self.whole(1, 4)
            group, waiting = waiting[:size], waiting[size:]
            if len(group) == 1 and self.chance(0.5):
                self.say(section, 7, (group[0], "negated"), group[0])
                continue
            nouns = [f"[{c}:{self.pick(_BANK[c, 'noun', self.style])}]" for c in group]
            if self.style == "n" or self.chance(0.5):
                listed = " or ".join([", ".join(nouns[:-1]), nouns[-1]] if nouns[1:] else nouns)
            else:
                listed = "/".join(nouns)
            kind = "exam" if section == "exam" else self.style
            phrase = self.pick(_BANK["none", kind, self.style])
            if "no {list}" in phrase:
                listed = listed.replace(":a ", ":")
            phrase = phrase.replace("{list}", listed)
            self.items.append(_Item(section, 7, self.render(phrase, "", "negated")))

    def tell_background(self) -> None:
        facts = self.facts
        family = facts.family_history
        headed = any(title in _FAMILY_HEADINGS for title, _ in self.site.sections)
        if family is False and headed and not self.omitted():
            pieces = self.render(
                self.pick(_BANK["family_history", "headed", self.style]),
                "family_history",
                "negated",
            )
            self.items.append(_Item("family", 0, pieces))
        elif not (family is False and headed):
            self.state("family", 0, "family_history", value=family)
        self.state("nsaid", 0, "nsaid_response", value=facts.nsaid_response)
        self.state("social", 0, "smoker", value=facts.smoker)
        if facts.age < 67:
            self.state("social", 1, "lifting_job", value=facts.lifting_job)

    def tell_plan(self) -> None:
        facts = self.facts
        signs = (
            facts.insidious + facts.better_exercise + (not facts.better_rest)
            + facts.night_pain + facts.alternating_buttock + (facts.morning_stiffness_min >= 30)
        )  # fmt: skip
        if self.chance(0.08 + 0.07 * signs):
            self.say("plan", 0, ("question", "ibp"), "inflammatory_back_pain", "hedged")
        elif self.chance(0.6):
            self.say("plan", 0, ("question", "gp" if self.site.referral else "clinic"))
        if self.chance(0.3):
            concept = self.pick(_RETURNS)
            self.say("plan", 9, ("return", concept), concept, "hypothetical")

    # Things beside the point

    def filler_kinds(self, section: str) -> tuple[str, ...]:
        facts = self.facts
        fits = {
            "any": True,
            "older": facts.age >= 40,
            "f": facts.sex == "f" and (18 if section == "drugs" else 28) <= facts.age < 48,
            "work": facts.age < 66,
            "gut": not facts.ibd,
            "eye": not facts.uveitis,
            "skin": not facts.psoriasis,
            "clinic": not self.site.referral,
            "gp": self.site.referral,
        }
        if section == "kin" and (facts.family_history is False or self.has_kin):
            return ()
        return tuple(k for k, ok in fits.items() if ok and (section, k, self.style) in _BANK)

    @property
    def has_kin(self) -> bool:
        return any(phrase in self.used for phrase in _BANK["kin", "any", self.style])

    def add_filler(self) -> None:
        section = self.pick(_FILLER_SECTIONS)
        kinds = self.filler_kinds(section)
        if not kinds:
            return
        kind = "any" if self.chance(0.6) and "any" in kinds else self.pick(kinds)
        where, place = ("family", 5.0) if section == "kin" else (section, 5.0 + self.rng.random())
        self.say(where, place, (section, kind))

    def close_gaps(self) -> None:
        """Say "nothing else" in a section without anything beside the point."""
        for section in ("pmh", "drugs"):
            if self.chance(0.4) and not any(item.section == section for item in self.items):
                self.say(section, 0, (section, "none"))

    def fit_length(self) -> None:
        """Add things beside the point up to a drawn length; drop statements above the limit."""
        target = self.whole(72, 150)
        for _ in range(60):
            if self.n_words >= target:
                break
            self.add_filler()
        self.close_gaps()
        while self.n_words > MAX_WORDS - 4:
            spare = [k for k, item in enumerate(self.items) if item.section != "opening"]
            del self.items[spare[self.whole(0, len(spare) - 1)]]

    @property
    def n_words(self) -> int:
        headings = sum(len(title.split()) for title, _ in self.site.sections)
        ends = len(self.site.head.split()) + len(self.site.foot.split()) + 2
        return sum(item.n_words for item in self.items) + headings + ends

    def write(self) -> tuple[str, list[Mention]]:
        self.tell_pain()
        self.tell_extras()
        self.tell_background()
        self.tell_plan()
        self.fit_length()
        return _assemble(list(self.laid_out()))

    def laid_out(self) -> Iterable[Piece]:
        """Yield the pieces of the note in order, with headings and stops."""
        if self.site.head:
            yield from self.render(self.site.head)
            yield ("\n", "", "")
        gap = "\n" if self.site.lines else " "
        for title, sections in self.site.sections:
            items = [
                item
                for name in sections
                for item in sorted(
                    (it for it in self.items if it.section == name),
                    key=lambda it: it.place + self.rng.normal(0, 0.7),
                )
            ]
            if not items:
                continue
            if title:
                yield (f"{title}: ", "", "")
            yield from self.joined(items)
            asks = items[-1].pieces[-1][0].endswith("?")
            if not (self.site.lines or self.style == "n" or asks):
                yield (".", "", "")
            yield (gap, "", "")
        yield (self.site.foot, "", "")

    def joined(self, items: list[_Item]) -> Iterable[Piece]:
        """Yield statements one after another, each closed by its own question mark or a stop."""
        capital = True
        for k, item in enumerate(items):
            yield from _capitalised(item.pieces) if capital else item.pieces
            stop = self.stop(last=k + 1 == len(items))
            asks = item.pieces[-1][0].endswith("?")
            capital = asks or stop == ". "
            yield (stop.lstrip(".;,") if asks else stop, "", "")

    def stop(self, *, last: bool) -> str:
        if last:
            return "." if self.style == "n" else ""
        if self.style == "n":
            return "; " if self.chance(0.1) else ". "
        return self.manner.separator


_LEADS = (
    "by {her} own account, ",
    "on asking, ",
    "as far as can be told, ",
    "in addition, ",
    "for completeness: ",
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "side": ("left", "right"),
    "kids": ("one child", "two children", "three children"),
    "floor": ("first", "second", "third"),
    "weekday": ("Tuesday", "Thursday", "Friday"),
    "toe": ("second", "third", "fourth"),
    "joint": ("knee", "ankle", "wrist", "knee"),
    "enthesis": ("iliac crest", "greater trochanter", "costosternal junction", "patellar tendon"),
    "kin_pso": ("[psoriasis/family:psoriasis]",),
    "kin_uve": ("[uveitis/family:uveitis]",),
    "kin_ibd": ("[ibd/family:<inflammatory bowel disease|IBD>]",),
}  # fmt: skip
_RANGES: dict[str, tuple[int, int]] = {
    "n": (2, 6),
    "clock": (3, 5),
    "cig": (4, 20),
    "hours": (5, 8),
    "kg": (15, 40),
    "sat": (96, 99),
    "km": (8, 60),
    "pulse": (56, 84),
}


_RELATIVES = ("mother", "father", "brother", "sister")
_ELDERS = (*_RELATIVES, "maternal grandmother", "paternal uncle", "maternal aunt")
_YOUNGER = (*_RELATIVES, "daughter", "son")
_DAILY_MG = {
    "naproxen": 1000, "ibuprofen": 2400, "diclofenac": 150, "etoricoxib": 90, "celecoxib": 400,
}  # fmt: skip


def _capitalised(pieces: list[Piece]) -> list[Piece]:
    (words, concept, polarity), *rest = pieces
    return [(words[:1].upper() + words[1:], concept, polarity), *rest]


def _assemble(pieces: Sequence[Piece]) -> tuple[str, list[Mention]]:
    """Return the text and where each concept is in it."""
    parts: list[str] = []
    mentions: list[Mention] = []
    length = 0
    for words, concept, polarity in pieces:
        if concept:
            mentions.append(
                Mention(concept, length, length + len(words), cast("Polarity", polarity))
            )
        parts.append(words)
        length += len(words)
    return "".join(parts).rstrip(), mentions


def write_note_with_mentions(
    facts: NoteFacts, rng: np.random.Generator
) -> tuple[str, list[Mention]]:
    """Return a note and every concept it names, with offsets and polarity.

    Parameters
    ----------
    facts : NoteFacts
        What is true of the patient.
    rng : Generator
        Chooses what is said and how; the same state gives the same note.

    Returns
    -------
    text : str
        60 to 180 words of English.
    mentions : list of Mention
        In the order of the text.

    Examples
    --------
    >>> from datetime import date
    >>> extras = ("uveitis", "psoriasis", "ibd", "enthesitis", "heel", "dactylitis", "arthritis",
    ...           "family_history", "nsaid_response", "smoker")
    >>> facts = NoteFacts(
    ...     age=34, sex="f", index_date=date(2021, 3, 12), onset_age=29.0, duration_months=60.0,
    ...     insidious=True, better_exercise=True, better_rest=False, night_pain=True,
    ...     alternating_buttock=False, morning_stiffness_min=45.0, **dict.fromkeys(extras),
    ...     trauma=False, lifting_job=False, pain_nrs=6.0, fatigue_nrs=5.0, site=1, author=2,
    ... )
    >>> text, mentions = write_note_with_mentions(facts, np.random.default_rng(0))
    >>> 60 <= len(text.split()) <= 180
    True
    >>> {m.polarity for m in mentions if m.concept == "night_pain"} <= {"positive", "hedged"}
    True
    """
    return _Scribe(facts, rng).write()


def write_note(facts: NoteFacts, rng: np.random.Generator) -> str:
    """Return the note alone; see `write_note_with_mentions`."""
    return write_note_with_mentions(facts, rng)[0]
