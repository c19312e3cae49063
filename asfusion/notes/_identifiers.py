"""What identifies people in a note: names, numbers, places, institutions.

Each recogniser reads what stands around an identifier, a title, a heading, the form of a
number, never a list of all names: a person's name may be any word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

Found = tuple[int, int, str]

_CAPITAL = r"(?:[A-ZÀ-ÖØ-ÞĀ-Ž](?:[\w]|['’‑-](?=\w))+)"
_PARTICLE = r"(?:van|von|der|den|de|da|di|del|della|dos|la|le|ter|ten|zu|bin|al|el|y|af)"
_INITIAL = r"(?:[A-Z]\.?)"
_PERSON = rf"{_CAPITAL}(?:[ ](?:{_INITIAL}[ ])?(?:{_PARTICLE}[ ]){{0,2}}{_CAPITAL}){{0,2}}"
_FULL = rf"(?:(?:{_INITIAL}[ ]){{0,2}}(?:{_PARTICLE}[ ]){{0,2}}{_PERSON})"
_TITLE = (
    r"(?:Dr|Drs|Prof|Professor|Doctor|Mr|Mrs|Ms|Miss|Mx|Sir|Dame|Nurse|Sister|Herr|Frau|PD|Priv\.-Doz"
    r"|Consultant|Registrar|Mme|M|Sr|Sra)"
)
_ROLE = (
    r"(?:patient(?:'s)? name|patient|name|surname|first name|last name|family name|given name|pt|re"
    r"|cc|signed(?: by)?|dictated by|typed by|reported by|authori[sz]ed by|electronically signed by"
    r"|attending|physician|referring physician|referrer|referred by|gp|general practitioner"
    r"|consultant|radiologist|rheumatologist|provider|next of kin|contact|emergency contact|author)"
)
_VERB = (
    r"(?:seen by|reviewed by|discussed with|spoke (?:to|with)|referred by|referred to|accompanied by"
    r"|operated by|treated by|under the care of|cared for by|examined by|informed|d/w|called"
    r"|lives with|married to|named|called)"
)
_KIN = (
    r"(?:wife|husband|partner|mother|father|son|daughter|brother|sister|uncle|aunt|cousin|friend"
    r"|colleague|girlfriend|boyfriend|neighbour|neighbor|carer|employer)"
)
_NAMES = (
    rf"\b{_TITLE}\b\.?(?:[ ]+(?:med|Dr|Prof|rer|nat|h\.c)\b\.?)*[ ]+(?P<name>{_FULL})",
    rf"(?im:^[ \t]*{_ROLE}[ \t]*[:#][ \t]*)(?P<name>{_FULL}|{_CAPITAL},[ ]{_CAPITAL}(?:[ ]{_INITIAL})?)",
    rf"(?i:\b(?:patient(?: name)?|name|re|cc|signed|dictated by|attending|gp|consultant|next of kin):[ ]*)"
    rf"(?P<name>{_CAPITAL},[ ]{_CAPITAL}|{_FULL})",
    rf"\bDear[ ]+(?:(?:{_TITLE}\.?|[Cc]olleague)[ ]+)*(?P<name>{_FULL})",
    rf"(?i:\b(?:regards|sincerely|faithfully|truly|wishes|thanks|grüßen?),?)[ ]*\n+[ \t]*(?P<name>{_FULL})",
    rf"(?i:\b{_VERB})[ ]+(?:(?:my|our|the|his|her)[ ](?:[a-z]+[ ]){{1,2}})?(?:{_TITLE}\.?[ ]+)*(?P<name>{_FULL})",
    rf"(?i:\b{_KIN}),?[ ](?:(?i:called|named)[ ])?\(?(?P<name>{_FULL})",
    rf"\b(?P<name>{_FULL}),?[ ](?:MD|PhD|FRCP|MRCP|RN|DO|MBBS|MBChB)\b",
    rf"\b(?P<name>{_CAPITAL}(?:[ ]{_CAPITAL}){{1,2}})[ ]?(?:,|\(|is|was)[ ]?(?:an?[ ])?\d{{1,3}}[ -]?(?:years?|y/?o|-year)",
    rf"\b(?P<name>{_CAPITAL},[ ]{_CAPITAL})(?=[ ,]*\(?(?:DOB|born|MRN|\d))",
)
_IDENTIFIERS = (
    r"(?i:\b(?:mrn|medical record(?: (?:no|number))?|record (?:no|number)|hosp(?:ital)?\.? (?:no|number|id)"
    r"|patient (?:id|no|number)|pat\.?-?(?:nr|id)|nhs(?: (?:no|number))?|ssn|social security(?: (?:no|number))?"
    r"|case (?:no|number|id)|accession(?: (?:no|number))?|insurance (?:no|number|id)|policy (?:no|number)"
    r"|account (?:no|number)|licen[cs]e (?:no|number)|passport(?: (?:no|number))?|study id|visit id"
    r"|sample (?:no|number|id)|fall-?nr|chi|id|serial (?:no|number)|ref(?:erence)?(?: (?:no|number))?))\b"
    r"[ .:#]*(?:is[ ])?(?P<id>[A-Z]{0,4}[-/]?\d[\w/-]*(?:[ ]\d{2,}){0,3})",
    r"(?<![\d-])(?P<id>\d{3}-\d{2}-\d{4})(?![\d-])",
    r"(?<![\d.,])(?P<id>\d{3} \d{3} \d{4})(?![\d.,])",
    r"(?<![\w.,-])(?P<id>\d{7,12})(?![\w]|[.,]\d)",
    r"(?<![\w-])(?P<id>[A-Z]{1,3}\d{5,12})(?![\w-])",
    r"(?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b)",
    r"#(?P<id>\d{4,})",
)
_PHONES = (
    r"(?i:\b(?:tel(?:ephone)?|phone|ph|fax|mobile|cell|mob|pager|bleep|direct line|call)\b)[ .:]*(?:(?:on|at|is)[ ])?"
    r"(?P<phone>\+?\(?\d[\d ()./-]{3,}\d(?:[ ]?(?i:x|ext\.?)[ ]?\d+)?)",
    r"(?<![\w.])(?P<phone>\+\d{1,3}[ ()./-]*\d[\d ()./-]{5,}\d(?:[ ]?(?i:x|ext\.?)[ ]?\d+)?)",
    r"(?<![\w.])(?P<phone>\(\d{2,5}\)[ -]?\d{3,4}[ -]?\d{3,4}(?:[ ]?(?i:x|ext\.?)[ ]?\d+)?)(?!\d)",
    r"(?<![\w./-])(?P<phone>(?:\d-)?\d{3}[-.]\d{3}[-.]\d{4}(?:[ ]?(?i:x|ext\.?)[ ]?\d+)?)(?![\d-])",
    r"(?<![\w.])(?P<phone>0\d{2,5}[ /-]\d{3,}(?:[ -]?\d{2,})*)(?![\w%])",
)
_WEB = (
    (r"(?P<email>[\w.+%-]+@[\w-]+(?:\.[\w-]+)+)", "email"),
    (r"(?P<url>\b(?:https?://|www\.)[^\s<>\"')]+)", "url"),
    (r"(?<![\d.])(?P<url>(?:\d{1,3}\.){3}\d{1,3})(?![\d.])", "url"),
)
_WAY = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Court|Ct|Square|Sq|Place|Pl|Close|Way|Boulevard|Blvd"
    r"|Terrace|Crescent|Gardens|Grove|Mews|Parkway|Pike|Highway|Row|Hill|Park|Trail|Circle|Alley|Walk"
    r"|Points?|Islands?|Ridges?|Views?|Mills?|Ports?|Plaza|Path|Loop|Springs?|Groves?|Fields?|Forks?)"
)
_COUNTRY_STATE = r"[A-Z]{2}[ ]\d{5}(?:-\d{4})?"
_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]?[ ]?\d[A-Z]{2}"
_TOWN = rf"{_CAPITAL}(?:[ ](?:am|an der|upon|on|in|de|la)?[ ]?{_CAPITAL}){{0,2}}"
_PLACES = (
    rf"(?P<place>\b\d{{1,5}}[A-Za-z]?,?[ ]{_CAPITAL}(?:[ ]{_CAPITAL}){{0,2}}[ ]{_WAY}\b\.?(?:,?[ ](?:Apt|Suite|Flat|Unit)\.?[ ]\w+)?)",
    rf"(?P<place>\b(?:[A-ZÄÖÜ][\wäöüß-]*(?:straße|strasse|str\.|weg|gasse|allee|platz|ring|damm)|"
    rf"(?:Rue|Via|Calle|Avenue)[ ](?:de[ ]|la[ ]|du[ ]|des[ ])*{_CAPITAL})[ ]\d{{1,4}}[a-z]?)",
    rf"(?P<place>\b{_TOWN},[ ]{_COUNTRY_STATE})",
    rf"(?P<place>\b{_POSTCODE}\b)(?![ ]?mg)",
    rf"(?P<place>(?<!\d)\d{{5}}[ ]{_TOWN})",
    rf"(?i:\b(?:lives? in|living in|lived in|resid(?:es|ent|ing) (?:in|of)|moved (?:to|from)|born in|comes from|is from"
    rf"|originally from|travel+(?:s|ed|ing)? (?:to|from)|holiday in|returned from|commutes (?:to|from)|grew up in"
    rf"|works in|worked in|flew to|trip to|home in|near|emigrated from|based in|visiting|address:))[ ]+"
    rf"(?:the[ ])?(?P<place>{_TOWN})",
)
_HOUSE = (
    r"(?:(?:University |General |Memorial |Regional |District |Community |Children's |Royal |City |County )*"
    r"(?:Hospitals?|Clinics?|Infirmary|Medical Cent(?:er|re)|Health Cent(?:er|re)|Medical School|Surgery"
    r"|Medical Practice|Practice|Polyclinic|Sanatorium|Hospice|Rehabilitation Cent(?:er|re)|Rehab|Trust"
    r"|University|College|School|Institute|Laborator(?:y|ies)|Pharmacy|Care Home|Nursing Home|Radiology"
    r"|Klinik|Klinikum|Krankenhaus|Praxis|Universität|Ltd|LLC|Inc|GmbH|PLC|plc|Group|and Sons|Company|Factory))"
)
_INSTITUTIONS = (
    rf"(?P<house>\b(?:(?:St\.?|Saint|Mount|Mt\.?|The)[ ])?{_CAPITAL}(?:(?:[ ]|, |-)(?:(?:and|of|&|for)[ ])?{_CAPITAL}){{0,4}},?[ ]{_HOUSE}\b)",
    rf"(?P<house>\b(?:University |General |Royal |Medical |Children's )*(?:Hospital|Clinic|Infirmary|University|Institute|College|School"
    rf"|Klinikum|Universitätsklinikum|Krankenhaus|Charité)(?: Hospital| Clinic)?[ ](?:of|at|for|in|der|zu|am)?[ ]?{_TOWN})",
    r"(?P<house>\b(?:Universitätsklinikum|Uniklinik|Kreisklinik|Rheumazentrum|Klinikum)[ ][A-ZÄÖÜ]\w+)",
    rf"(?i:\b(?:works (?:at|for)|employed (?:at|by)|employer:|teaches at|student at))[ ](?P<house>{_CAPITAL}(?:(?:[ ]|, |-)(?:(?:and|&)[ ])?{_CAPITAL}){{0,4}})",
)
_AGES = (r"(?<![\d.])(?P<age>(?:9\d|1[01]\d))(?=[ -]?(?:years?|yrs?|y/?o|yo)\b|[ -]year-old)",)

# Words with a capital that are no names: openings of sentences, headings, medicine's eponyms.
_NO_NAME = frozenset(
    """the this that these those he she they it his her their we i you my our no not and or but with without
    on in at of for from by to as is was were has had are be if so then since after before during patient
    pain back history plan examination exam assessment impression diagnosis date dob mrn age sex male female
    left right bilateral mri ct xray crp esr hla uveitis psoriasis crohn crohns achilles schober bechterew
    sjogren sjögren behcet behçet reiter patrick gaenslen bath who asas asdas basdai basfi basmi nsaid nsaids
    dr mr mrs ms prof professor doctor nurse clinic hospital ward department rheumatology radiology orthopaedics
    dermatology ophthalmology physiotherapy general practitioner gp colleague sir madam team monday tuesday
    wednesday thursday friday saturday sunday january february march april may june july august september
    october november december today yesterday tomorrow currently morning stiffness known new old previous past
    family denies reports none nil negative positive normal thank please kind best yours dear regards sincerely
    years year months weeks days start stop continue review follow repeat both all any medication medications
    ibuprofen naproxen diclofenac etoricoxib celecoxib adalimumab etanercept infliximab secukinumab methotrexate
    sulfasalazine prednisolone paracetamol vitamin working works lives smoker smokes nonsmoker allergies allergy
    phone tel fax email address id nhs ssn re cc signed name consultant registrar unknown yes
    physio pt gait spine hips sij si joint joints lumbar cervical thoracic hip knee""".split()
)


def find_identifiers(text: str) -> Iterator[Found]:
    """Yield start, end and category of what looks like an identifier, overlaps included."""
    for pattern, name in _WEB:
        yield from _spans(pattern, name, text, name.upper())
    for pattern in _PHONES:
        for start, end, _ in _spans(pattern, "phone", text, "PHONE"):
            if sum(c.isdigit() for c in text[start:end]) >= 5:
                yield start, end, "PHONE"
    for pattern in _IDENTIFIERS:
        yield from _spans(pattern, "id", text, "ID")
    for pattern in _INSTITUTIONS:
        yield from _spans(pattern, "house", text, "INSTITUTION")
    for pattern in _PLACES:
        for start, end, _ in _spans(pattern, "place", text, "PLACE"):
            if _trimmed(text, start, end) == (start, end):
                yield start, end, "PLACE"
    for pattern in _AGES:
        yield from _spans(pattern, "age", text, "AGE")


def find_names(text: str) -> Iterator[Found]:
    """Yield names that a title, a heading or a phrase points to."""
    for pattern in _NAMES:
        for start, end, _ in _spans(pattern, "name", text, "NAME"):
            first, last = _trimmed(text, start, end)
            if first < last:
                yield first, last, "NAME"


def spread_names(text: str, names: Iterable[str]) -> Iterator[Found]:
    """Yield every other place of the words of names that were found or given."""
    words = {
        word
        for name in names
        for word in re.findall(r"[^\W\d_](?:[\w]|['’‑-](?=\w))+", name)
        if len(word) > 2 and word.lower() not in _NO_NAME
    }
    particles = re.compile(rf"{_PARTICLE}$")
    kept = sorted((w for w in words if not particles.match(w)), key=len, reverse=True)
    yield from find_terms(text, kept, "NAME", ignore_case=False)


def find_terms(
    text: str, terms: Sequence[str], category: str, *, ignore_case: bool = True
) -> Iterator[Found]:
    """Yield the places of given words, also in capitals."""
    if not terms:
        return
    spelled = dict.fromkeys([*terms, *(t.upper() for t in terms)])
    joined = "|".join(re.escape(term) for term in spelled)
    pattern = re.compile(rf"(?<!\w)(?:{joined})(?!\w)", re.IGNORECASE if ignore_case else 0)
    for match in pattern.finditer(text):
        yield match.start(), match.end(), category


def _spans(pattern: str, group: str, text: str, category: str) -> Iterator[Found]:
    for match in re.finditer(pattern, text):
        yield match.start(group), match.end(group), category


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a name without the words at its ends that are none."""
    words = [(start + m.start(), start + m.end()) for m in re.finditer(r"\S+", text[start:end])]
    plain = [re.sub(r"\W", "", text[a:b]).lower() for a, b in words]
    while words and (plain[0] in _NO_NAME or not plain[0]):
        words, plain = words[1:], plain[1:]
    for number, word in enumerate(plain):
        if word in _NO_NAME:
            words = words[:number]
            break
    return (words[0][0], words[-1][1]) if words else (start, start)
