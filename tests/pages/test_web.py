"""The browser page with ONNX graphs in real headless Chromium, from a plain file server.

``make web`` builds it into docs/_build/web; these tests run where that is.
"""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import chromium
import numpy as np
import pytest
import soundfile

import isincnet_jax as isn
from isincnet_jax.dsp.distances import snr_db

FOLDER = Path(__file__).parents[2] / "docs" / "_build" / "web"
BROWSER = chromium.find()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here to test the page in"),
    pytest.mark.skipif(not (FOLDER / "models.json").is_file(), reason="`make web` has not run"),
]
SNR = "parseFloat(document.querySelector('#snr').textContent)"


@pytest.fixture(scope="module")
def address():
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Handler, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    assert BROWSER is not None
    with chromium.started(BROWSER) as page:
        yield page


@pytest.fixture
def page(browser, address):
    """The page with its clip decoded; nothing is complained about, or asked from elsewhere."""
    browser.new_tab()
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.call("Page.navigate", url=address)
    browser.wait("document.readyState === 'complete'")
    browser.wait("document.body.dataset.done >= 1")
    yield browser
    browser.run("0")
    assert browser.complaints == []
    assert all(url.startswith((address, "blob:", "data:")) for url in browser.requests)


def set_bits(page, bits):
    done = page.run("Number(document.body.dataset.done)")
    page.run(
        f"(() => {{ const b = document.querySelector('#bits'); b.value = {bits};"
        "b.dispatchEvent(new Event('input')); })()"
    )
    page.wait(f"document.body.dataset.done > {done}")
    return page.run(SNR)


def test_the_clip_comes_back(page):
    assert page.run("document.querySelector('#bits-shown').textContent") == "no quantiser"
    assert page.run(SNR) >= 100
    assert page.run("document.querySelector('#decoded').src.startsWith('blob:')") is True
    # Something is drawn, below zero and above.
    colours = page.run(
        "(() => { const c = document.querySelector('canvas'); const d = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; let r = 0, b = 0;"
        "for (let i = 0; i < d.length; i += 4) {"
        "r += d[i] > d[i + 2] + 30; b += d[i + 2] > d[i] + 30; }"
        "return [r, b]; })()"
    )
    assert min(colours) > 500


def test_bits_give_the_ratio_that_the_library_gives(page):
    samples, rate = soundfile.read(FOLDER / "clip.wav", dtype="float32")
    codec = isn.from_pretrained("16khz-linear")
    found = [set_bits(page, bits) for bits in (4, 8)]
    # The browser resamples by its own filter: nearly the same clip.
    import soxr

    waveform = soxr.resample(samples, rate, codec.spec.sample_rate).astype(np.float32)
    coefficients = codec.encode(waveform)
    for bits, ratio in zip((4, 8), found, strict=True):
        quantizer = codec.quantizer(q_bits=bits).fit(coefficients)
        again = codec.decode(quantizer.decode(quantizer.encode(coefficients)), length=len(waveform))
        expected = float(snr_db(prediction=again, target=waveform))
        assert abs(ratio - expected) < 0.5
    raw = page.run("parseFloat(document.querySelector('#raw').textContent)")
    np.testing.assert_allclose(raw, 8 * 256 * 16 / 125, rtol=0.01)


def test_every_bank_can_be_chosen(page):
    for name in page.run("[...document.querySelectorAll('#model option')].map((o) => o.value)"):
        done = page.run("Number(document.body.dataset.done)")
        page.run(
            f"(() => {{ const m = document.querySelector('#model'); m.value = '{name}';"
            "m.dispatchEvent(new Event('change')); })()"
        )
        page.wait(f"document.body.dataset.done > {done}")
        assert page.run(SNR) >= 100


def test_it_fits_a_phone_in_the_dark(page):
    page.resize(390, 844, phone=True)
    page.prefer("dark")
    assert page.run("document.documentElement.scrollWidth <= 390") is True
    tall = page.run("[...document.querySelectorAll('button, select, input[type=range]')]"
                    ".every((one) => one.getBoundingClientRect().height >= 32)")  # fmt: skip
    assert tall is True
