"""Random captions in many scripts, and the near-identical ones a pair model must tell apart.

Chinese characters are those of GB 2312 level 1 (3,755 common ones), half of the draws among the few hundred
most frequent; English words come from Python's own language reference; other scripts draw letters from their
Unicode block, which is enough to learn shapes.
"""

from __future__ import annotations

import functools
import random
import re
import string
from pydoc_data import topics

COMMON_CHINESE = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学如都同现当"
    "没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手"
    "应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平"
    "系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却"
    "界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笑飞风步改收根干造言联持组每"
)
GERMAN = (
    "ich habe nicht gewusst dass wir schon über die Straße müssen aber vielleicht könnte er später für "
    "uns größer werden Mädchen während natürlich zurück gehört"
)
FRENCH = (
    "je ne sais pas où elle était hier mais peut-être qu'il fallait déjà répondre à cette lettre très "
    "étrange français garçon même après leçon voilà château"
)
SPANISH = (
    "no sé dónde está mañana pero quizás él también quería volver así que después niño corazón según "
    "nadie todavía mamá señor aquí adiós también cuándo"
)
VIETNAMESE = (
    "tôi không biết điều đó nhưng chúng ta phải đi ngay bây giờ người đàn ông đã nói rằng những năm "
    "trước với một được"
)
RUSSIAN = (
    "я не знаю где он был вчера но может быть она уже ответила на это письмо человек время жизнь "
    "сегодня большой потому хорошо только ничего никогда деньги слушай пожалуйста спасибо вместе дорога "
    "город любовь объект съёмка ещё щека"
)
UKRAINIAN = (
    "я не знаю де він був учора але може бути вона вже відповіла це людина час життя сьогодні великий "
    "тому добре тільки нічого гроші їжак ґанок"
)
GREEK = (
    "δεν ξέρω πού ήταν χθες αλλά ίσως έχει ήδη απαντήσει σε αυτό το γράμμα άνθρωπος ζωή σήμερα μεγάλος "
    "γιατί καλά μόνο τίποτα ποτέ"
)

LETTER_RANGES = {
    "arabic": [(0x0627, 0x063A), (0x0641, 0x064A)],
    "hebrew": [(0x05D0, 0x05EA)],
    "devanagari": [(0x0915, 0x0939), (0x0905, 0x0914)],
    "thai": [(0x0E01, 0x0E2E), (0x0E40, 0x0E44)],
    "bengali": [(0x0995, 0x09A8), (0x0985, 0x098B)],
    "tamil": [(0x0B95, 0x0B95), (0x0BA3, 0x0BA4), (0x0BAE, 0x0BB5), (0x0B85, 0x0B8A)],
    "georgian": [(0x10D0, 0x10F0)],
    "ethiopic": [(0x1200, 0x1206), (0x1210, 0x1246), (0x1260, 0x1286)],
    "hiragana": [(0x3042, 0x3093)],
    "katakana": [(0x30A2, 0x30F3)],
    "hangul": [(0xAC00, 0xD7A3)],
}


@functools.cache
def _english_words() -> tuple[str, ...]:
    text = " ".join(topics.topics.values())
    return tuple(re.findall(r"\b[a-z]{1,12}\b", text))


@functools.cache
def _level_one_chinese() -> str:
    rows = (bytes((row, column)) for row in range(0xB0, 0xD8) for column in range(0xA1, 0xFF))
    return "".join(code.decode("gb2312", errors="ignore") for code in rows)


def _letters(rng: random.Random, block: str, count: int) -> str:
    ranges = LETTER_RANGES[block]
    return "".join(chr(rng.randint(*rng.choice(ranges))) for _ in range(count))


def _chinese(rng: random.Random, count: int) -> str:
    rare = _level_one_chinese()
    return "".join(rng.choice(COMMON_CHINESE if rng.random() < 0.5 else rare) for _ in range(count))


def _words(rng: random.Random, script: str, length: int) -> str:
    """About `length` letters of space-separated words."""
    lists = {
        "latin": (_english_words(),) * 4 + tuple(s.split() for s in (GERMAN, FRENCH, SPANISH, VIETNAMESE)),
        "cyrillic": (RUSSIAN.split(), RUSSIAN.split(), UKRAINIAN.split()),
        "greek": (GREEK.split(),),
    }
    words: list[str] = []
    source = rng.choice(lists[script]) if script in lists else None
    while sum(map(len, words)) + len(words) < length:
        words.append(rng.choice(source) if source else _letters(rng, script, rng.randint(2, 7)))
    text = " ".join(words)
    case = rng.random()
    return text.upper() if case < 0.12 else text.capitalize() if case < 0.8 else text


def caption(rng: random.Random, script: str, length: int) -> str:
    """One line of about `length` letters (CJK: half as many characters) in `script`."""
    if script == "chinese":
        text = _chinese(rng, max(1, length // 2))
        if rng.random() < 0.3 and len(text) > 5:
            cut = rng.randint(2, len(text) - 2)
            text = text[:cut] + rng.choice("，、 ： ") + text[cut:]
        return text + rng.choice(["", "", "", "。", "？", "！", "…"])
    if script == "japanese":
        parts = [
            rng.choice([_letters(rng, "hiragana", 3), _letters(rng, "katakana", 4), _chinese(rng, 2)])
            for _ in range(max(1, length // 6))
        ]
        return "".join(parts) + rng.choice(["", "", "。", "！"])
    if script == "korean":
        return " ".join(_letters(rng, "hangul", rng.randint(1, 4)) for _ in range(max(1, length // 6)))
    text = _words(rng, script, length)
    if script in ("latin", "cyrillic", "greek"):
        if rng.random() < 0.15:
            text = "- " + text
        if rng.random() < 0.2:
            middle = rng.randint(0, len(text) - 1)
            text = text[:middle] + str(rng.randint(1, 2050)) + text[middle:]
        text += rng.choice(["", ".", ",", "?", "!", "...", ".", "—"])
    return text


def one_character_apart(rng: random.Random, text: str, script: str) -> str:
    """`text` with exactly one visible character replaced, added or removed."""
    places = [i for i, letter in enumerate(text) if not letter.isspace()]
    place = rng.choice(places)
    alphabet = {
        "chinese": COMMON_CHINESE,
        "japanese": COMMON_CHINESE,
        "latin": string.ascii_lowercase,
        "cyrillic": "абвгдежзиклмнопрстуфхцчшщыэюя",
        "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    }.get(script)
    while True:
        letter = (
            rng.choice(alphabet) if alphabet else _letters(rng, "hangul" if script == "korean" else script, 1)
        )
        if letter != text[place].lower():
            break
    action = rng.random()
    if action < 0.7:
        return text[:place] + letter + text[place + 1 :]
    if action < 0.85 or len(places) < 3:
        return text[:place] + letter + text[place:]
    return text[:place] + text[place + 1 :]
