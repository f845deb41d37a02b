// Encoder and decoder in the page: waveform -> coefficients -> codes -> coefficients -> waveform.
import * as ort from "./ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
ort.env.wasm.numThreads = 1; // more need headers that a plain file server does not send

const MU = 30, LONGEST_S = 30, UNQUANTISED = 13;
const byId = (id) => document.getElementById(id);
const sessions = new Map();
const state = { models: [], model: null, samples: null, coefficients: null, name: "", urls: {} };
let running = Promise.resolve();

function say(text, isError = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("error", isError);
}

// One thing after the other; what fails is told, and the page goes on.
function queue(work) {
  running = running.then(work).catch((error) => {
    console.warn(error);
    say(error.message || String(error), true);
  });
  return running;
}

async function session(name, part) {
  const key = `${name}-${part}`;
  if (!sessions.has(key)) {
    sessions.set(key, await ort.InferenceSession.create(`${key}.onnx`, { executionProviders: ["wasm"] }));
  }
  return sessions.get(key);
}

async function run(part, values, dims) {
  const graph = await session(state.model.name, part);
  const results = await graph.run({ [graph.inputNames[0]]: new ort.Tensor("float32", values, dims) });
  return results[graph.outputNames[0]];
}

// Samples at the bank's rate, one channel; the browser decodes and resamples.
async function decodeAudio(data, rate) {
  let decoded;
  try {
    decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(data);
  } catch {
    throw new Error("This browser cannot read that file as audio.");
  }
  const length = Math.min(decoded.length, LONGEST_S * rate);
  const mixed = new Float32Array(length);
  for (let channel = 0; channel < decoded.numberOfChannels; channel++) {
    const one = decoded.getChannelData(channel);
    for (let i = 0; i < length; i++) mixed[i] += one[i] / decoded.numberOfChannels;
  }
  if (!length) throw new Error("That file has no samples.");
  return mixed;
}

// A WAV file of float32 samples, which holds what was decoded to the last digit.
function wav(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 4 * samples.length));
  const text = (at, value) => [...value].forEach((c, i) => bytes.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); bytes.setUint32(4, 36 + 4 * samples.length, true); text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); bytes.setUint16(20, 3, true); bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true); bytes.setUint32(28, 4 * rate, true);
  bytes.setUint16(32, 4, true); bytes.setUint16(34, 32, true);
  text(36, "data"); bytes.setUint32(40, 4 * samples.length, true);
  samples.forEach((value, i) => bytes.setFloat32(44 + 4 * i, value, true));
  return new Blob([bytes], { type: "audio/wav" });
}

function play(id, samples) {
  if (state.urls[id]) URL.revokeObjectURL(state.urls[id]);
  state.urls[id] = URL.createObjectURL(wav(samples, state.model.sample_rate));
  byId(id).src = state.urls[id];
}

// code = round(levels sign(x) log(1 + mu |x| / peak) / log(1 + mu)), each channel by its peak.
function quantise(values, channels, bits) {
  const levels = 2 ** (bits - 1) - 1, frames = values.length / channels, log = Math.log1p(MU);
  const result = new Float32Array(values.length);
  const counts = new Int32Array(2 * levels + 1);
  let entropyBits = 0;
  for (let channel = 0; channel < channels; channel++) {
    let peak = 1e-30;
    for (let i = channel; i < values.length; i += channels) peak = Math.max(peak, Math.abs(values[i]));
    counts.fill(0);
    for (let i = channel; i < values.length; i += channels) {
      const size = Math.log1p((MU * Math.abs(values[i])) / peak) / log;
      const code = Math.sign(values[i]) * Math.round(size * levels);
      counts[code + levels]++;
      result[i] = (Math.sign(code) * peak * Math.expm1((Math.abs(code) / levels) * log)) / MU;
    }
    for (const count of counts) if (count) entropyBits -= count * Math.log2(count / frames);
  }
  return { values: result, entropyBits };
}

function snr(samples, decoded) {
  let signal = 0, noise = 0;
  for (let i = 0; i < samples.length; i++) {
    signal += samples[i] ** 2;
    noise += (samples[i] - decoded[i]) ** 2;
  }
  return noise ? 10 * Math.log10(signal / noise) : Infinity;
}

function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// Cosine parts, blue below zero and orange above, low frequencies at the bottom.
function draw(values) {
  const { num_channels: channels, num_bins: bins, top_hz: top } = state.model;
  const frames = values.length / channels;
  const canvas = byId("spectrogram"), columns = Math.min(frames, 1600);
  canvas.width = columns; canvas.height = bins;
  const context = canvas.getContext("2d"), picture = context.createImageData(columns, bins);
  const [page, below, above] = ["--page", "--negative", "--positive"].map(colour);
  let peak = 1e-30;
  for (let i = 0; i < values.length; i++) peak = Math.max(peak, Math.abs(values[i]));
  for (let column = 0; column < columns; column++) {
    const frame = Math.floor((column * frames) / columns);
    for (let bin = 0; bin < bins; bin++) {
      const value = values[frame * channels + bin];
      const share = Math.min(1.3 * Math.cbrt(Math.abs(value) / peak), 1);
      const ink = value < 0 ? below : above, at = 4 * ((bins - 1 - bin) * columns + column);
      for (let c = 0; c < 3; c++) picture.data[at + c] = page[c] + share * (ink[c] - page[c]);
      picture.data[at + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
  byId("top").textContent = `${top} Hz`;
}

async function encode() {
  const { model, samples } = state;
  await session(model.name, "decode"); // loading is not part of the time
  await session(model.name, "encode");
  const start = performance.now();
  const encoded = await run("encode", samples, [1, samples.length]);
  state.encodeMs = performance.now() - start;
  state.coefficients = encoded.data;
  state.frames = encoded.dims[1];
  const seconds = samples.length / model.sample_rate;
  byId("about").textContent = `${state.name}: ${seconds.toFixed(2)} s, ${state.frames} frames of ${model.num_channels} coefficients`;
  play("original", samples);
}

async function decode() {
  const { model, samples, coefficients } = state, bits = Number(byId("bits").value);
  byId("bits-shown").textContent = bits === UNQUANTISED ? "no quantiser" : `${bits} bits`;
  if (!coefficients) return;
  let values = coefficients, entropyBits = null;
  if (bits !== UNQUANTISED) ({ values, entropyBits } = quantise(coefficients, model.num_channels, bits));
  draw(values);
  const start = performance.now();
  const output = await run("decode", values, [1, state.frames, model.num_channels]);
  const decodeMs = performance.now() - start;
  const decoded = output.data.subarray(0, samples.length);
  play("decoded", decoded);
  const ratio = snr(samples, decoded), seconds = samples.length / model.sample_rate;
  const kbps = (count) => `${(count / seconds / 1000).toFixed(1)} kbit/s`;
  byId("snr").textContent = Number.isFinite(ratio) ? `${ratio.toFixed(1)} dB` : "exact";
  byId("raw").textContent = kbps(coefficients.length * (bits === UNQUANTISED ? 32 : bits));
  byId("entropy").textContent = entropyBits === null ? "–" : kbps(entropyBits);
  byId("speed").textContent = [state.encodeMs, decodeMs].map((ms) => `${((1000 * seconds) / ms).toFixed(0)} ×`).join(", ");
  document.body.dataset.done = String(Number(document.body.dataset.done || 0) + 1); // for tests
  say("Ready.");
}

function open(data, name) {
  return queue(async () => {
    say(`Encoding ${name} …`);
    state.samples = await decodeAudio(data.slice(0), state.model.sample_rate);
    state.name = name;
    state.opened = { data, name };
    await encode();
    await decode();
  });
}

async function openClip() {
  const response = await fetch("clip.wav");
  await open(await response.arrayBuffer(), "built-in clip");
}

function watch() {
  let waiting = 0;
  byId("bits").addEventListener("input", () => {
    if (waiting++) return; // one decoding for all moves that wait
    queue(async () => { waiting = 0; await decode(); });
  });
  byId("clip").addEventListener("click", openClip);
  byId("file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file) await open(await file.arrayBuffer(), file.name);
  });
  byId("model").addEventListener("change", (event) => {
    state.model = state.models.find((model) => model.name === event.target.value);
    if (state.opened) open(state.opened.data, state.opened.name);
  });
  const drop = byId("drop");
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
    });
  }
  document.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (file) await open(await file.arrayBuffer(), file.name);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => queue(decode));
}

queue(async () => {
  state.models = await (await fetch("models.json")).json();
  for (const { name } of state.models) byId("model").add(new Option(name));
  [state.model] = state.models;
  watch();
}).then(openClip);
