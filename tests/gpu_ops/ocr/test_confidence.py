"""When the local OCR says 0.9, nine in ten are exact, on captions that nothing was fitted to."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from gpu_ops.extents.synthesis.sources import FontFile
from gpu_ops.footage.sample import CHINESE, PHOTOGRAPHS
from gpu_ops.ocr.calibrate import Media, Sample, calibration_error, fit, samples
from gpu_ops.ocr.confidence import exact_share
from gpu_ops.ocr.rapid import RapidEngine


def test_confidence_grows_with_what_the_model_thinks_and_stays_a_share():
    shares = [exact_share(product) for product in np.linspace(0, 1, 101)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1


def test_fitting_finds_the_map_that_made_the_samples():
    rng = np.random.default_rng(4)
    products = 1 - rng.random(20_000) ** 3
    drawn = [
        Sample("a", "a" if rng.random() < exact_share(float(product), 0.3, -0.4) else "b", float(product))
        for product in products
    ]
    assert fit(drawn) == pytest.approx((0.3, -0.4), abs=0.08)


def test_the_calibration_error_is_none_for_true_shares_and_large_for_boasts():
    rng = np.random.default_rng(5)
    honest = [
        Sample("a", "a" if rng.random() < share else "b", share) for share in rng.uniform(0.3, 1.0, 20_000)
    ]
    assert calibration_error(honest) < 0.02
    assert calibration_error([replace(sample, confidence=1.0) for sample in honest]) > 0.3


@pytest.mark.slow
def test_confidence_is_calibrated_on_captions_of_a_fresh_seed():
    letters = [FontFile(str(CHINESE.path), 0, "sample")]
    photographs = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in PHOTOGRAPHS]
    media = Media({"latin": letters, "chinese": letters}, photographs)
    found = list(samples(seed=77, films=8, engine=RapidEngine(), media=media))
    assert len(found) == 96
    assert calibration_error(found, bins=3) <= 0.1
    sure = [sample.exact for sample in found if sample.confidence >= 0.9]
    assert len(sure) >= 30
    assert np.mean(sure) >= 0.85
