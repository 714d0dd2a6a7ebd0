// @ts-check
/* global postMessage */
/** A worker that reads shares of a reading: it gets the pieces of the decoder, says when it has them, then gets shares. */

async function open() {
  const loupe_js = "/loupe/loupe.js";
  const { default: init, Loupe } = await import(loupe_js);
  await init();
  return Loupe.open({ device: "cpu" });
}

const opened = open();
/** @type {Promise<unknown>} */
let last = opened;

/** @param {unknown} given */
async function take(given) {
  const loupe = await opened;
  if (typeof given === "string") return loupe.receive_decoder(given);
  if (given instanceof Uint8Array) return (await loupe.receive(given)) && postMessage("ready");
  const folded = await loupe.fold(given);
  postMessage(folded, { transfer: [folded.merged.buffer, folded.target_logits.buffer, folded.top.buffer] });
}

globalThis.onmessage = ({ data }) => {
  last = last.then(() => take(data));
};
