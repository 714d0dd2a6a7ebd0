/** The benchmark: a page of its own, in which the engine runs without a worker and without the lens around it. */
import { measureCeilings } from "./bench/ceilings.ts";
import { cellsOf, median, summaryOf, textOf, type Measured, type Report } from "./bench/report.ts";
import { configOf, flopsOf, idsOf, shapeOf, weightsOf, type Shape } from "./bench/synthetic.ts";
import { save } from "./export/save-file.ts";
import { integer } from "./lib/format.ts";
import { nameOfAdapter, type Facts } from "./lib/model.ts";
import { byId, element } from "./ui/dom.ts";
import type { Loupe } from "../src/web/types.d.ts";

type EngineModule = { default: () => Promise<unknown>; Loupe: typeof Loupe };

/** Runs of each length; the first one is not counted. */
const RUNS = 5;
/** After a reading that took longer, no longer text is read. */
const LONGEST_MS = 20_000;

const choice = byId<HTMLFormElement>("choice");
const [shape, device, lengths] = [
  byId<HTMLSelectElement>("shape"),
  byId<HTMLSelectElement>("device"),
  byId<HTMLInputElement>("lengths"),
];
const [start, stop, status] = [byId<HTMLButtonElement>("start"), byId<HTMLButtonElement>("stop"), byId("status")];

let running: AbortController | null = null;
let report: Report | null = null;

/** What the address asks for: #model=4,256,8192&device=cpu&tokens=8,32 */
function fillFromAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const model = asked.get("model");
  if (model && shapeOf(model)) {
    if (![...shape.options].some(({ value }) => value === model)) shape.add(new Option(model, model));
    shape.value = model;
  }
  if (asked.get("device") === "cpu") device.value = "cpu";
  lengths.value = asked.get("tokens") ?? lengths.value;
}

/** The lengths that are asked for, from short to long. */
const lengthsOf = (text: string, { n_ctx }: Shape) =>
  [...new Set(text.split(/[\s,;]+/).map(Number))]
    .filter((n) => Number.isInteger(n) && n > 0 && n <= n_ctx)
    .sort((a, b) => a - b);

async function measure(of: Shape, tokens: number[], signal: AbortSignal): Promise<Report> {
  const url = new URL("loupe/loupe.js", document.baseURI).href;
  const engine = (await import(/* @vite-ignore */ url)) as EngineModule;
  await engine.default();
  const on_gpu = device.value === "gpu";
  status.textContent = "Measuring what the adapter can do …";
  const ceilings = on_gpu ? await measureCeilings() : null;
  const loupe = await engine.Loupe.open({ device: on_gpu ? "gpu" : "cpu" });
  try {
    status.textContent = "Making and loading the weights …";
    const began = performance.now();
    await loupe.load({ config: configOf(of), weights: weightsOf(of), signal });
    const load_ms = performance.now() - began;
    const { bytes: weight_bytes } = loupe.counters();
    const made: Report = {
      browser: navigator.userAgent,
      date: new Date().toISOString().slice(0, 10),
      device: on_gpu ? "webgpu" : "cpu",
      adapter: nameOfAdapter(loupe.adapter as unknown as Facts),
      tuning: loupe.tuning,
      model: { ...of, parameters_bytes: weight_bytes, load_ms },
      ceilings,
      readings: [],
      left_out: null,
    };
    for (const n of tokens) {
      const read = await readings(loupe, of, n, weight_bytes, signal);
      const gflops = flopsOf(of, n) / median(read.times_ms) / 1e6;
      made.readings.push({ ...read, gflops, share: ceilings && gflops / ceilings.gflops });
      show(made);
      if (median(read.times_ms) > LONGEST_MS && n !== tokens.at(-1)) {
        made.left_out = `Longer texts than ${n} tokens were left out: this one took more than ${LONGEST_MS / 1000} s.`;
        break;
      }
    }
    return made;
  } finally {
    loupe.free();
  }
}

/** Some readings of one length, and what one of them costs. */
async function readings(loupe: Loupe, of: Shape, n: number, weight_bytes: number, signal: AbortSignal) {
  const times_ms: number[] = [];
  let cost: Omit<Measured, "tokens" | "times_ms" | "gflops" | "share"> | null = null;
  for (let run = 0; run <= RUNS; run++) {
    status.textContent = `Reading ${integer(n)} tokens, ${run === 0 ? "to warm up" : `run ${run} of ${RUNS}`} …`;
    // Another text each time, so that nothing of the last one is reused.
    const ids = idsOf(n, run + 1, of);
    const before = loupe.counters();
    const began = performance.now();
    (await loupe.read(ids, { signal })).free();
    const took = performance.now() - began;
    const after = loupe.counters();
    cost = {
      dispatches: after.dispatches - before.dispatches,
      bind_groups: after.bind_groups - before.bind_groups,
      encoding_ms: after.encoding_ms - before.encoding_ms,
      read_bytes: after.read_bytes - before.read_bytes,
      peak_bytes: after.peak_bytes - weight_bytes,
    };
    if (run > 0) times_ms.push(took);
    // A slow one is not repeated.
    if (took > LONGEST_MS) return { tokens: n, times_ms: [took], ...cost };
  }
  if (!cost) throw new Error("nothing was read");
  return { tokens: n, times_ms, ...cost };
}

function show(made: Report) {
  report = made;
  byId("results").hidden = false;
  byId("summary").textContent = summaryOf(made);
  const row = (cells: string[]) => element("tr", "", ...cells.map((cell) => element("td", "", cell)));
  byId("rows").replaceChildren(...made.readings.map((of) => row(cellsOf(of))));
  byId("report").textContent = textOf(made);
}

choice.addEventListener("submit", (event) => {
  event.preventDefault();
  const of = shapeOf(shape.value);
  const tokens = of ? lengthsOf(lengths.value, of) : [];
  if (running || !of) return;
  if (tokens.length === 0) {
    status.textContent = `Enter lengths from 1 to ${of.n_ctx}, such as 8, 32, 128.`;
    return;
  }
  running = new AbortController();
  [start.disabled, stop.disabled] = [true, false];
  measure(of, tokens, running.signal)
    .then((made) => {
      show(made);
      status.textContent = "Done.";
    })
    .catch((error: unknown) => {
      const { code, message } = error as { code?: string; message: string };
      status.textContent = code === "aborted" ? "Stopped." : message;
    })
    .finally(() => {
      running = null;
      [start.disabled, stop.disabled] = [false, true];
    });
});
stop.addEventListener("click", () => running?.abort());
byId("copy").addEventListener("click", ({ currentTarget }) => {
  const button = currentTarget as HTMLButtonElement;
  if (!report) return;
  navigator.clipboard.writeText(textOf(report)).then(
    () => (button.textContent = "Copied"),
    () => (button.textContent = "The browser refused to copy"),
  );
});
byId("save").addEventListener("click", () => {
  if (report) save("loupe-bench.json", JSON.stringify(report, null, 1), "application/json");
});
fillFromAddress();
