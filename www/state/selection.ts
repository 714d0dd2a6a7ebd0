/**
 * What is selected everywhere: one channel and any number of tokens. The lens marks the same tokens as the atlas.
 */
import { effect, signal, untracked } from "@preact/signals-core";

export type Selection = ReturnType<typeof createSelection>;

/** @param begin the channel is null until somebody chooses one */
export function createSelection(begin: { channel: number | null; tokens: Iterable<number> }) {
  const chosen = signal(begin.channel);
  const suggested = signal(0);
  const tokens = signal<ReadonlySet<number>>(new Set(begin.tokens));

  function setTokens(ids: Iterable<number>) {
    const [now, wanted] = [tokens.peek(), new Set(ids)];
    if (wanted.size !== now.size || [...wanted].some((id) => !now.has(id))) tokens.value = wanted;
  }

  return {
    /** The channel: the chosen one, or the one that the model suggests. */
    get channel() {
      return chosen.value ?? suggested.value;
    },

    /** What a person chose, for the address bar; null for the model's own. */
    get chosen_channel() {
      return chosen.value;
    },

    get tokens() {
      return tokens.value;
    },

    /** @param channel null: back to what the model suggests */
    setChannel: (channel: number | null) => void (chosen.value = channel),

    /** The channel to show until somebody chooses. */
    setDefault: (channel: number) => void (suggested.value = channel),

    setTokens,

    toggleToken(id: number) {
      const wanted = new Set(tokens.peek());
      if (!wanted.delete(id)) wanted.add(id);
      setTokens(wanted);
    },

    /** Calls back after every change; the answer ends that. */
    subscribe(listener: () => void) {
      let is_first = true;
      return effect(() => {
        void [chosen.value ?? suggested.value, chosen.value, tokens.value];
        if (!is_first) untracked(listener);
        is_first = false;
      });
    },
  };
}
