/** A worker with a copy of the decoder, which reads some positions of a reading on a core of its own. */
import * as Comlink from "comlink";
import type { Folded, Loupe, Share } from "../src/web/types.d.ts";

type EngineModule = { default: (wasm?: WebAssembly.Module) => Promise<unknown>; Loupe: typeof Loupe };

let loupe: Loupe;
let given = new AbortController();

export type HelperApi = {
  begin: (engine_url: string) => Promise<void>;
  /** The next piece of the copy; true once it is complete. */
  receive: (piece: string | Uint8Array) => Promise<boolean>;
  fold: (share: Share) => Promise<Folded>;
  /** Ends every share that has been given so far. */
  drop: () => void;
};

const api: HelperApi = {
  async begin(engine_url) {
    const engine = (await import(/* @vite-ignore */ engine_url)) as EngineModule;
    await engine.default();
    loupe = await engine.Loupe.open({ device: "cpu" });
  },

  async receive(piece) {
    if (typeof piece !== "string") return loupe.receive(piece);
    await loupe.receive_decoder(piece);
    return false;
  },

  async fold(share) {
    const folded = await loupe.fold(share, { signal: given.signal });
    return Comlink.transfer(folded, [folded.merged.buffer, folded.target_logits.buffer, folded.top.buffer]);
  },

  drop() {
    given.abort();
    given = new AbortController();
  },
};

Comlink.expose(api);
