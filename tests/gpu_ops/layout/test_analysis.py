"""Boxes of films of many kinds: which are found to be captions, and is every caption inside the crop."""

import math
import random
from dataclasses import dataclass, field, replace

import pytest

from gpu_ops.layout.analysis import (
    Analysis,
    CaptionRowModel,
    analyse_boxes,
    classify,
    further_look_times,
    suggest_probe_times,
)
from gpu_ops.layout.boxes import Anchor, Label
from gpu_ops.layout.evidence import SeenFrame
from gpu_ops.ocr.engine import OcrBox
from gpu_ops.regions import CropRegion

WORDS = [
    "the",
    "rain",
    "in",
    "a",
    "station",
    "where",
    "nobody",
    "knew",
    "what",
    "she",
    "had",
    "meant",
    "by",
    "it",
    "until",
    "winter",
    "came",
    "again",
]


SIDES: list[tuple[Anchor, float]] = [("left", 0.06), ("right", 0.94)]


@dataclass
class Film:
    """Full frames of a film: methods add what stands in them, captions are remembered as truth."""

    frame_count: int = 36
    width: int = 1920
    height: int = 1080
    step: float = 10.0
    seed: int = 1
    boxes: dict[int, list[OcrBox]] = field(default_factory=dict)
    captions: list[OcrBox] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.boxes = {number: [] for number in range(self.frame_count)}

    def sentence(self, least: int = 2, most: int = 9) -> str:
        return " ".join(self.random.choice(WORDS) for _ in range(self.random.randint(least, most)))

    def line(self, text: str, at: float, middle: float, height: float, anchor: Anchor = "center") -> OcrBox:
        """A line of text whose letters are half as wide as it is high, with a detector's jitter."""
        wide = len(text) * height * 0.45 * self.height / self.width
        left = {"center": at - wide / 2, "left": at, "right": at - wide}[anchor]
        jitter = [self.random.gauss(0, 0.03 * height) for _ in range(4)]
        edges = (left, middle - height / 2, left + wide, middle + height / 2)
        left, top, right, bottom = (
            min(1.0, max(0.0, edge + shake)) for edge, shake in zip(edges, jitter, strict=True)
        )
        return OcrBox(text, 0.95, left, top, right, bottom)

    def with_captions(
        self,
        middle: float = 0.9,
        height: float = 0.05,
        share: float = 0.7,
        anchor: Anchor = "center",
        at: float = 0.5,
        two_lines: float = 0.0,
        second_height: float | None = None,
        most: int = 9,
    ) -> "Film":
        for boxes in self.boxes.values():
            if self.random.random() > share:
                continue
            lines = [self.line(self.sentence(most=most), at, middle, height, anchor)]
            if self.random.random() < two_lines:
                small = second_height or height
                above = middle - 0.65 * (height + small)
                lines.append(self.line(self.sentence(most=most), at, above, small, anchor))
            boxes += lines
            self.captions += lines
        return self

    def with_speakers(self, middle: float = 0.9, height: float = 0.05, most: int = 7) -> "Film":
        """Captions on the speaker's side of the frame, left or right."""
        for boxes in self.boxes.values():
            anchor, at = self.random.choice(SIDES)
            line = self.line(self.sentence(most=most), at, middle, height, anchor)
            boxes.append(line)
            self.captions.append(line)
        return self

    def with_logo(self) -> "Film":
        for boxes in self.boxes.values():
            boxes.append(self.line("NEWS CHANNEL", 0.03, 0.07, 0.05, "left"))
        return self

    def with_watermark(self, frames: slice = slice(None), joins: bool = True) -> "Film":
        """A name to the right in the captions' row; OCR joins it with captions that come near it."""
        for boxes in list(self.boxes.values())[frames]:
            mark = self.line("STARVIEW", 0.8, 0.9, 0.04)
            near = next((box for box in boxes if box in self.captions and mark.left - box.right < 0.07), None)
            if near is None:
                boxes.append(mark)
                continue
            joined = replace(near, right=mark.right, text=f"{near.text} sTARVIEW" if joins else near.text)
            boxes[boxes.index(near)] = self.captions[self.captions.index(near)] = joined
        return self

    def with_clock(self) -> "Film":
        for number, boxes in self.boxes.items():
            boxes.append(self.line(f"{number:02d}:{number * 7 % 60:02d}", 0.93, 0.93, 0.04))
        return self

    def with_count(self, at: float, middle: float, text: str = "Repetition {} of 30") -> "Film":
        """A line that stays but for the number in it."""
        for number, boxes in enumerate(self.boxes.values(), 1):
            boxes.append(self.line(text.format(number), at, middle, 0.05))
        return self

    def with_ticker(self) -> "Film":
        for boxes in self.boxes.values():
            boxes.append(OcrBox(self.sentence(12, 16), 0.9, 0.0, 0.955, 1.0, 0.99))
        return self

    def with_scene_text(self, per_frame: int = 3) -> "Film":
        for boxes in self.boxes.values():
            for _ in range(self.random.randint(0, per_frame)):
                boxes.append(
                    self.line(
                        self.sentence(1, 3),
                        self.random.uniform(0.1, 0.9),
                        self.random.uniform(0.05, 0.95),
                        self.random.uniform(0.02, 0.12),
                    )
                )
        return self

    def with_credits(self, frames: int = 4) -> "Film":
        for number in list(self.boxes)[-frames:]:
            self.boxes[number] = [
                self.line(self.sentence(2, 4), 0.5, middle / 20, 0.035) for middle in range(3, 18)
            ]
        return self

    def analysed(self, labels: dict[tuple[int, int], Label] | None = None) -> Analysis:
        frames = [SeenFrame(n * self.step, boxes, index=n * 100) for n, boxes in self.boxes.items()]
        return analyse_boxes(frames, width=self.width, height=self.height, labels=labels)


def wrongly_labelled(film: Film, analysis: Analysis) -> list[str]:
    truth = {id(box) for box in film.captions}
    return [
        f"{box.predicted_label}: {box.box.text}"
        for box in analysis.boxes
        if (box.predicted_label == "in") != (id(box.box) in truth)
    ]


def share_inside(film: Film, region: CropRegion | None) -> float:
    assert region is not None
    inside = [
        box
        for box in film.captions
        if box.left >= region.left
        and box.right <= region.right
        and box.top >= region.top
        and box.bottom <= region.bottom
    ]
    return len(inside) / len(film.captions)


def parts_of(analysis: Analysis) -> tuple[CropRegion, ...]:
    assert analysis.layout.region is not None
    return analysis.layout.region.parts


def distracted(film: Film) -> Film:
    return film.with_logo().with_clock().with_ticker().with_scene_text()


FILMS = {
    "one line at the bottom": lambda seed: Film(seed=seed).with_captions(),
    "with logo, clock, ticker and scene text": lambda seed: distracted(
        Film(seed=seed).with_captions(middle=0.86)
    ),
    "some captions of two lines": lambda seed: distracted(
        Film(seed=seed).with_captions(middle=0.86, two_lines=0.25)
    ),
    "bilingual, the second smaller": lambda seed: (
        Film(seed=seed).with_captions(two_lines=1.0, second_height=0.03).with_logo()
    ),
    "at the top": lambda seed: Film(seed=seed).with_captions(middle=0.08).with_scene_text().with_clock(),
    "portrait": lambda seed: (
        Film(width=1080, height=1920, seed=seed)
        .with_captions(middle=0.75, height=0.025, most=5)
        .with_scene_text()
    ),
    "left-aligned": lambda seed: Film(seed=seed).with_captions(anchor="left", at=0.12).with_scene_text(),
    "sparse captions in a long film": lambda seed: (
        Film(frame_count=150, seed=seed)
        .with_captions(share=0.15)
        .with_scene_text()
        .with_logo()
        .with_credits()
    ),
    "on the speaker's side": lambda seed: Film(seed=seed).with_speakers(),
    "on the speaker's side, in a street": lambda seed: (
        Film(seed=seed).with_speakers(middle=0.86).with_scene_text().with_logo()
    ),
    "large captions in the middle": lambda seed: Film(seed=seed).with_captions(
        middle=0.6, height=0.1, most=4
    ),
    "closing credits": lambda seed: Film(seed=seed).with_captions(share=0.5).with_credits(),
}


@pytest.mark.parametrize("kind", FILMS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_captions_are_told_from_everything_else_and_lie_inside_the_crop(kind: str, seed: int):
    film = FILMS[kind](seed)
    analysis = film.analysed()
    assert share_inside(film, analysis.layout.region) == 1.0
    wrong = wrongly_labelled(film, analysis)
    assert len(wrong) <= 0.03 * len(analysis.boxes), wrong
    assert len(parts_of(analysis)) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("share", "middle"), [(0.5, 0.08), (0.2, 0.08), (0.3, 0.15)])
def test_a_second_place_of_captions_is_cropped_too(seed: int, share: float, middle: float):
    film = distracted(Film(seed=seed).with_captions(middle=0.86))
    there = Film(seed=seed + 10).with_captions(middle=middle, share=share)
    for number, boxes in there.boxes.items():
        film.boxes[number] += boxes
    analysis = film.analysed()
    above, below = parts_of(analysis)
    assert share_inside(film, below) == 1.0
    assert share_inside(there, above) == 1.0
    film.captions += there.captions
    wrong = wrongly_labelled(film, analysis)
    assert len(wrong) <= 0.03 * len(analysis.boxes), wrong


def covers_of(analysis: Analysis) -> list[tuple[float, float, float, float]]:
    assert analysis.model is not None
    return CaptionRowModel.from_bytes(analysis.model.data).covers


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_watermark_in_the_row_of_the_captions_is_covered_and_no_part_of_them(seed: int):
    film = Film(seed=seed).with_captions(middle=0.9, most=5).with_watermark()
    analysis = film.analysed()
    ((left, top, right, bottom),) = covers_of(analysis)
    mark = film.line("STARVIEW", 0.8, 0.9, 0.04)
    assert left < mark.left < mark.right < right
    assert top < mark.top < mark.bottom < bottom
    (region,) = parts_of(analysis)
    assert region.left + region.right == pytest.approx(1, abs=0.04)
    assert wrongly_labelled(film, analysis) == []


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_sign_that_captions_are_written_over_is_not_covered(seed: int):
    film = Film(seed=seed).with_captions(middle=0.9, most=9).with_watermark(joins=False)
    assert covers_of(film.analysed()) == []


def test_what_is_there_for_half_of_the_film_is_not_covered():
    film = Film(seed=1).with_captions(middle=0.9, most=4).with_watermark(slice(18))
    assert covers_of(film.analysed()) == []


def test_few_captions_at_a_second_place_are_read_where_an_annotator_says_so():
    film = distracted(Film().with_captions(middle=0.86))
    there = Film(seed=10).with_captions(middle=0.08, share=0.03)
    for number, boxes in there.boxes.items():
        film.boxes[number] += boxes
    assert len(parts_of(film.analysed())) == 1
    labels: dict[tuple[int, int], Label] = {
        (number * 100, film.boxes[number].index(box)): "in"
        for number, boxes in there.boxes.items()
        for box in boxes
    }
    above, _ = parts_of(film.analysed(labels))
    assert share_inside(there, above) == 1.0


def test_the_crop_is_not_much_larger_than_the_captions():
    film = distracted(Film().with_captions(middle=0.86))
    region = film.analysed().layout.region
    assert region is not None
    assert region.bottom - region.top < 0.05 * 2.2
    assert region.left == pytest.approx(1 - region.right, abs=0.01)


def test_the_layout_says_how_captions_are_anchored():
    assert Film().with_captions().analysed().layout.anchor == "center"
    left = Film().with_captions(anchor="left", at=0.12).analysed().layout
    assert (left.anchor, left.anchor_position) == ("left", pytest.approx(0.12, abs=0.01))
    right = Film().with_captions(anchor="right", at=0.9).analysed().layout
    assert (right.anchor, right.anchor_position) == ("right", pytest.approx(0.9, abs=0.01))


@pytest.mark.parametrize("seed", range(6))
def test_a_film_without_captions_has_no_region(seed: int):
    film = Film(seed=seed).with_logo().with_clock().with_ticker().with_scene_text(2)
    analysis = film.analysed()
    assert analysis.layout.region is None
    assert {box.predicted_label for box in analysis.boxes} == {"out"}


def test_a_film_without_any_text_has_no_region():
    assert Film().analysed().layout.region is None
    assert analyse_boxes([], width=640, height=360).layout.region is None


def test_a_single_frame_is_decided_by_place():
    caption = Film(frame_count=1).with_captions(share=1.0)
    assert share_inside(caption, caption.analysed().layout.region) == 1.0
    assert Film(frame_count=1).with_logo().analysed().layout.region is None


def test_a_short_video_is_probed_and_its_logo_not_taken_for_a_caption():
    times = suggest_probe_times(14.0, [0.0, 10.0])
    assert len(times) >= 20
    assert all(0 <= time < 14 for time in times)
    film = Film(frame_count=24, step=14 / 24)
    for first in range(0, 24, 6):  # a caption stays for six looks
        line = film.line(film.sentence(), 0.5, 0.9, 0.05)
        for number in range(first, first + 5):
            film.boxes[number].append(line)
            film.captions.append(line)
    for boxes in film.boxes.values():
        boxes.append(film.line("STUDIO NINE", 0.5, 0.94, 0.03))
    region = film.analysed().layout.region
    assert share_inside(film, region) == 1.0
    assert [box.box.text for box in film.analysed().boxes if box.predicted_label == "in"].count(
        "STUDIO NINE"
    ) == 0


def test_verses_of_equal_length_are_captions_although_they_keep_their_place():
    """Chinese lines of five characters, as in songs and poems, cover exactly the same rectangle."""
    film = Film(frame_count=24, step=1.25)
    verses = ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡", "春眠不觉晓", "处处闻啼鸟"]
    for number, verse in enumerate(verses):
        for look in range(4 * number, 4 * number + 4):
            line = OcrBox(verse, 0.95, 0.41, 0.87, 0.59, 0.94)
            film.boxes[look].append(line)
            film.captions.append(line)
    film.with_logo().with_clock()
    assert share_inside(film, film.analysed().layout.region) == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_captions_in_a_script_that_the_engine_cannot_read_are_captions(seed: int):
    """Of Cyrillic it reads nothing, or the marks between the words."""
    film = Film(seed=seed).with_captions()
    for number, boxes in film.boxes.items():
        film.boxes[number] = [
            replace(box, text=film.random.choice(["", ".", ", .", "- , ?"])) for box in boxes
        ]
    film.captions = [box for boxes in film.boxes.values() for box in boxes]
    chapter = film.line("", 0.5, 0.14, 0.06)
    for boxes in film.boxes.values():
        boxes.append(chapter)
    analysis = film.analysed()
    assert share_inside(film, analysis.layout.region) == 1.0
    assert not wrongly_labelled(film, analysis)


@pytest.mark.parametrize(("duration", "captions"), [(40, 3), (120, 4), (600, 10)])
def test_few_captions_in_a_film_are_found_by_looking_further(duration: int, captions: int):
    found = 0
    for seed in range(8):
        film = Film(seed=seed)
        starts = sorted(film.random.uniform(0, duration - 3) for _ in range(captions))
        lines = [(start, film.line(film.sentence(), 0.5, 0.9, 0.05)) for start in starts]
        sign = film.line("BUTCHER", 0.3, 0.4, 0.08)

        def look(times: list[float], lines: list[tuple[float, OcrBox]] = lines, sign: OcrBox = sign):
            return [
                SeenFrame(
                    time,
                    [line for start, line in lines if start <= time < start + 2.5] + [sign] * (5 < time < 9),
                )
                for time in times
            ]

        stored = [10.0 * number for number in range(math.ceil(duration / 10))]
        times = stored + suggest_probe_times(duration, stored)
        analysis = analyse_boxes(look(times), width=1920, height=1080)
        for _ in range(2):
            if not analysis.is_settled:
                times += further_look_times(times)
                analysis = analyse_boxes(look(times), width=1920, height=1080)
        region = analysis.layout.region
        found += region is not None and all(
            region.top <= line.top and line.bottom <= region.bottom for _, line in lines
        )
    assert found >= 7


def test_writing_in_the_picture_right_above_the_captions_is_no_second_line():
    """A sign that stays while one caption follows another."""
    film = Film(frame_count=24, step=1.5).with_captions(middle=0.92, share=1.0)
    signs = ["Sports Centre", "Conference Rooms", "Please keep left", "Ladies and children"]
    for first, text in zip(range(0, 24, 6), signs, strict=True):
        sign = film.line(text, 0.5, 0.86, 0.05)
        for number in range(first, first + 6):
            film.boxes[number].append(sign)
    region = film.analysed().layout.region
    assert share_inside(film, region) == 1.0
    assert region is not None
    assert region.top > 0.86


def test_further_looks_lie_between_those_taken_and_are_few():
    assert further_look_times([0.0, 10.0, 4.0]) == [2.0, 7.0]
    assert further_look_times([0.0, 0.9]) == []
    assert len(further_look_times([10.0 * number for number in range(900)])) <= 60


def test_long_videos_need_no_probes():
    assert suggest_probe_times(600.0, [10.0 * number for number in range(60)]) == []


def test_boxes_labelled_out_are_not_cropped_and_their_like_neither():
    film = Film().with_captions(middle=0.9)
    names = Film(seed=5).with_captions(middle=0.1, share=0.4)
    for number, boxes in names.boxes.items():
        film.boxes[number] += boxes
    analysis = film.analysed()
    assert share_inside(film, analysis.layout.region) == 1.0
    labels: dict[tuple[int, int], Label] = {
        (box.frame_index, box.box_index): "out"
        for box in analysis.boxes
        if box.predicted_label == "in" and box.box.top > 0.5
    }
    few = dict(list(labels.items())[:5])
    assert share_inside(names, film.analysed(few).layout.region) == 1.0


def test_boxes_labelled_in_decide_against_appearances():
    film = Film().with_captions(middle=0.9)
    notes = Film(seed=5).with_captions(middle=0.2, share=0.3, anchor="left", at=0.1)
    for number, boxes in notes.boxes.items():
        film.boxes[number] += boxes
    number = next(number for number, boxes in notes.boxes.items() if boxes)
    position = film.boxes[number].index(notes.boxes[number][0])
    region = film.analysed({(number * 100, position): "in"}).layout.region
    assert share_inside(notes, region) == 1.0


def test_clear_boxes_are_ignored():
    film = Film(frame_count=1).with_captions(share=1.0)
    assert film.analysed({(0, 0): "clear"}).layout.region is None


def test_the_stored_model_labels_boxes_as_the_analysis_did():
    analysis = distracted(Film().with_captions(middle=0.86)).analysed()
    assert analysis.model is not None
    model = CaptionRowModel.from_bytes(analysis.model.data)
    for box in analysis.boxes:
        label, confidence = classify(model, box.box)
        assert label == box.predicted_label
        assert confidence == pytest.approx(box.predicted_confidence, abs=1e-4)


def test_captions_that_count_are_found_at_the_foot_of_the_picture():
    film = Film().with_count(0.5, 0.9)
    region = film.analysed().layout.region
    assert region is not None
    assert region.top < 0.875
    assert region.bottom > 0.925


@pytest.mark.parametrize(
    ("text", "at", "middle"),
    [
        ("Arsenal 2 Chelsea 1 67:{}", 0.15, 0.07),
        ("Arsenal 2 Chelsea 1 67:{}", 0.5, 0.07),
        ("TC 01:02:{}", 0.5, 0.93),
        ("Channel Seven 12:{}", 0.85, 0.93),
    ],
)
def test_clocks_and_scores_are_no_captions(text: str, at: float, middle: float):
    assert Film().with_count(at, middle, text).analysed().layout.region is None
