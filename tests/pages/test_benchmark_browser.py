"""The page of a benchmark in real headless Chromium: it loads, sorts, filters, plays."""

from __future__ import annotations

import json
import time
from pathlib import Path

import chromium
import pytest
import report_data

from isincnet_jax.pages.benchmark import write_report

BROWSER = chromium.find()
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here to test the page in")

TONES = 1  # the clip in which each method is a tone of its own

LISTENING = (Path(__file__).parent / "listening.js").read_text()

NAMES = (
    "[...document.querySelectorAll('#table tbody tr')].filter((row) => !row.hidden)"
    ".map((row) => row.cells[0].dataset.value)"
)


@pytest.fixture(scope="module")
def report_path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    path = report_data.save(folder, report_data.make_results(folder, duration_s=3.0))
    return write_report(path, folder / "page.html")


@pytest.fixture(scope="module")
def browser():
    assert BROWSER is not None
    with chromium.started(BROWSER) as page:
        yield page


@pytest.fixture
def page(browser, report_path):
    """The page in a fresh tab; whatever a test does, nothing is complained about or fetched."""
    browser.new_tab()
    browser.resize(1280, 900)
    browser.prefer("light")
    browser.open(report_path, before=LISTENING)
    browser.wait("document.querySelectorAll('.plot img').length >= 4")
    yield browser
    browser.run("0")  # brings what was said until now
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:image/png")] == [
        report_path.as_uri()
    ]


def position(page) -> float:
    return float(page.run("document.querySelector('#clock').textContent.split(' ')[0]"))


def choose_clip(page, index: int) -> None:
    page.click(f"#clips label:nth-of-type({index + 1})")


def test_loads_with_pictures_and_curves(page):
    page.wait("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.run("document.querySelectorAll('#chart path.curve').length") == 4
    assert page.run("document.querySelectorAll('#chart .point title').length") == 4 * 11 + 5
    assert page.run("document.querySelectorAll('#legend li').length") == 5
    boxes = page.run(
        "[...document.querySelectorAll('#chart .point')].every((point) => {"
        "const p = point.getBoundingClientRect(), c = document.querySelector('#chart')"
        ".getBoundingClientRect(); return p.left > c.left && p.right < c.right && p.top > c.top"
        " && p.bottom < c.bottom; })"
    )
    assert boxes is True


@pytest.mark.tail
def test_curves_are_drawn_over_the_axes_that_are_chosen(browser, tmp_path):
    results = report_data.make_results(tmp_path, audio=False)
    for index, point in enumerate(results["rate_distortion"][0]["points"][:-1]):
        point |= {"marginal_kbit_per_s": 0.5 * point["kbit_per_s"], "visqol": 1.0 + 0.25 * index}
    page = write_report(report_data.save(tmp_path, results), tmp_path / "page.html")
    browser.new_tab()
    browser.open(page)
    browser.wait("document.querySelectorAll('#chart .point').length === 49")
    choose = "(id, value) => {{ const one = document.getElementById(id); one.value = value; {} }}"
    change = "one.dispatchEvent(new Event('change', {bubbles: true}));"
    browser.run(f"({choose.format(change)})('quality', 'visqol')")
    assert browser.run("document.querySelectorAll('#chart .point').length") == 10
    assert browser.run("document.querySelectorAll('#chart path.curve').length") == 1
    browser.run(f"({choose.format(change)})('rate', 'marginal')")
    label = browser.run("document.querySelector('#chart svg').getAttribute('aria-label')")
    assert label == "ViSQOL (MOS) over the bit rate in marginal kbit/s, on a logarithmic axis"
    title = browser.run("document.querySelector('#chart .point title').textContent")
    rate = 0.5 * results["rate_distortion"][0]["points"][0]["kbit_per_s"]
    assert title.endswith(f"{rate:.1f} marginal kbit/s, ViSQOL 1.00")
    assert browser.complaints == []


def test_the_policy_of_the_page_stops_foreign_scripts_and_requests(page):
    blocked = page.run(
        "fetch('https://example.org').then(() => 'fetched', () => 'stopped')"
        ".then((said) => { const s = document.createElement('script'); s.text = 'window.ran = 1';"
        "document.body.append(s); return [said, window.ran === undefined]; })"
    )
    assert blocked == ["stopped", True]
    page.complaints.clear()  # the browser reports what it stopped


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("column", "lower_is_better"),
    [("snr_db", False), ("log_spectral_db", True), ("kbit_per_s", True), ("x_real_time", False)],
)
def test_a_click_on_a_head_sorts_best_first_and_another_turns_it_round(
    page, report_path, column, lower_is_better
):
    rows = json.loads((report_path.parent / "results.json").read_text())["methods"]
    columns = [*report_data.METRICS, "x_real_time", "coefficients_per_s", "kbit_per_s"]
    index = columns.index(column) + 1

    def value(method):
        found = method["scores"][column]["mean"] if column.endswith("_db") else method[column]
        return float("inf") if found == "exact" else found

    known = [method for method in rows if value(method) is not None]
    missing = [method["name"] for method in rows if value(method) is None]
    assert len(known) > 3
    assert page.run(NAMES) == [method["name"] for method in rows]
    for is_ascending in (lower_is_better, not lower_is_better):
        page.click(f"#table thead th:nth-child({index + 1}) button")
        wanted = sorted(known, key=value, reverse=not is_ascending)
        assert page.run(NAMES) == [method["name"] for method in wanted] + missing
        state = page.run("[...document.querySelectorAll('#table thead th')].map((h) => h.ariaSort)")
        assert state[index] == ("ascending" if is_ascending else "descending")
        assert {*state[:index], *state[index + 1 :]} == {"none"}


@pytest.mark.tail
def test_the_keyboard_sorts_by_name(page):
    page.run("document.querySelector('#table thead button').focus()")
    page.press("Enter")
    names = page.run(NAMES)
    assert names[0] == "16khz-linear"
    assert names == sorted(names, key=str.lower)
    page.press("Enter")
    assert page.run(NAMES) == names[::-1]
    assert "sorted by Method, descending" in page.run(
        "document.querySelector('#count').textContent"
    )


@pytest.mark.tail
def test_the_filter_shows_one_family_and_all_again(page):
    page.click("#families label:nth-of-type(4)")
    assert page.run(NAMES) == ["griffin-lim", "fast griffin-lim"]
    assert page.run("document.querySelector('#count').textContent") == "2 of 12 methods"
    page.click("#table thead th:nth-child(2) button")
    assert page.run(NAMES) == ["fast griffin-lim", "griffin-lim"]
    page.press("ArrowUp")  # of no group: nothing changes
    page.click("#families label:nth-of-type(1)")
    assert len(page.run(NAMES)) == 12


def play_on_and_on(page) -> None:
    """The first clip of tones, repeated: a busy machine may hear it later than it lasts."""
    choose_clip(page, TONES)
    page.click("#loop")


def heard(page, hz: float) -> None:
    page.wait(f"window.ears && Math.abs(loudestHz() - {hz}) < 30")


def test_plays_what_is_chosen_and_keeps_the_position(page):
    play_on_and_on(page)
    page.click("#play")
    heard(page, report_data.tone_hz(0))
    before = position(page)
    clock = "parseFloat(document.querySelector('#clock').textContent)"
    page.wait(f"Math.abs({clock} - {before}) > 0.2")
    for key, method in (("0", -1), ("5", 4), ("2", 1)):
        jump = page.run(f"switchTo({key})")
        assert min(abs(jump), 3.0 - abs(jump)) < 0.05, (key, jump)  # around the end, if just there
        heard(page, report_data.tone_hz(method))
    assert page.run("document.querySelector('#play').getAttribute('aria-label')") == "Pause"


@pytest.mark.tail
def test_space_and_digits_and_arrows_by_the_keyboard(page):
    play_on_and_on(page)
    page.run("document.activeElement.blur()")
    page.press(" ")
    heard(page, report_data.tone_hz(0))
    page.press("3")
    heard(page, report_data.tone_hz(2))
    page.run("document.querySelectorAll('#tracks input')[3].focus()")
    page.press("ArrowDown")
    heard(page, report_data.tone_hz(3))
    page.wait("parseFloat(document.querySelector('#clock').textContent) > 0.5")
    page.press(" ")
    page.wait("document.querySelector('#play').dataset.state === 'paused'")
    rest = position(page)
    time.sleep(0.15)
    assert position(page) == rest
    assert rest > 0
    page.wait("loudestHz() === 0")


@pytest.mark.tail
def test_space_scrolls_where_no_player_is_in_use(page):
    page.run("document.activeElement.blur(), scrollTo(0, 0)")
    page.wait("scrollY === 0")
    page.press(" ")
    page.wait("scrollY > 0")
    assert page.run("document.querySelector('#play').dataset.state") == "paused"


@pytest.mark.tail
def test_a_click_in_a_picture_seeks_in_all(page):
    page.click(".picture:nth-child(3) .plot", at=(0.5, 0.4))
    assert position(page) == pytest.approx(1.5, abs=0.02)
    shares = page.run("[...document.querySelectorAll('.cursor')].map((one) => one.style.left)")
    assert len(set(shares)) == 1
    assert float(shares[0][:-1]) == pytest.approx(50, abs=0.5)
    assert len(shares) == 4


@pytest.mark.tail
def test_the_end_stops_and_repeat_goes_on(page):
    choose_clip(page, TONES)
    page.run("document.querySelector('#seek').value = 2.7")
    page.run("document.querySelector('#seek').dispatchEvent(new Event('input'))")
    page.click("#play")
    page.wait("document.querySelector('#play').dataset.state === 'paused'")
    assert position(page) == 0
    page.click("#loop")
    page.run("document.querySelector('#seek').value = 2.7")
    page.run("document.querySelector('#seek').dispatchEvent(new Event('input'))")
    page.click("#play")
    page.wait("(at => at > 0.2 && at < 2)(parseFloat(document.querySelector('#clock').value))")
    heard(page, report_data.tone_hz(0))


@pytest.mark.tail
def test_a_failed_method_cannot_be_chosen_and_says_why(page):
    choose_clip(page, 2)
    page.press("4")
    chosen = "[...document.querySelectorAll('#tracks input')].findIndex((one) => one.checked)"
    assert page.run(chosen) == 1
    said = page.run("document.querySelectorAll('#tracks label')[4].textContent")
    assert "failed: ValueError: 3 samples" in said


@pytest.mark.tail
def test_silence_has_pictures_and_undefined_scores(page):
    choose_clip(page, 3)
    page.wait("document.querySelectorAll('.plot img').length === 4")
    assert "SNR –" in page.run("document.querySelectorAll('#tracks label')[1].textContent")


@pytest.mark.tail
@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_scrolls_the_table_and_not_the_page(page, width):
    page.resize(width, 844, phone=True)
    assert page.run("document.documentElement.scrollWidth") <= width
    page.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.run("document.documentElement.scrollWidth") <= width
    box = page.run("(b => [b.scrollWidth, b.clientWidth])(document.querySelector('.scroll'))")
    assert box[0] > box[1]
    page.wait(f"document.querySelector('#chart svg').getBoundingClientRect().width < {width}")


@pytest.mark.tail
def test_light_and_dark_by_system_and_by_button(page):
    light = page.screenshot()
    page.prefer("dark")
    page.wait("getComputedStyle(document.body).backgroundColor === 'rgb(20, 22, 26)'")
    dark = page.screenshot()
    assert light != dark
    page.click("#theme")
    page.wait("getComputedStyle(document.body).backgroundColor === 'rgb(247, 247, 245)'")
    assert page.run("document.querySelector('#theme').textContent") == "Dark theme"


@pytest.mark.tail
@pytest.mark.parametrize("width", [1600, 1280, 390])
def test_a_table_that_goes_on_says_so_and_keeps_its_first_column(page, width):
    page.resize(width, 844, phone=width < 400)
    state = (
        "(() => { const box = document.querySelector('.scroll'), first = box.querySelector('th');"
        "const frame = box.parentElement, hint = frame.previousElementSibling;"
        "return {beyond: box.scrollWidth - box.clientWidth, more: frame.dataset.more,"
        "hint: hint.checkVisibility() && hint.textContent,"
        "shade: getComputedStyle(frame, '::after').opacity,"
        "offset: first.getBoundingClientRect().left - box.getBoundingClientRect().left}; })()"
    )
    page.wait("document.querySelector('.scroll').parentElement.dataset.more !== undefined")
    found = page.run(state)
    if found["beyond"] <= 1:
        assert width > 400
        assert (found["more"], found["hint"], found["shade"]) == ("", False, "0")
        return
    assert found["more"] == "right"
    assert "scroll the table sideways" in found["hint"]
    assert found["shade"] == "1"
    assert found["offset"] == pytest.approx(1, abs=1)
    page.run("document.querySelector('.scroll').scrollLeft = 1e6")
    page.wait("document.querySelector('.scroll').parentElement.dataset.more.trim() === 'left'")
    found = page.run(state)
    assert found["shade"] == "0"
    assert found["offset"] == pytest.approx(1, abs=1)


@pytest.mark.tail
def test_small_numbers_keep_their_digits(page):
    cells = page.run(
        "[...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[3].innerText)"
    )
    assert not [text for text in cells if "0.0000" in text]
    assert sum("e−" in text for text in cells) > 3


@pytest.mark.tail
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_aa(page, scheme):
    page.prefer(scheme)
    page.run("new Promise((done) => setTimeout(done, 300))")  # colours take 120 ms to change
    weak = page.run(
        """(() => {
          const parse = (text) => text.match(/[\\d.]+/g).map(Number);
          const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
          const light = ([r, g, b]) =>
            0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
          const ground = (e) => {
            if (e.matches('.tick')) e = e.closest('.picture'); // ticks stand beside the plot
            for (; e; e = e.parentElement) {
              const color = parse(getComputedStyle(e).backgroundColor);
              if (color.length === 3 || color[3] === 1) return color;
            }
          };
          const weak = [];
          for (const e of document.querySelectorAll('body *')) {
            const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
            if (!own || !e.checkVisibility() || e.closest('svg, script')) continue;
            const [a, b] = [parse(getComputedStyle(e).color), ground(e)].map(light);
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) weak.push([e.className, e.textContent.slice(0, 30), ratio]);
          }
          return weak;
        })()"""
    )
    assert weak == []


def test_without_audio_and_curves_the_page_stays_quiet(browser, tmp_path):
    results = report_data.make_results(tmp_path, audio=False) | {"rate_distortion": None}
    path = write_report(report_data.save(tmp_path, results), tmp_path / "page.html")
    browser.new_tab()
    browser.open(path)
    browser.click("#table thead th:nth-child(2) button")
    assert browser.run(NAMES)[0] == "flac"
    shown = "[...document.querySelectorAll('section')].filter((s) => s.checkVisibility()).length"
    assert browser.run(shown) == 1
    assert (browser.complaints, browser.requests) == ([], [path.as_uri()])


@pytest.mark.tail
def test_names_that_are_markup_stay_text(browser, tmp_path):
    hostile = "</script x><!--<script ><img src=x onerror=window.ran=1><!--\"'&amp;`${x}"
    results = report_data.make_results(tmp_path, duration_s=0.1)
    old = "16khz-linear, 8 bits"
    text = json.dumps(results).replace(json.dumps(old), json.dumps(hostile))
    results = json.loads(text.replace('"jazz/jazz.00012"', json.dumps(hostile)))
    path = write_report(report_data.save(tmp_path, results), tmp_path / "page.html")
    browser.new_tab()
    browser.open(path)
    browser.wait("document.querySelectorAll('.plot img').length >= 4")
    browser.press("5")
    assert hostile in browser.run(NAMES)
    assert browser.run("document.querySelector('#clips label').textContent") == hostile
    browser.click("#tracks label:nth-of-type(6)")
    assert browser.run("document.querySelectorAll('.picture')[1].textContent").startswith(hostile)
    assert browser.run("[window.ran, document.querySelectorAll('img[src=x]').length]") == [None, 0]
    assert browser.complaints == []
