"""Which languages the local OCR can read: those whose every letter is among the model's characters.

Measured on PP-OCRv6 small (18,708 characters): no Cyrillic, Hangul, Arabic, Hebrew, Thai or Devanagari letter
at all, Greek without accents, Vietnamese without a third of its vowels. Text in those scripts comes back as
look-alike Latin or Chinese letters, so it is refused rather than returned. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpu_ops.contract import BadRequest

# BCP 47 primary language subtag -> English name
SUPPORTED_LANGUAGES = {
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "ms": "Malay",
    "nb": "Norwegian Bokmål",
    "nl": "Dutch",
    "nn": "Norwegian Nynorsk",
    "no": "Norwegian",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "tr": "Turkish",
    "zh": "Chinese",
}


def check_languages(languages: Sequence[str]) -> None:
    """Raise BadRequest naming the languages that the local OCR cannot read; "auto" and an empty list are
    fine.
    """
    unreadable = [tag for tag in languages if tag != "auto" and _primary(tag) not in SUPPORTED_LANGUAGES]
    if unreadable:
        raise BadRequest(
            f"the local OCR cannot read {', '.join(map(repr, unreadable))}; it reads "
            f"{', '.join(sorted(SUPPORTED_LANGUAGES))}. "
            "Use an OCR engine that knows the script, such as Google Vision."
        )


def _primary(tag: str) -> str:
    return tag.replace("_", "-").split("-")[0].lower()
