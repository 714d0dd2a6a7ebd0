// @ts-check
/**
 * What is selected everywhere: one channel and any number of tokens. The page keeps it, so that the lens marks the same
 * tokens as the atlas.
 */

/** @typedef {ReturnType<typeof createSelection>} Selection */

/** @param {{ channel: number | null, tokens: Iterable<number> }} begin the channel is null until somebody chooses one */
export function createSelection({ channel, tokens }) {
  let chosen = channel;
  let otherwise = 0;
  let picked = new Set(tokens);
  /** @type {Set<() => void>} */
  const listeners = new Set();
  const tell = () => listeners.forEach((listener) => listener());

  return {
    /** The channel: the chosen one, or the one that the model suggests. */
    get channel() {
      return chosen ?? otherwise;
    },

    /** What a person chose, for the address bar; null for the model's own. */
    get chosen_channel() {
      return chosen;
    },

    /** @type {ReadonlySet<number>} */
    get tokens() {
      return picked;
    },

    /** @param {number | null} channel null: back to what the model suggests */
    set_channel(channel) {
      if (chosen === channel) return;
      chosen = channel;
      tell();
    },

    /** The channel to show until somebody chooses. @param {number} channel */
    set_default(channel) {
      if (otherwise === channel) return;
      otherwise = channel;
      if (chosen === null) tell();
    },

    /** @param {Iterable<number>} ids */
    set_tokens(ids) {
      const wanted = new Set(ids);
      if (wanted.size === picked.size && [...wanted].every((id) => picked.has(id))) return;
      picked = wanted;
      tell();
    },

    /** @param {number} id */
    toggle_token(id) {
      const wanted = new Set(picked);
      if (!wanted.delete(id)) wanted.add(id);
      this.set_tokens(wanted);
    },

    /** Calls back after every change; the answer ends that. @param {() => void} listener */
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
