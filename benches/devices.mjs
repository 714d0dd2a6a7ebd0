// @ts-check
/* global Worker */
/**
 * Times readings of a model in headless Chromium, in turns in one page:
 * `node benches/devices.mjs MODEL TOKENS [cpu|shared|gpu|onnx …]`, with a folder that has config.json and
 * model.safetensors, or with `L,C,V` for random weights of a GPT-2 with so many blocks, channels and tokens. `shared` is
 * the CPU with a helper in a worker, which is worth it where there are two cores. `onnx` is the same reading as a
 * graph of ONNX Runtime on one thread of WebAssembly, which `npm ci --ignore-scripts --prefix benches/peers` installs;
 * its numbers are compared with the first device's.
 */
import { readFileSync } from "node:fs";
import { model } from "./common/models.mjs";
import { onnx } from "./common/onnx.mjs";
import { median, served } from "./common/served.mjs";

const RUNS = 7;
const [name, count, ...given] = process.argv.slice(2);
const n_tokens = Number(count);
const devices = given.length > 0 ? given : ["cpu", "gpu"];
const made = await model(name);

/** @type {Record<string, string | Uint8Array>} */
const files = { "/config.json": made.config, "/model.safetensors": made.weights };
if (devices.includes("onnx")) files["/graph.onnx"] = onnx(made, n_tokens);
files["/helper.js"] = readFileSync("benches/common/helper.mjs");
const folders = { loupe: "dist/loupe", onnx: "benches/peers/node_modules/onnxruntime-web/dist" };
const { browser, address, close } = await served(folders, files);
try {
  const page = await browser.newPage();
  await page.goto(address);
  const found = await page.evaluate(
    async ({ devices, n_tokens, runs }) => {
      /** @typedef {Record<string, Float32Array>} Numbers Numbers of a reading, by row and position */
      // The addresses are the server's, not a file's.
      const [loupe_js, onnx_js] = ["/loupe/loupe.js", "/onnx/ort.wasm.min.mjs"];
      const { default: init, Loupe } = await import(loupe_js);
      const wasm = await init();
      const config = await (await fetch("/config.json")).text();
      const { vocab_size, n_layer } = JSON.parse(config);
      const n = n_layer + 1;

      /** @param {string} device */
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
        return async (/** @type {Uint32Array} */ ids) => {
          const reading = await loupe.read(ids.slice(0, n_tokens));
          const names = ["logsumexp", "entropy", "kl_final", "kl_final_reverse", "kl_input", "kl_input_reverse"];
          const others = ["logit_final", "rank_final", "logprob_input", "rank_input", "logprob_next", "rank_next"];
          /** @type {Numbers} */
          const numbers = Object.fromEntries([...names, ...others].map((name) => [name, reading.stat(name)]));
          reading.free();
          return numbers;
        };
      }

      async function onnx() {
        const ort = await import(onnx_js);
        ort.env.wasm.numThreads = 1;
        ort.env.wasm.wasmPaths = "/onnx/";
        const graph = new Uint8Array(await (await fetch("/graph.onnx")).arrayBuffer());
        const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
        return async (/** @type {Uint32Array} */ ids) => {
          const input = new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [ids.length]);
          const { logsumexp, cross, own, above } = await session.run({ ids: input });
          /**
           * @param {(at: (row: number) => number, row: number) => number} value
           * @param {{ data: Float32Array }} from
           * @param {number} width
           */
          const fill = (from, width, value) => {
            const values = new Float32Array(n * n_tokens);
            for (let row = 0; row < n; row++)
              for (let position = 0; position < n_tokens; position++) {
                const at = (/** @type {number} */ i) => from.data[position * n * width + i];
                values[row * n_tokens + position] = value(at, row);
              }
            return values;
          };
          const lse = fill(logsumexp, 1, (at, row) => at(row));
          /**
           * @param {number} of
           * @param {number} to
           */
          const sums = (of, to) =>
            fill(cross, n, (at, row) => {
              const [p, q] = [of < 0 ? row : of, to < 0 ? row : to];
              return at(p * n + p) - at(p * n + q);
            });
          const logits = [0, 1, 2].map((i) => fill(own, 3, (at, row) => at(row * 3 + i)));
          const ranks = [0, 1, 2].map((i) => fill(above, 3, (at, row) => at(row * 3 + i) + 1));
          /** @type {Numbers} */
          const numbers = {
            logsumexp: lse,
            entropy: fill(cross, n, (at, row) => -at(row * n + row)),
            kl_final: sums(n - 1, -1),
            kl_final_reverse: sums(-1, n - 1),
            kl_input: sums(0, -1),
            kl_input_reverse: sums(-1, 0),
            logit_final: logits[0],
            rank_final: ranks[0],
            logprob_input: logits[1].map((logit, i) => logit - lse[i]),
            rank_input: ranks[1],
            logprob_next: logits[2].map((logit, i) => logit - lse[i]),
            rank_next: ranks[2],
          };
          return numbers;
        };
      }

      const readers = [];
      for (const device of devices) readers.push(await (device === "onnx" ? onnx() : loupe(device)));
      const times = devices.map(() => /** @type {number[]} */ ([]));
      /** @type {Record<string, number>} */
      const differences = {};
      let next = 1;
      // In turns, and forth and back, so that a slow minute favours neither. The first round is not counted.
      for (let run = 0; run <= runs; run++) {
        const order = readers.map((_, i) => (run % 2 ? readers.length - 1 - i : i));
        // Other tokens each time, so that nothing is reused.
        const ids = Uint32Array.from({ length: n_tokens + 1 }, () => (next = (next * 48271) % 2147483647) % vocab_size);
        /** @type {Numbers[]} */
        const numbers = [];
        for (const i of order) {
          const start = performance.now();
          numbers[i] = await readers[i](ids);
          if (run > 0) times[i].push(performance.now() - start);
        }
        const onnx_at = devices.indexOf("onnx");
        if (onnx_at < 0) continue;
        for (const [name, values] of Object.entries(numbers[0])) {
          // A reading has no next token at the last position.
          const without = (/** @type {number} */ i) => name.endsWith("_next") && (i + 1) % n_tokens === 0;
          const apart = Array.from(values, (value, i) =>
            without(i) ? 0 : Math.abs(value - numbers[onnx_at][name][i]),
          );
          differences[name] = Math.max(differences[name] ?? 0, ...apart);
        }
      }
      return { times, differences, wasm_bytes: wasm.memory.buffer.byteLength };
    },
    { devices, n_tokens, runs: RUNS },
  );
  console.log(`chromium ${browser.version()}, T=${n_tokens}, median of ${RUNS} (least to most)`);
  for (const [i, times] of found.times.entries())
    console.log(
      `${devices[i]}: ${median(times).toFixed(0)} ms (${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)})`,
    );
  for (const [name, apart] of Object.entries(found.differences))
    console.log(`largest difference of ${name}: ${apart.toPrecision(2)}`);
  console.log(`WebAssembly memory of Loupe: ${(found.wasm_bytes / 1e6).toFixed(0)} MB`);
} finally {
  await close();
}
