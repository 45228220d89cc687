/* Two ways to scan: a scanner that types fast and ends with Enter, and the camera. */

const FAST = 60;
const SHORTEST = 4;

/**
 * Listen to the whole page for a scanner: keys that come faster than people type, and Enter. Each key has its usual
 * effect until then; `began` is told before the first of a row, so that `scanned` can put back what was there.
 */
export function listen({ began, isElsewhere, scanned }) {
  let read = "";
  let last = -Infinity;
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
      const isFast = event.timeStamp - last < FAST;
      last = event.timeStamp;
      if (event.key === "Enter") {
        const whole = isFast && read.length >= SHORTEST && !isElsewhere(event.target) ? read : "";
        read = "";
        if (!whole) return;
        event.preventDefault();
        event.stopImmediatePropagation();
        scanned(whole);
      } else if (event.key.length === 1) {
        if (!isFast) {
          read = "";
          began();
        }
        read += event.key;
        // A button would be pressed by its spaces, the search opened by its strokes.
        if (isFast && !isTyping(event.target) && !/\d/.test(event.key)) {
          event.preventDefault();
          event.stopImmediatePropagation();
        }
      } else if (event.key !== "Shift") read = "";
    },
    { capture: true },
  );
}

/** Whether keys go into a field there. */
export function isTyping(target) {
  return target instanceof HTMLElement && target.matches("input:not([type=radio], [type=checkbox]), textarea, select");
}

const FORMATS = ["qr_code", "code_128", "ean_13", "ean_8", "code_39", "itf", "upc_a", "pdf417", "data_matrix", "aztec"];
const EVERY = 120;

async function detector({ scanner, wasm }) {
  const native = globalThis.BarcodeDetector;
  const known = (await native?.getSupportedFormats?.().catch(() => [])) ?? [];
  if (known.includes("qr_code")) return new native({ formats: FORMATS.filter((one) => known.includes(one)) });
  if (!globalThis.BarcodeDetectionAPI) await loaded(scanner);
  const ours = globalThis.BarcodeDetectionAPI;
  await ours.prepareZXingModule({ overrides: { locateFile: () => wasm }, fireImmediately: true });
  return new ours.BarcodeDetector({ formats: FORMATS });
}

function loaded(url) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: url, onload: resolve, onerror: reject });
    document.head.append(script);
  });
}

/** Show the camera in `video` and give the first code it sees; null when `signal` ends it before. */
export async function look({ video, signal, scanner, wasm }) {
  const asked = { video: { facingMode: "environment", width: { ideal: 1280 } }, audio: false };
  const [stream, seeing] = await Promise.all([navigator.mediaDevices.getUserMedia(asked), detector({ scanner, wasm })]);
  try {
    video.srcObject = stream;
    await video.play();
    while (!signal.aborted) {
      const [found] = await seeing.detect(video).catch(() => []);
      if (found?.rawValue) return found.rawValue;
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    }
    return null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}
