/**
 * A file of the hub as a stream that survives faults: after a cut, a stall or a busy server it waits and goes on
 * where it was, by a range request. Only what can never become right ends it.
 */
import { LoupeError, codeOf } from "../engine/errors.ts";
import { RetryableError, createBackoff } from "./retry.ts";
import { changed, request, within } from "./hub-request.ts";
import type { HubFile } from "./hub-request.ts";
import type { Watch } from "./retry.ts";
import type { Hub } from "../engine/protocol.ts";

/** Servers mark the same file differently when they compress it. */
const sameContent = (etag: string) => etag.replace(/^W\//, "").replace(/-(gzip|br)"$/, '"');

/** Holds an answer against what is known of the file. */
function checkAnswer({ status, headers }: Response, file: HubFile, at: number) {
  const etag = headers.get("ETag");
  if (etag) {
    file.etag ??= etag;
    if (sameContent(file.etag) !== sameContent(etag)) throw changed(file, "its ETag is another one");
  }
  // Hidden where the server does not expose it.
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("Content-Range") ?? "");
  if (status === 206 && range) {
    if (Number(range[1]) !== at)
      throw new LoupeError("corrupt", `The server sent another part of ${file.what} than was asked for.`);
    file.bytes ??= Number(range[2]);
    if (Number(range[2]) !== file.bytes) throw changed(file, `it has ${range[2]} bytes, ${file.bytes} were announced`);
  }
  const length = Number(headers.get("Content-Length"));
  const end = (status === 206 ? at : 0) + length;
  // A shorter one may only be compressed.
  if (file.bytes !== null && length > 0 && end > file.bytes) throw tooLong(file);
}

const tooLong = (file: HubFile) =>
  new LoupeError("corrupt", `${file.what} is longer than the ${file.bytes} bytes that were announced.`);

export function openFile(hub: Hub, file: HubFile, watch: Watch, from: number = 0): ReadableStream<Uint8Array> {
  const closing = new AbortController();
  const all = AbortSignal.any([watch.signal, closing.signal]);
  const backoff = createBackoff(hub.retry_ms, { ...watch, signal: all });
  let at = from;
  /** Bytes to pass over, where the server does not know ranges. */
  let skip = 0;
  let reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  let attempt = new AbortController();

  async function connect() {
    attempt = new AbortController();
    const signal = AbortSignal.any([all, attempt.signal]);
    const response = await request(hub, file, { from: at, is_first: at === from, signal });
    checkAnswer(response, file, at);
    skip = response.status === 206 ? 0 : at;
    return (response.body as ReadableStream<Uint8Array>).getReader();
  }

  /** The next bytes, or null at the end. Errors: RetryableError, LoupeError. */
  async function next() {
    reader ??= await connect();
    for (;;) {
      const { done, value } = await within(hub.stall_ms, reader.read(), all).catch((error) => {
        throw error instanceof LoupeError || error instanceof RetryableError
          ? error
          : new RetryableError("the connection was cut");
      });
      if (done) {
        if (file.bytes !== null && at < file.bytes) throw new RetryableError("the connection was cut");
        return null;
      }
      const fresh = value.subarray(Math.min(skip, value.length));
      skip -= value.length - fresh.length;
      if (file.bytes !== null && at + fresh.length > file.bytes) throw tooLong(file);
      at += fresh.length;
      if (fresh.length > 0) return fresh;
    }
  }

  return new ReadableStream(
    {
      async pull(controller) {
        for (;;) {
          try {
            const bytes = await next();
            backoff.reset();
            return bytes ? controller.enqueue(bytes) : controller.close();
          } catch (error) {
            attempt.abort();
            reader = null;
            if (!(error instanceof RetryableError)) throw error;
            await backoff.after(error);
          }
        }
      },
      cancel: () => closing.abort(),
    },
    { highWaterMark: 0 },
  );
}

/** A small file as text. */
export async function fetchText(hub: Hub, file: HubFile, watch: Watch) {
  // Not by way of a Response, which would make one and the same TypeError of every failure.
  const reader = openFile(hub, file, watch).getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
  }
}

/**
 * What the server says of a file without sending it: whether it is there, its ETag, and the length of the answer,
 * which is the file's own unless the server compresses.
 * @returns null where there is no such file
 */
export async function peek(hub: Hub, file: HubFile, watch: Watch): Promise<{ bytes: number | null } | null> {
  const backoff = createBackoff(hub.retry_ms, watch);
  for (;;) {
    try {
      const { headers } = await request(hub, file, { method: "HEAD", is_first: true, signal: watch.signal });
      file.etag = headers.get("ETag");
      return { bytes: Number(headers.get("Content-Length")) || null };
    } catch (error) {
      if (codeOf(error) === "not-found") return null;
      if (!(error instanceof RetryableError)) throw error;
      await backoff.after(error);
    }
  }
}
