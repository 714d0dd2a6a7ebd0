// @ts-check
/* global Worker */
/**
 * Times readings of a model in headless Chromium, in turns in one page:
 * `node benches/devices.mjs MODEL TOKENS [cpu|shared|gpu|onnx|onnx-gpu|tfjs|jax …]`, with a folder that has config.json
 * and model.safetensors, or with `L,C,V` for random weights of a GPT-2 with so many blocks, channels and tokens.
 *
 * `cpu` and `gpu` are Loupe, `shared` is Loupe on the CPU with a helper in a worker, which is worth it where there are
 * two cores. The others are the same reading by other packages, on the same weights, as well as these can be asked for it:
 * `onnx` is a graph of ONNX Runtime on one thread of WebAssembly, `onnx-gpu` one on its WebGPU, `tfjs` is TensorFlow.js
 * on its WebGPU, `jax` is jax-js on its WebGPU. `npm ci --ignore-scripts --prefix benches/peers` installs them. One
 * that is not installed or does not start is reported, and left out.
 *
 * Every device reads the same texts, and before any time is printed its numbers are compared with the first one's: it is
 * an error if they are further apart than common/numbers.mjs allows.
 */
import { readFileSync } from "node:fs";
import { limitOf } from "./common/numbers.mjs";
import { model } from "./common/models.mjs";
import { onnx, SORTS } from "./common/onnx.mjs";
import { median, served } from "./common/served.mjs";

const RUNS = 7;
const PEERS = "benches/peers/node_modules";
const DEVICES = ["cpu", "shared", "gpu", "onnx", "onnx-gpu", "tfjs", "jax"];
const [name, count, ...given] = process.argv.slice(2);
const n_tokens = Number(count);
const asked = given.length > 0 ? given : ["cpu", "gpu"];
const unknown = asked.filter((device) => !DEVICES.includes(device));
if (unknown.length > 0) throw new Error(`${unknown.join(", ")}: the devices are ${DEVICES.join(", ")}`);
const made = await model(name);

/** @type {Record<string, string>} Why a peer was left out */
const left_out = {};
/** @type {Record<string, string | Uint8Array>} */
const files = { "/config.json": made.config, "/model.safetensors": made.weights };
for (const device of asked.filter((device) => device.startsWith("onnx")))
  try {
    files[`/${device}.onnx`] = onnx(made, n_tokens, device === "onnx-gpu");
  } catch (error) {
    left_out[device] = String(error);
  }
files["/helper.js"] = readFileSync("benches/common/helper.mjs");
const folders = {
  loupe: "dist/loupe",
  common: "benches/common",
  onnx: `${PEERS}/onnxruntime-web/dist`,
  "tfjs-core": `${PEERS}/@tensorflow/tfjs-core/dist`,
  "tfjs-backend-webgpu": `${PEERS}/@tensorflow/tfjs-backend-webgpu/dist`,
  jax: `${PEERS}/@jax-js/jax/dist`,
};
const { browser, address, close } = await served(folders, files);
try {
  const page = await browser.newPage();
  await page.goto(address);
  const found = await page.evaluate(
    async ({ devices, n_tokens, runs, sorts }) => {
      /** @typedef {import("./common/numbers.mjs").Numbers} Numbers */
      /** @typedef {(ids: Uint32Array) => Promise<Numbers>} Reader Reads the ids but the last, which is the next one */
      // The packages import each other by name. A page takes such names only before its first import.
      const imports = { "@tensorflow/tfjs-core": "/tfjs-core/tf-core.fesm.min.js" };
      const map = Object.assign(document.createElement("script"), { type: "importmap" });
      map.textContent = JSON.stringify({ imports });
      document.head.append(map);
      // The addresses are the server's, not a file's.
      const [loupe_js, numbers_js] = ["/loupe/loupe.js", "/common/numbers.mjs"];
      const { default: init, Loupe } = await import(loupe_js);
      /** @type {typeof import("./common/numbers.mjs")} */
      const { differences, numbersOf, TOP } = await import(numbers_js);
      const wasm = await init();
      const config = await (await fetch("/config.json")).text();
      const { vocab_size, n_layer } = JSON.parse(config);
      const n = n_layer + 1;

      /**
       * @param {string} device
       * @returns {Promise<Reader>}
       */
      async function loupe(device) {
        const loupe = await Loupe.open({ device: device === "shared" ? "cpu" : device });
        await loupe.load({ config, weights: (await fetch("/model.safetensors")).body });
        if (device === "shared") {
          const helper = new Worker("/helper.js", { type: "module" });
          const answer = () =>
            new Promise((done, failed) => {
              helper.onmessage = ({ data }) => done(data);
              helper.onerror = failed;
            });
          /** @type {Promise<unknown>} */
          let ready = answer();
          await loupe.send_decoder((/** @type {string | Uint8Array} */ piece) => helper.postMessage(piece));
          await ready;
          loupe.share([
            (/** @type {{ rows: Float32Array, targets: Uint32Array }} */ share) => {
              const folded = answer();
              helper.postMessage(share, [share.rows.buffer, share.targets.buffer]);
              return folded;
            },
          ]);
        }
        return async (ids) => {
          const reading = await loupe.read(ids.slice(0, n_tokens), { top_k: TOP });
          const names = ["logsumexp", "entropy", "kl_final", "kl_final_reverse", "kl_input", "kl_input_reverse"];
          const others = ["logit_final", "rank_final", "logprob_input", "rank_input", "logprob_next", "rank_next"];
          /** @type {Numbers} */
          const numbers = Object.fromEntries([...names, ...others].map((name) => [name, reading.stat(name)]));
          numbers.top_logits = reading.top_logits;
          numbers.top_ids = Float32Array.from(reading.top_ids);
          reading.free();
          return numbers;
        };
      }

      /**
       * @param {string} device
       * @returns {Promise<Reader>}
       */
      async function onnx(device) {
        const ort = await import(device === "onnx" ? "/onnx/ort.wasm.min.mjs" : "/onnx/ort.webgpu.min.mjs");
        ort.env.wasm.numThreads = 1;
        ort.env.wasm.wasmPaths = "/onnx/";
        const graph = new Uint8Array(await (await fetch(`/${device}.onnx`)).arrayBuffer());
        const providers = device === "onnx" ? ["wasm"] : [{ name: "webgpu", forceCpuNodeNames: sorts }];
        const session = await ort.InferenceSession.create(graph, { executionProviders: providers });
        return async (ids) => {
          const input = new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [ids.length]);
          const found = await session.run({ ids: input });
          const sums = Object.fromEntries(Object.entries(found).map(([name, { data }]) => [name, data]));
          return numbersOf(/** @type {import("./common/numbers.mjs").Sums} */ (sums), n, n_tokens);
        };
      }

      /**
       * @param {string} device
       * @returns {Promise<Reader>}
       */
      async function peer(device) {
        const { open } = await import(`/common/${device}.mjs`);
        const weights = new Uint8Array(await (await fetch("/model.safetensors")).arrayBuffer());
        const read = await open(JSON.parse(config), weights, n_tokens);
        return async (ids) => numbersOf(await read(ids), n, n_tokens);
      }

      const is_ours = (/** @type {string} */ device) => ["cpu", "shared", "gpu"].includes(device);
      /** @type {{ device: string, read: Reader, times: number[], apart: Record<string, number> }[]} */
      const readers = [];
      /** @type {Record<string, string>} */
      const failed = {};
      for (const device of devices)
        try {
          const opening = is_ours(device) ? loupe(device) : device.startsWith("onnx") ? onnx(device) : peer(device);
          readers.push({ device, read: await opening, times: [], apart: {} });
        } catch (error) {
          if (is_ours(device)) throw error;
          failed[device] = String(error);
        }
      let next = 1;
      // In turns, and forth and back, so that a slow minute favours none. The first round is not counted.
      for (let run = 0; run <= runs; run++) {
        // Other tokens each time, so that nothing is reused.
        const ids = Uint32Array.from({ length: n_tokens + 1 }, () => (next = (next * 48271) % 2147483647) % vocab_size);
        /** @type {Map<string, Numbers>} */
        const numbers = new Map();
        for (const { device, read, times } of run % 2 ? readers.toReversed() : [...readers])
          try {
            const start = performance.now();
            numbers.set(device, await read(ids));
            if (run > 0) times.push(performance.now() - start);
          } catch (error) {
            if (is_ours(device)) throw error;
            failed[device] = String(error);
          }
        for (let i = readers.length - 1; i >= 0; i--) if (readers[i].device in failed) readers.splice(i, 1);
        const first = numbers.get(readers[0]?.device);
        for (const { device, apart } of readers.slice(1)) {
          const other = numbers.get(device);
          if (!first || !other) continue;
          for (const [name, most] of Object.entries(differences(first, other, n_tokens)))
            apart[name] = Math.max(apart[name] ?? 0, most);
        }
      }
      const read = readers.map(({ device, times, apart }) => ({ device, times, apart }));
      return { read, failed, wasm_bytes: wasm.memory.buffer.byteLength };
    },
    { devices: asked.filter((device) => !(device in left_out)), n_tokens, runs: RUNS, sorts: SORTS },
  );
  Object.assign(left_out, found.failed);
  for (const [device, why] of Object.entries(left_out)) console.error(`${device} was left out: ${why}`);
  const [first, ...others] = found.read;
  if (!first) throw new Error("no device could read");
  if (others.length > 0) console.log(`largest differences from ${first.device}:`);
  const wrong = [];
  for (const { device, apart } of others) {
    const each = Object.entries(apart);
    console.log(`  ${device}: ${each.map(([name, most]) => `${name} ${Number(most.toPrecision(2))}`).join(", ")}`);
    for (const [name, most] of each) if (!(most <= limitOf(name))) wrong.push(`${name} of ${device}`);
  }
  if (wrong.length > 0) throw new Error(`too far from ${first.device}, so no times: ${wrong.join(", ")}`);
  console.log(`\nchromium ${browser.version()}, T=${n_tokens}, ms of ${RUNS} readings`);
  const gpu = found.read.find(({ device }) => device === "gpu");
  const line = (/** @type {string[]} */ [device, ...cells]) =>
    console.log(device.padEnd(8) + cells.map((cell) => cell.padStart(10)).join(""));
  line(["device", "median", "least", "most", ...(gpu ? ["/ gpu"] : [])]);
  for (const { device, times } of found.read) {
    const ratio = gpu ? [(median(times) / median(gpu.times)).toFixed(2)] : [];
    line([device, ...[median(times), Math.min(...times), Math.max(...times)].map((ms) => ms.toFixed(1)), ...ratio]);
  }
  console.log(`WebAssembly memory of Loupe: ${(found.wasm_bytes / 1e6).toFixed(0)} MB`);
} finally {
  await close();
}
