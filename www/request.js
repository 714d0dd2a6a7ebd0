// @ts-check
/** One request to the hub, and what a refusal means: a Fault if another attempt may help, otherwise a LoupeError. */
import { LoupeError } from "./outcome.js";
import { Fault, throwIfAborted } from "./patience.js";

/**
 * @typedef {object} Hub
 * @property {string} base its address, without a slash at the end
 * @property {number} retry_ms the first wait before another attempt
 * @property {number} stall_ms how long no byte may come
 */

/**
 * @typedef {object} HubFile
 * @property {string} url
 * @property {string} name
 * @property {string} what the file in words, for messages
 * @property {number | null} bytes its length by the hub's listing
 * @property {string | null} sha256 by the hub's listing
 * @property {string | null} etag as first seen
 */

/** Without credentials, without a copy in the HTTP cache, and without a word about the page that asks. */
const OPTIONS = /** @type {const} */ ({ credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" });

/** A server that asks to come back later does so in seconds or by a date. @param {Headers} headers */
function askedWait(headers) {
  const asked = headers.get("Retry-After");
  if (!asked) return 0;
  const seconds = Number(asked);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(asked) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : 0;
}

/**
 * Waits for a step of a download, but not for ever.
 * @template T
 * @param {number} ms @param {Promise<T>} step @param {AbortSignal} signal
 * @returns {Promise<T>}
 */
export async function within(ms, step, signal) {
  step.catch(() => {});
  let settle = () => {};
  const limit = new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Fault(`nothing came for ${Math.ceil(ms / 1000)} s`)), ms);
    const stop = () => reject(new LoupeError("aborted", "Cancelled."));
    signal.addEventListener("abort", stop);
    settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
  });
  try {
    return /** @type {T} */ (await Promise.race([step, limit]));
  } finally {
    settle();
  }
}

/** Whether the server answers at all, if not to other pages. @param {string} url @param {Hub} hub @param {AbortSignal} signal */
const answersInSilence = (url, { stall_ms }, signal) =>
  within(stall_ms, fetch(url, { ...OPTIONS, method: "HEAD", mode: "no-cors", signal }), signal).then(() => true, () => false);

/**
 * Why fetch threw: the browser does not say.
 * @param {HubFile} file @param {Hub} hub @param {boolean} is_first @param {AbortSignal} signal
 */
async function reasonOf(file, hub, is_first, signal) {
  throwIfAborted(signal);
  const host = new URL(file.url).host;
  if (navigator.onLine === false) {
    const reason = "You are offline: a model that is not kept needs the network";
    return is_first ? new LoupeError("network", `${reason}.`) : new Fault(reason);
  }
  if (is_first && (await answersInSilence(file.url, hub, signal))) {
    return new LoupeError("network", `${host} answers, but does not allow other pages to read ${file.what} (CORS). Download the files in the browser and open them from this computer.`);
  }
  throwIfAborted(signal);
  return new Fault(`${host} could not be reached`);
}

/**
 * Errors: Fault, `denied`, `not-found`, `corrupt`, `network`, `aborted`.
 * @param {Hub} hub @param {HubFile} file
 * @param {{ from?: number, method?: "GET" | "HEAD", is_first: boolean, signal: AbortSignal }} how
 *   `is_first`: nothing of this file has come yet
 */
export async function request(hub, file, { from = 0, method = "GET", is_first, signal }) {
  // A plain range needs no preflight; any other header would.
  const headers = from > 0 ? { Range: `bytes=${from}-` } : undefined;
  const asked = fetch(file.url, { ...OPTIONS, method, headers, signal });
  const response = await within(hub.stall_ms, asked, signal).catch(async (error) => {
    throw error instanceof Fault || error instanceof LoupeError ? error : await reasonOf(file, hub, is_first, signal);
  });
  if (response.ok) return response;
  void response.body?.cancel().catch(() => {});
  const { status } = response;
  const host = new URL(file.url).host;
  if (status === 401 || status === 403) {
    throw new LoupeError("denied", `${host} refuses ${file.what} (${status}): it does not exist, is private, or wants a licence accepted. Loupe never signs in; download the files in the browser and open them from this computer.`);
  }
  if (status === 404) throw new LoupeError("not-found", `${host} has no ${file.what}.`);
  if (status === 416) throw changed(file, "it is shorter than was announced");
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    throw new Fault(`${host} answered ${status}`, askedWait(response.headers));
  }
  throw new LoupeError("network", `${host} answered ${status} for ${file.what}.`);
}

/** @param {HubFile} file @param {string} how */
export const changed = (file, how) =>
  new LoupeError("corrupt", `${file.what} changed on the server while it was downloaded: ${how}. Start again.`);
