// Runs ahead of the page in tests.
// Beside the speakers everything also goes to an analyser: what is heard, told by the browser.
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    const c = this.context;
    window.ears ??= new AnalyserNode(c, {fftSize: 4096, smoothingTimeConstant: 0});
    connect.call(this, window.ears);
  }
  return connect.call(this, target, ...rest);
};
window.loudestHz = () => {
  const bins = new Float32Array(window.ears.frequencyBinCount);
  window.ears.getFloatFrequencyData(bins);
  const best = bins.reduce((at, level, index) => (level > bins[at] ? index : at), 0);
  return bins[best] < -60 ? 0 : (best * window.ears.context.sampleRate) / 4096;
};

// How far the position is from where it would be, had nobody switched: seconds of the audio clock.
window.switchTo = async (digit) => {
  const at = () => parseFloat(document.querySelector('#clock').textContent);
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  const [position, time] = [at(), ears.context.currentTime];
  document.dispatchEvent(new KeyboardEvent('keydown', {key: String(digit), bubbles: true}));
  for (let n = 0; n < 12; n++) await frame();
  return at() - position - (ears.context.currentTime - time);
};
