"""Which languages an OCR engine can read, asked before any of it is paid for, and what to say of text that it
could not. Standard library only.

The local OCR reads those whose every letter is among the model's characters. Measured on PP-OCRv6 small
(18,708 characters): no Cyrillic, Hangul, Arabic, Hebrew, Thai or Devanagari letter at all, Greek without
accents, Vietnamese without a third of its vowels. Text in those scripts comes back as look-alike Latin or
Chinese letters, so it is refused rather than returned.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpu_ops.contract import BadRequest, OcrEngineName

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


# The supported ones of cloud.google.com/vision/docs/languages; any other hint makes Vision refuse the image.
_GOOGLE_VISION = (
    "af ar be bg bn ca cs da de el en es et fa fi fil fr gu hi hr hu hy id is it iw ja km kn ko lo lt lv mk "
    "ml mr ms ne nl no pa pl pt ro ru sk sl sq sr sv ta te th tl tr uk vi yi zh"
)
# What Vision calls differently: Hebrew by its old tag, either Norwegian by the macrolanguage's.
_GOOGLE_TAGS = {"he": "iw", "nb": "no", "nn": "no"}

ILLEGIBLE = "there is text here that this OCR engine cannot read (a script it does not know?)"
USE_GOOGLE_VISION = "set CAPTIONACC_OCR_ENGINE=google_vision, which has Google Vision read them."


def check_languages(languages: Sequence[str], engine: OcrEngineName) -> None:
    """Raise BadRequest naming the languages that the engine cannot read; "auto" and no language are fine."""
    if engine == "google_vision":
        known = set(_GOOGLE_VISION.split())
        refusal = (
            "Google Vision does not read {}. Its languages are listed at "
            "https://cloud.google.com/vision/docs/languages; correct the video's with --lang."
        )
        unreadable = [tag for tag in languages if _google_tag(tag) not in {*known, "auto"}]
    else:
        known = ", ".join(sorted(SUPPORTED_LANGUAGES))
        refusal = f"the local OCR cannot read {{}}; it reads {known}. For other languages {USE_GOOGLE_VISION}"
        unreadable = [tag for tag in languages if primary(tag) not in {*SUPPORTED_LANGUAGES, "auto"}]
    if unreadable:
        raise BadRequest(refusal.format(", ".join(map(repr, unreadable))))


def google_hints(languages: Sequence[str]) -> list[str]:
    """Language hints for Google Vision; none lets it find out by itself."""
    return list(dict.fromkeys(_google_tag(tag) for tag in languages if primary(tag) != "auto"))


def _google_tag(tag: str) -> str:
    return _GOOGLE_TAGS.get(primary(tag), primary(tag))


def primary(tag: str) -> str:
    """The language itself of a BCP 47 tag: "pt" of "pt-BR"."""
    return tag.replace("_", "-").split("-")[0].lower()


def reading_warnings(errors: Sequence[str | None]) -> list[str]:
    """Sentences for the video's owner, given of each caption why it could not be read (None: it was)."""
    illegible = sum(error == ILLEGIBLE for error in errors)
    failed = sum(error is not None for error in errors) - illegible
    warnings: list[str] = []
    if illegible:
        warnings.append(
            f"{illegible} of {len(errors)} captions hold text that the local OCR cannot read; when they are "
            "on screen is known. It reads Latin, Chinese and Japanese letters, not Cyrillic, Korean, Arabic, "
            f"Thai or Indian ones: {USE_GOOGLE_VISION}"
        )
    if failed:
        warnings.append(f"Reading failed for {failed} of {len(errors)} captions; they are marked as errors.")
    return warnings
