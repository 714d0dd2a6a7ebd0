/**
 * Workers beside the engine's, which read some positions of each reading on the CPU. They hold a copy of the decoder and
 * end with the model.
 */
import * as Comlink from "comlink";
import helper_url from "../helper.ts?worker&url";
import { startWorker } from "./start-worker.ts";
import type { Loupe, Share } from "../../src/web/types.d.ts";
import type { HelperApi } from "../helper.ts";

/** More workers than these would wait for the engine's own share. */
const MAX_HELPERS = 3;
/** Numbers of an unembedding that are worth a worker. */
const WORTH = 500_000;
/** As long as a helper may take for its share before the engine reads it itself. */
const ANSWER_MS = 20_000;

/** How many helpers pay for a model on this machine. */
export function helpersFor(n_embd: number, vocab_size: number, n_cores: number) {
  return n_embd * vocab_size < WORTH ? 0 : Math.max(0, Math.min(MAX_HELPERS, n_cores - 1));
}

/** Workers that have the decoder of a model. */
export interface Helpers {
  /** Ends the shares that they read, because the reading is cancelled. */
  drop(): void;
  end(): void;
}

/**
 * Starts helpers for the model in use and shares its readings with them. Once one of them fails, all of them end, and
 * the engine reads by itself.
 * @param engine_url of the engine's module
 * @param isCurrent whether that model is still in use
 */
export async function startHelpers(
  loupe: Loupe,
  engine_url: string,
  n: number,
  isCurrent: () => boolean,
): Promise<Helpers> {
  const workers = Array.from({ length: n }, () => startWorker(new URL(helper_url, import.meta.url).href));
  const remotes = workers.map((worker) => Comlink.wrap<HelperApi>(worker));
  let fail: (why: Error) => void = () => {};
  // A worker that fails never answers: what waits for it ends.
  const failed = new Promise<never>((_, reject) => (fail = reject));
  const end = () => {
    workers.forEach((worker) => worker.terminate());
    fail(new Error("the helpers have ended"));
  };
  for (const worker of workers)
    worker.addEventListener("error", (event) => {
      // Else it would count as an error of this worker as well.
      event.preventDefault();
      end();
      if (isCurrent()) loupe.share([]);
    });
  failed.catch(() => {});
  const orFailed = <T>(work: Promise<T>) => Promise.race([work, failed]);

  let stop: (why: Error) => void = () => {};
  let dropped: Promise<never>;
  const begin = () => {
    dropped = new Promise<never>((_, reject) => (stop = reject));
    dropped.catch(() => {});
  };
  begin();
  const drop = () => {
    for (const remote of remotes) void remote.drop();
    stop(new Error("the reading is cancelled"));
    begin();
  };

  const fold = async (remote: Comlink.Remote<HelperApi>, share: Share) => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(reject, ANSWER_MS, new Error("a helper is late"));
    });
    try {
      const given = Comlink.transfer(share, [share.rows.buffer, share.targets.buffer]);
      return await Promise.race([remote.fold(given), late, failed, dropped]);
    } finally {
      clearTimeout(timer);
    }
  };

  try {
    await orFailed(Promise.all(remotes.map((remote) => remote.begin(engine_url))));
    let received = Promise.resolve<unknown>(null);
    await loupe.send_decoder((piece) => {
      received = received.then(() => Promise.all(remotes.map((remote) => remote.receive(piece))));
    });
    await orFailed(received);
    if (!isCurrent()) throw new Error("another model is in use");
    loupe.share(remotes.map((remote) => (share: Share) => fold(remote, share)));
  } catch (error) {
    end();
    throw error;
  }
  return { drop, end };
}
