/** The address bar follows the store, and the store follows the address bar. */
import { effect, untracked } from "@preact/signals-core";
import { formatHash, parseHash, unreadableParts } from "./page-state.ts";
import type { PageState } from "./page-state.ts";
import type { Store } from "./store.ts";

/** Time after which an address that the browser refused is written again. */
const RETRY_MS = 10_000;

/** What is needed of a window. */
export interface Bar {
  hash: () => string;
  replace: (hash: string) => void;
  push: (hash: string) => void;
  onChange: (listener: () => void) => void;
  /** Calls back before the next frame, or soon where there are none. */
  nextFrame: (write: () => void) => void;
}

export const barOf = (of: Window): Bar => ({
  hash: () => of.location.hash,
  replace: (hash) => of.history.replaceState(null, "", of.location.pathname + of.location.search + hash),
  push: (hash) => of.history.pushState(null, "", of.location.pathname + of.location.search + hash),
  onChange: (listener) => of.addEventListener("hashchange", listener),
  // A page in the background has no frames.
  nextFrame: (write) => void (of.document.hidden ? of.setTimeout(write) : of.requestAnimationFrame(write)),
});

/**
 * Writes the address once a frame at most. It replaces, so that the Back button leaves the page instead of undoing
 * letters; but a step can be gone back: another view or tab, a pin, a followed token.
 * @param onFollow what another address says has been put into the store; `unreadable` are its parts that could not be
 */
export function createAddress(
  store: Store,
  bar: Bar,
  onFollow: (before: PageState, wanted: PageState, unreadable: string[]) => void,
) {
  /** The address as this page knows it. */
  let known: string | null = null;
  let [is_asked, n_written] = [false, 0];
  let steps = store.steps.peek();

  async function write() {
    is_asked = false;
    const mine = ++n_written;
    const hash = await formatHash(store.address.peek());
    // It has changed meanwhile: the page will hear of it, or a newer state is being written.
    if (mine !== n_written || (known !== null && bar.hash() !== known)) return;
    const is_step = steps !== store.steps.peek();
    try {
      if (hash === bar.hash()) known = hash;
      else if (is_step) bar.push(hash);
      else bar.replace(hash);
    } catch {
      // Browsers allow only so many changes in a short time.
      setTimeout(() => mine === n_written && void write(), RETRY_MS);
      return;
    }
    steps = store.steps.peek();
    known = bar.hash();
  }

  function ask() {
    if (is_asked) return;
    is_asked = true;
    bar.nextFrame(() => void write());
  }

  bar.onChange(() => {
    const hash = bar.hash();
    if (hash === known) return;
    // Nothing older is written over it.
    known = hash;
    n_written++;
    void Promise.all([parseHash(hash), unreadableParts(hash)]).then(([wanted, unreadable]) => {
      // A newer address has its own event.
      if (bar.hash() !== hash) return;
      const before = store.address.peek();
      store.restore(wanted);
      steps = store.steps.peek();
      onFollow(before, wanted, unreadable);
    });
  });

  effect(() => {
    void store.address.value;
    untracked(ask);
  });
}
