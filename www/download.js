// @ts-check
/** Fetches a model folder in Hugging Face layout. All three files are asked for at once; the weights stay a stream. */
import { LoupeError } from "./outcome.js";

/**
 * @param {string} url @param {AbortSignal} signal
 * @returns {Promise<Response>}
 */
async function fetchFile(url, signal) {
  const response = await fetch(url, { signal }).catch((error) => {
    throw new LoupeError("network", `${url} could not be downloaded: ${error.message}`);
  });
  if (!response.ok) {
    throw new LoupeError(response.status === 404 ? "not-found" : "network", `${url} answered ${response.status} ${response.statusText}`.trim());
  }
  return response;
}

/** The length of the body as script will see it; unknown where the transfer is compressed. @param {Response} response */
function bodyBytes({ headers }) {
  const length = Number(headers.get("Content-Length"));
  return length > 0 && !headers.has("Content-Encoding") ? length : undefined;
}

/** @param {string} model_url the folder, with a slash at its end @param {AbortSignal} signal */
export async function fetchModel(model_url, signal) {
  const text = async (/** @type {string} */ name) => (await fetchFile(model_url + name, signal)).text();
  const [config, tokenizer, response] = await Promise.all([
    text("config.json"),
    text("tokenizer.json"),
    fetchFile(`${model_url}model.safetensors`, signal),
  ]);
  return { config, tokenizer, weights: response.body, weights_bytes: bodyBytes(response) };
}
