/**
 * What is selected everywhere: one channel and any number of tokens. The page keeps it, so that the lens marks the same
 * tokens as the atlas.
 */

export type Selection = ReturnType<typeof createSelection>;

/** @param begin the channel is null until somebody chooses one */
export function createSelection({ channel, tokens }: { channel: number | null; tokens: Iterable<number> }) {
  let chosen = channel;
  let otherwise = 0;
  let picked = new Set(tokens);
  const listeners: Set<() => void> = new Set();
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

    get tokens() {
      return picked;
    },

    /** @param channel null: back to what the model suggests */
    set_channel(channel: number | null) {
      if (chosen === channel) return;
      chosen = channel;
      tell();
    },

    /** The channel to show until somebody chooses. */
    set_default(channel: number) {
      if (otherwise === channel) return;
      otherwise = channel;
      if (chosen === null) tell();
    },

    set_tokens(ids: Iterable<number>) {
      const wanted = new Set(ids);
      if (wanted.size === picked.size && [...wanted].every((id) => picked.has(id))) return;
      picked = wanted;
      tell();
    },

    toggle_token(id: number) {
      const wanted = new Set(picked);
      if (!wanted.delete(id)) wanted.add(id);
      this.set_tokens(wanted);
    },

    /** Calls back after every change; the answer ends that. */
    subscribe(listener: () => void) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
