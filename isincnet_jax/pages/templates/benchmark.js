"use strict";
// The page works alone: its data stand in the element #data, nothing is asked from the network.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);

  /** A new element with properties, a class and children; text children stay text. */
  function make(tag, options = {}, ...children) {
    const { className, dataset, ...properties } = options;
    const element = Object.assign(document.createElement(tag), properties);
    if (className) element.className = className;
    Object.assign(element.dataset, dataset);
    element.append(...children);
    return element;
  }

  // ---- Light and dark ------------------------------------------------------------------------

  const root = document.documentElement;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const themeButton = byId("theme");

  function isDark() {
    return root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
  }

  function sayTheme() {
    themeButton.textContent = isDark() ? "Light theme" : "Dark theme";
  }

  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    sayTheme();
  });
  systemDark.addEventListener("change", sayTheme);
  sayTheme();

  // ---- Table ---------------------------------------------------------------------------------

  const table = byId("table");
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const count = byId("count");

  /** Rows by a column; missing values come last in either direction, equal ones keep their order. */
  function sortBy(head) {
    const column = head.cellIndex;
    const opposite = { ascending: "descending", descending: "ascending" };
    const order = opposite[head.getAttribute("aria-sort")] || head.dataset.first;
    const sign = order === "ascending" ? 1 : -1;
    const isText = head.dataset.kind === "text";
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === "" || b === "") return (a === "") - (b === "");
      if (isText) return sign * a.localeCompare(b, "en", { numeric: true });
      const [x, y] = [pythonNumber(a), pythonNumber(b)];
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    });
    body.append(...rows);
    for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
    sayCount(`sorted by ${head.querySelector(".title").firstChild.textContent}, ${order}`);
  }

  function pythonNumber(text) {
    return text.endsWith("inf") ? Infinity * (text[0] === "-" ? -1 : 1) : Number(text);
  }

  function sayCount(more = "") {
    const shown = [...body.rows].filter((row) => !row.hidden).length;
    const total = body.rows.length;
    const methods = shown === total ? `${total} methods` : `${shown} of ${total} methods`;
    count.textContent = more ? `${methods}, ${more}` : methods;
  }

  for (const head of heads) {
    head.querySelector("button").addEventListener("click", () => sortBy(head));
  }
  byId("families").addEventListener("change", (event) => {
    const { value, dataset } = event.target;
    for (const row of body.rows) row.hidden = !("all" in dataset) && row.dataset.family !== value;
    sayCount();
  });

  // Paper has nothing to click on: what is folded is opened for it, and folded again.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("header details, .clips details, #problems")];
    opened = opened.filter((details) => !details.open);
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });

  // ---- Rate and distortion -------------------------------------------------------------------

  const SVG = "http://www.w3.org/2000/svg";

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /** Round values from low to high, about `wanted` of them. */
  function roundTicks(low, high, wanted) {
    const rough = (high - low) / Math.max(1, wanted);
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
      ticks.push(Number((k * step).toPrecision(12)));
    }
    return ticks;
  }

  /** 1, 2, 5, 10 ... within the limits; only powers of ten where those are too many. */
  function logTicks(low, high, most) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
      for (const factor of [1, 2, 5]) ticks.push(Number((factor * 10 ** power).toPrecision(6)));
    }
    const inside = ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
    return inside.length <= most ? inside : inside.filter((tick) => /^0?\.?0*10*$/.test(`${tick}`));
  }

  const marker = [
    (x, y) => svg("circle", { cx: x, cy: y, r: 4.5 }),
    (x, y) => svg("rect", { x: x - 4, y: y - 4, width: 8, height: 8 }),
    (x, y) => svg("path", { d: `M${x} ${y - 5.5}l5 9.5h-10z` }),
    (x, y) => svg("path", { d: `M${x} ${y - 6}l5.5 6l-5.5 6l-5.5 -6z` }),
  ];

  function drawPoint(curve, index, x, y) {
    const point = marker[curve.lone ? 0 : index % marker.length](x, y);
    point.setAttribute("class", curve.lone ? "point lone" : `point f${index % 8}`);
    return point;
  }

  function drawChart(all) {
    const [rate, quality] = [byId("rate").value, byId("quality").value];
    // Points that were measured on both axes; every curve keeps its colour.
    const curves = all.map((curve) => ({
      ...curve,
      points: curve.points
        .filter((point) => point[rate] !== null && point[quality] !== null)
        .map((point) => ({ rate: point[rate], level: point[quality], label: point.label }))
        .sort((one, other) => one.rate - other.rate),
    }));
    const [rateTitle, levelTitle] = ["rate", "quality"].map((id) => byId(id).selectedOptions[0].text);
    const chart = byId("chart");
    const width = Math.max(260, chart.clientWidth - 24);
    const height = Math.round(Math.min(440, Math.max(280, width * 0.5)));
    const margin = { left: 52, right: 14, top: 12, bottom: 50 };
    const points = curves.flatMap((curve) => curve.points);
    if (!points.length) return chart.replaceChildren("No method was measured on both.");
    const rates = points.map((point) => point.rate);
    const levels = points.map((point) => point.level);
    const room = quality === "snr_db" ? 1 : 0.1;
    const lowRate = Math.min(...rates) / 1.15;
    const highRate = Math.max(...rates) * 1.15;
    const least = quality === "snr_db" ? Math.min(0, ...levels) : Math.min(...levels);
    const yTicks = roundTicks(least, Math.max(...levels) + room, 6);
    const bottom = Math.min(yTicks[0], Math.min(...levels) - 1.5 * room);
    const top = Math.max(yTicks[yTicks.length - 1], ...levels) + room;
    const right = width - margin.right;
    const floor = height - margin.bottom;
    const x = (rate) =>
      margin.left + (Math.log(rate / lowRate) / Math.log(highRate / lowRate)) * (right - margin.left);
    const y = (level) => floor - ((level - bottom) / (top - bottom)) * (floor - margin.top);
    const label = `${levelTitle} over the bit rate in ${rateTitle}, on a logarithmic axis`;
    const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": label });

    for (const tick of yTicks) {
      drawing.append(
        svg("line", { class: "grid", x1: margin.left, x2: right, y1: y(tick), y2: y(tick) }),
        svg("text", { x: margin.left - 8, y: y(tick) + 4, "text-anchor": "end" }, `${tick}`.replace("-", "−")),
      );
    }
    for (const tick of logTicks(lowRate, highRate, width / 55)) {
      drawing.append(
        svg("line", { class: "grid", x1: x(tick), x2: x(tick), y1: margin.top, y2: floor }),
        svg("text", { x: x(tick), y: floor + 18, "text-anchor": "middle" }, tick.toLocaleString("en")),
      );
    }
    const middle = (margin.top + floor) / 2;
    drawing.append(
      svg("path", { class: "frame", d: `M${margin.left} ${margin.top}V${floor}H${right}` }),
      svg("text", { class: "axis-title", x: (margin.left + right) / 2, y: height - 8, "text-anchor": "middle" }, `Bit rate (${rateTitle}, logarithmic)`),
      svg("text", { class: "axis-title", transform: `translate(14 ${middle}) rotate(-90)`, "text-anchor": "middle" }, levelTitle),
    );
    curves.forEach((curve, index) => {
      const path = curve.points.map((point) => `${x(point.rate)} ${y(point.level)}`).join("L");
      if (!curve.lone && path) {
        const dash = Math.floor(index / 8) % 3;
        drawing.append(svg("path", { class: `curve c${index % 8} dash${dash}`, d: `M${path}` }));
      }
      for (const point of curve.points) {
        const drawn = drawPoint(curve, index, x(point.rate), y(point.level));
        const level = point.level.toFixed(quality === "snr_db" ? 1 : 2);
        const where = `${point.rate.toFixed(1)} ${rateTitle}, ${levelTitle.replace(/ \(.*/, "")} ${level}`;
        const name = [curve.name, point.label].filter(Boolean).join(", ");
        drawn.append(svg("title", {}, `${name}\n${where}`));
        drawing.append(drawn);
      }
    });
    chart.replaceChildren(drawing);
  }

  function drawLegend(curves) {
    const entries = curves.map((curve, index) => {
      const sample = svg("svg", { viewBox: "0 0 34 12", "aria-hidden": "true" });
      if (!curve.lone) {
        const dash = Math.floor(index / 8) % 3;
        sample.append(svg("path", { class: `curve c${index % 8} dash${dash}`, d: "M0 6H34" }));
      }
      sample.append(drawPoint(curve, index, 17, 6));
      return make("li", {}, sample, make("span", { className: "name" }, curve.name));
    });
    byId("legend").replaceChildren(...entries);
  }

  if (data.curves.length) {
    drawLegend(data.curves);
    new ResizeObserver(() => drawChart(data.curves)).observe(byId("rates"));
    byId("axes").addEventListener("change", () => drawChart(data.curves));
  }

  if (!data.clips.length) return;

  // ---- Player: one position for all sounds of a clip ------------------------------------------
  //
  // A sound is decoded when it is first wanted. While one plays, the position is counted by the
  // clock of the audio device; a switch begins the next sound at the sample where it takes over,
  // under a short cross-fade, so that nothing but the method changes.

  const FADE_S = 0.012;
  const play = byId("play");
  const seek = byId("seek");
  const clock = byId("clock");
  const loop = byId("loop");
  const said = byId("said");

  let context = null;
  let clip = data.clips[0];
  let track = 0;
  let resting = 0; // position in seconds while nothing plays
  let voice = null; // {source, gain, begin, offset}: what plays
  let playing = false; // what the listener wants; the voice follows when its sound is decoded
  let request = 0; // number of the last wish to play; older ones that arrive late are dropped

  function position() {
    if (!voice) return resting;
    const passed = Math.max(0, context.currentTime - voice.begin);
    const at = voice.offset + passed;
    return loop.checked ? at % clip.duration_s : Math.min(at, clip.duration_s);
  }

  function bytesOf(base64) {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;
  }

  /** The decoded sound of a track, or an error that says which one. */
  function decoded(one) {
    one.buffer ??= context.decodeAudioData(bytesOf(one.audio)).catch((error) => {
      one.buffer = undefined;
      throw new Error(`${one.name}: this browser cannot decode the sound (${error.message})`);
    });
    return one.buffer;
  }

  function fade(old, at) {
    if (!old) return;
    old.source.onended = null;
    old.gain.gain.cancelScheduledValues(at);
    old.gain.gain.setValueAtTime(1, at);
    old.gain.gain.linearRampToValueAtTime(0, at + FADE_S);
    old.source.stop(at + FADE_S);
  }

  function begin(buffer, at, offset) {
    const source = new AudioBufferSourceNode(context, { buffer, loop: loop.checked });
    if (loop.checked) source.loopEnd = Math.min(buffer.duration, clip.duration_s);
    const gain = new GainNode(context, { gain: 0 });
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(1, at + FADE_S);
    source.connect(gain).connect(context.destination);
    source.onended = () => stop(0);
    source.start(at, Math.min(offset, buffer.duration));
    return { source, gain, begin: at, offset };
  }

  /** Plays the chosen track from a position (by default from where we are). */
  async function start(from = null) {
    const mine = ++request;
    const one = clip.tracks[track];
    if (!one.audio) return stop();
    playing = true;
    sayState();
    try {
      context ??= new AudioContext();
      if (context.state !== "running") await context.resume();
      const buffer = await decoded(one);
      if (mine !== request) return;
      const at = context.currentTime + 0.02;
      // What plays now will have gone on until the new sound takes over.
      let offset = from ?? position() + (voice ? at - context.currentTime : 0);
      if (offset >= clip.duration_s - 0.01) offset = loop.checked ? offset % clip.duration_s : 0;
      const next = begin(buffer, at, offset);
      fade(voice, at);
      voice = next;
      say("");
      requestAnimationFrame(follow);
    } catch (error) {
      if (mine !== request) return;
      stop();
      say(error.message);
    }
  }

  function stop(at = position()) {
    request++;
    playing = false;
    resting = at;
    if (voice) fade(voice, context.currentTime);
    voice = null;
    sayState();
    show();
  }

  function toggle() {
    if (playing) stop();
    else start();
  }

  function seekTo(seconds) {
    const wanted = Math.min(Math.max(0, seconds), clip.duration_s);
    if (!voice) resting = wanted;
    if (playing) start(wanted);
    show(wanted);
  }

  function say(text) {
    said.textContent = text;
  }

  function sayState() {
    play.dataset.state = playing ? "playing" : "paused";
    play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }

  function follow() {
    if (!voice) return;
    show();
    requestAnimationFrame(follow);
  }

  /** Slider, clock and the lines in the pictures at a position. */
  function show(at = position()) {
    seek.value = at;
    seek.setAttribute("aria-valuetext", `${at.toFixed(1)} of ${clip.duration_s.toFixed(1)} seconds`);
    clock.textContent = `${at.toFixed(2)} / ${clip.duration_s.toFixed(2)} s`;
    const share = `${(100 * at) / clip.duration_s}%`;
    for (const line of document.querySelectorAll(".cursor")) line.style.left = share;
  }

  // ---- Pictures ------------------------------------------------------------------------------

  const { floor_db: floorDb, difference_db: differenceDb, heat, signed } = data.scales;
  const number = (value) => `${value}`.replace("-", "−");

  function scaleOf(kind) {
    const [low, high, colors] =
      kind === "difference" ? [-differenceDb, `+${differenceDb}`, signed] : [floorDb, 0, heat];
    const bar = make("i");
    bar.style.background = `linear-gradient(to right, ${colors.join(", ")})`;
    return make("span", { className: "scale" }, number(low), bar, `${number(high)} dB`);
  }

  function ticksOf(plot) {
    const kilohertz = clip.sample_rate / 2000;
    for (const tick of roundTicks(0, kilohertz, 4)) {
      if (tick > kilohertz * 0.97) continue;
      const label = make("span", { className: "tick y" }, tick === 0 ? "0 kHz" : `${tick}`);
      label.style.bottom = `${(100 * tick) / kilohertz}%`;
      plot.append(label);
    }
  }

  function timesOf(plot) {
    for (const tick of roundTicks(0, clip.duration_s, 6)) {
      const label = make("span", { className: "tick x" }, tick === 0 ? "0 s" : `${tick}`);
      label.style.left = `${(100 * tick) / clip.duration_s}%`;
      plot.append(label);
    }
  }

  function picture(title, one, kind, missing) {
    const plot = make("div", { className: "plot", dataset: { kind } });
    if (one[kind]) {
      const source = `data:image/png;base64,${one[kind]}`;
      plot.append(make("img", { src: source, alt: title, draggable: false }));
    } else {
      plot.append(make("div", { className: "empty" }, missing));
    }
    plot.append(make("div", { className: "cursor" }));
    ticksOf(plot);
    const caption = make("figcaption", {}, make("span", { className: "name" }, title), scaleOf(kind));
    return make("figure", { className: "picture" }, caption, plot);
  }

  /** The original, the chosen method and how they differ, one under another with one time axis. */
  function showPictures() {
    const [original] = clip.tracks;
    const one = clip.tracks[track];
    const noOriginal = original.audio ? "no picture" : "the original is not there to compare with";
    const figures = [];
    if (original.level) figures.push(picture("Original", original, "level", "no picture"));
    if (track > 0) {
      figures.push(
        picture(one.name, one, "level", "no picture"),
        picture(`${one.name}: level minus the original's`, one, "difference", noOriginal),
        picture(`${one.name}: spectrogram of the error signal`, one, "error", noOriginal),
      );
    }
    if (figures.length) timesOf(figures[figures.length - 1].querySelector(".plot"));
    byId("pictures").replaceChildren(...figures);
    show();
  }

  function seekByPointer(event) {
    const plot = event.target.closest(".plot");
    if (!plot || (event.type === "pointermove" && !event.buttons)) return;
    const box = plot.getBoundingClientRect();
    seekTo(((event.clientX - box.left) / box.width) * clip.duration_s);
  }

  byId("pictures").addEventListener("pointerdown", seekByPointer);
  byId("pictures").addEventListener("pointermove", seekByPointer);

  // ---- Choices -------------------------------------------------------------------------------

  /** Makes a track the one that is heard and seen; the position stays. */
  function choose(index) {
    if (!clip.tracks[index]?.audio) return;
    track = index;
    const list = byId("tracks");
    const radio = list.querySelectorAll("input")[index];
    radio.checked = true;
    const box = list.getBoundingClientRect();
    const row = radio.closest("label").getBoundingClientRect();
    if (row.top < box.top) list.scrollTop -= box.top - row.top; // the list alone, not the page
    if (row.bottom > box.bottom) list.scrollTop += row.bottom - box.bottom;
    if (playing) start();
    showPictures();
  }

  function listTracks() {
    const labels = clip.tracks.map((one, index) => {
      const radio = make("input", { type: "radio", name: "track", disabled: !one.audio });
      radio.addEventListener("change", () => choose(index));
      const score = one.audio ? one.scores.slice(0, 2).join(", ") : one.why;
      return make(
        "label",
        { title: one.scores.join("\n") },
        radio,
        make("span", { className: "digit" }, index < 10 ? `${index}` : ""),
        make("span", {}, make("span", { className: "name" }, one.name), make("span", { className: "score" }, score)),
      );
    });
    byId("tracks").replaceChildren(byId("tracks").firstElementChild, ...labels);
  }

  function chooseClip(index) {
    stop(0);
    for (const one of clip.tracks) one.buffer = undefined; // decoded sounds are large
    clip = data.clips[index];
    seek.max = clip.duration_s;
    listTracks();
    if (!clip.tracks[track]?.audio) track = clip.tracks.findIndex((one) => one.audio);
    choose(track);
  }

  data.clips.forEach((one, index) => {
    const radio = make("input", { type: "radio", name: "clip", checked: index === 0 });
    radio.addEventListener("change", () => chooseClip(index));
    byId("clips").append(make("label", {}, radio, make("span", { className: "name" }, one.name)));
  });

  play.addEventListener("click", toggle);
  seek.addEventListener("input", () => seekTo(Number(seek.value)));
  loop.addEventListener("change", () => {
    if (playing) start();
  });

  // Keys work while the players are in use: focus within them, or nowhere while they are in view.
  // Looked up when a key comes: an observer tells later than a quick hand, or a slow machine, types.
  const inView = () => {
    const { top, bottom } = document.querySelector(".listening").getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const focus = document.activeElement;
    const within = byId("listen").contains(focus);
    if (!within && !(inView() && focus === document.body)) return;
    if (/^[0-9]$/.test(event.key)) {
      choose(Number(event.key));
      event.preventDefault();
    } else if (event.key === " " && focus !== loop && focus !== play) {
      toggle();
      event.preventDefault();
    }
  });

  chooseClip(0);
  choose(Math.max(0, clip.tracks.findIndex((one, index) => index > 0 && one.audio)));
})();
