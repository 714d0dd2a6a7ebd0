/** One request to the hub, and what a refusal means: a RetryableError if another attempt may help, otherwise a LoupeError. */
import { LoupeError } from "../engine/errors.ts";
import { RetryableError, throwIfAborted } from "./retry.ts";
import type { Hub } from "../engine/protocol.ts";

export interface HubFile {
  url: string;
  name: string;
  /** the file in words, for messages */
  what: string;
  /** its length by the hub's listing */
  bytes: number | null;
  /** by the hub's listing */
  sha256: string | null;
  /** as first seen */
  etag: string | null;
}

/** Without credentials, without a copy in the HTTP cache, and without a word about the page that asks. */
const OPTIONS = { credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" } as const;

/** A server that asks to come back later does so in seconds or by a date. */
function askedWait(headers: Headers) {
  const asked = headers.get("Retry-After");
  if (!asked) return 0;
  const seconds = Number(asked);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(asked) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : 0;
}

/** Waits for a step of a download, but not for ever. */
export async function within<T>(ms: number, step: Promise<T>, signal: AbortSignal): Promise<T> {
  step.catch(() => {});
  let settle = () => {};
  const limit = new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new RetryableError(`nothing came for ${Math.ceil(ms / 1000)} s`)), ms);
    const stop = () => reject(new LoupeError("aborted", "Cancelled."));
    signal.addEventListener("abort", stop);
    settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
  });
  try {
    return (await Promise.race([step, limit])) as T;
  } finally {
    settle();
  }
}

/** Whether the server answers at all, if not to other pages. */
const answersInSilence = (url: string, { stall_ms }: Hub, signal: AbortSignal) =>
  within(stall_ms, fetch(url, { ...OPTIONS, method: "HEAD", mode: "no-cors", signal }), signal).then(
    () => true,
    () => false,
  );

/** Why fetch threw: the browser does not say. */
async function reasonOf(file: HubFile, hub: Hub, is_first: boolean, signal: AbortSignal) {
  throwIfAborted(signal);
  const host = new URL(file.url).host;
  if (navigator.onLine === false) {
    const reason = "You are offline: a model that is not kept needs the network";
    return is_first ? new LoupeError("network", `${reason}.`) : new RetryableError(reason);
  }
  if (is_first && (await answersInSilence(file.url, hub, signal))) {
    return new LoupeError(
      "network",
      `${host} answers, but does not allow other pages to read ${file.what} (CORS). Download the files in the browser and open them from this computer.`,
    );
  }
  throwIfAborted(signal);
  return new RetryableError(`${host} could not be reached`);
}

/**
 * Errors: RetryableError, `denied`, `not-found`, `corrupt`, `network`, `aborted`.
 * @param how `is_first`: nothing of this file has come yet
 */
export async function request(
  hub: Hub,
  file: HubFile,
  {
    from = 0,
    method = "GET",
    is_first,
    signal,
  }: { from?: number; method?: "GET" | "HEAD"; is_first: boolean; signal: AbortSignal },
) {
  // A plain range needs no preflight; any other header would.
  const headers = from > 0 ? { Range: `bytes=${from}-` } : undefined;
  const asked = fetch(file.url, { ...OPTIONS, method, headers, signal });
  const response = await within(hub.stall_ms, asked, signal).catch(async (error) => {
    throw error instanceof RetryableError || error instanceof LoupeError
      ? error
      : await reasonOf(file, hub, is_first, signal);
  });
  if (response.ok) return response;
  void response.body?.cancel().catch(() => {});
  const { status } = response;
  const host = new URL(file.url).host;
  if (status === 401 || status === 403) {
    throw new LoupeError(
      "denied",
      `${host} refuses ${file.what} (${status}): it does not exist, is private, or wants a licence accepted. Loupe never signs in; download the files in the browser and open them from this computer.`,
    );
  }
  if (status === 404) throw new LoupeError("not-found", `${host} has no ${file.what}.`);
  if (status === 416) throw changed(file, "it is shorter than was announced");
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    throw new RetryableError(`${host} answered ${status}`, askedWait(response.headers));
  }
  throw new LoupeError("network", `${host} answered ${status} for ${file.what}.`);
}

export const changed = (file: HubFile, how: string) =>
  new LoupeError("corrupt", `${file.what} changed on the server while it was downloaded: ${how}. Start again.`);
