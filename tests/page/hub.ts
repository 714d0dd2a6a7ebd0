/**
 * A hub in one process: the listing and the redirects on one origin, the files on another, both as huggingface.co
 * answers, and every fault that a network has. It writes down what it was asked.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { RequestListener, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Folder } from "./checkpoints.ts";

/** What goes wrong with a model's weights, and with all of it where that says so. */
export interface Faults {
  /** this status for everything of the model */
  refuse?: number;
  /** one for each of the next requests */
  busy?: { status: number; retry_after?: string }[];
  /** this status for every request for the weights */
  always?: number;
  /** bytes after which the next answers break off */
  cut?: number[];
  /** once: bytes after which nothing more comes */
  stall?: number;
  /** bytes of each piece, one every 20 ms */
  drip?: number;
  /** this byte is another one */
  flip?: number;
  /** the size in the listing */
  announce?: number;
  no_listing?: boolean;
  no_ranges?: boolean;
  no_cors?: boolean;
  etag?: string;
}
/** `file`: "listing" for that */
export type Asked = { method: string; id: string; file: string; range: string | null; at: number };

const isWeights = (file: string) => /\.(safetensors|bin)$/.test(file);

const EXPOSED = "ETag, Content-Range, Accept-Ranges, Retry-After";
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

async function listen(listener: RequestListener, port: number = 0) {
  const server = createServer(listener);
  await new Promise((done) => server.listen(port, "127.0.0.1", () => done(undefined)));
  const address = server.address() as AddressInfo;
  return { server, port: address.port, origin: `http://127.0.0.1:${address.port}` };
}

const CUT_MS = 500;

/** @param models by id */
export async function startHub(models: Record<string, Folder>) {
  let asked: Asked[] = [];
  let faults: Record<string, Faults> = {};
  const commit = (id: string) => createHash("sha1").update(id).digest("hex");

  function send(bytes: Buffer, fault: Faults, response: ServerResponse) {
    const cut = fault.cut?.shift();
    const stop = cut ?? fault.stall ?? Infinity;
    const is_stalled = cut === undefined && fault.stall !== undefined;
    if (is_stalled) delete fault.stall;
    let at = 0;
    const next = () => {
      if (response.destroyed) return;
      const end = Math.min(bytes.length, stop, at + (fault.drip ?? 1 << 20));
      response.write(bytes.subarray(at, end), () => {
        at = end;
        if (at >= stop && is_stalled) return;
        // What was written has been read by then: a browser forgets what it has not passed on when a download breaks.
        if (at >= stop) return setTimeout(() => response.destroy(), CUT_MS);
        if (at >= bytes.length) return response.end();
        setTimeout(next, fault.drip ? 20 : 0);
      });
    };
    next();
  }

  /** The files' own origin. */
  const onFile: RequestListener = (request, response) => {
    const [, id, file] = /^\/blob\/(.+)\/([^/]+)$/.exec(decodeURIComponent(request.url ?? "")) as RegExpExecArray;
    const fault = faults[id] ?? {};
    const range = request.headers.range ?? null;
    asked.push({ method: request.method ?? "", id, file, range, at: performance.now() });
    if (!fault.no_cors) response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Expose-Headers", EXPOSED);
    const is_weights = isWeights(file);
    const busy = is_weights && request.method === "GET" ? fault.busy?.shift() : undefined;
    if (busy?.retry_after) response.setHeader("Retry-After", busy.retry_after);
    if (busy) return response.writeHead(busy.status).end();
    if (is_weights && fault.always) return response.writeHead(fault.always).end();
    let bytes = models[id][file];
    if (is_weights && fault.flip !== undefined) {
      bytes = Buffer.from(bytes);
      bytes[fault.flip] ^= 0xff;
    }
    response.setHeader("ETag", fault.etag ?? `"${sha256(bytes)}"`);
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (range && !fault.no_ranges) {
      if (from >= bytes.length) return response.writeHead(416).end();
      response.setHeader("Content-Range", `bytes ${from}-${bytes.length - 1}/${bytes.length}`);
    }
    const part = range && !fault.no_ranges ? bytes.subarray(from) : bytes;
    response.writeHead(part === bytes ? 200 : 206, { "Content-Length": part.length });
    if (request.method === "HEAD") return response.end();
    send(part, is_weights ? fault : {}, response);
  };

  /** The listing, and where the files are. */
  const onFront: RequestListener = (request, response) => {
    const url = new URL(request.url ?? "", "http://hub");
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Expose-Headers", EXPOSED);
    const listing = /^\/api\/models\/(.+)\/revision\/([^/]+)$/.exec(url.pathname);
    const [, id, revision, file] = listing
      ? [...listing, "listing"]
      : (/^\/(.+)\/resolve\/([^/]+)\/([^/]+)$/.exec(url.pathname) ?? []);
    const notFound = () => response.writeHead(404).end("Entry not found");
    if (!id) return notFound();
    const fault = faults[id] ?? {};
    if (listing) asked.push({ method: request.method ?? "", id, file, range: null, at: performance.now() });
    if (fault.refuse) return response.writeHead(fault.refuse).end();
    const model = models[id];
    if (!model || !["main", commit(id)].includes(decodeURIComponent(revision))) return notFound();
    if (!listing) {
      return model[file]
        ? response.writeHead(302, { Location: `${files.origin}/blob/${id}/${file}` }).end()
        : notFound();
    }
    if (fault.no_listing || url.searchParams.get("blobs") !== "true") return notFound();
    const siblings = Object.entries(model).map(([rfilename, bytes]) => {
      if (!isWeights(rfilename)) return { rfilename, size: bytes.length, blobId: "0" };
      const size = fault.announce ?? bytes.length;
      return { rfilename, size, blobId: "0", lfs: { sha256: sha256(bytes), size } };
    });
    response.setHeader("Content-Type", "application/json").end(JSON.stringify({ id, sha: commit(id), siblings }));
  };

  let files = await listen(onFile);
  let front = await listen(onFront);
  const stop = async (server: Server) => {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  };

  return {
    base: front.origin,
    origins: [front.origin, files.origin],
    /** Sets what goes wrong with a model, and forgets what was asked. */
    set(id: string, fault: Faults = {}) {
      faults = { ...faults, [id]: fault };
      asked = [];
    },
    reset() {
      faults = {};
      asked = [];
    },
    /** What was asked for. */
    asked: (id?: string) => asked.filter((each) => !id || each.id === id),
    /** Requests for the weights' bytes, in order: the byte each began at. */
    starts: (id: string) =>
      asked
        .filter((each) => each.id === id && each.method === "GET" && isWeights(each.file))
        .map(({ range }) => Number(/\d+/.exec(range ?? "0")?.[0])),
    async close() {
      await Promise.all([stop(front.server), stop(files.server)]);
    },
    async reopen() {
      files = await listen(onFile, files.port);
      front = await listen(onFront, front.port);
    },
  };
}
