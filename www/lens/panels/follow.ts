/** Forms that take a token to follow: its text or #id, or several with | between them that count as one. */
import type { Engine } from "../../engine/client.ts";
import type { Store } from "../../state/store.ts";

export type FollowPage = { store: Store; engine: () => Engine };

/** Errors: a RangeError that says what to type, if a piece is not one token. */
async function groupOf(text: string, engine: Engine) {
  const group: number[] = [];
  for (const piece of text.split("|").filter(Boolean)) {
    const [, id] = /^#(\d{1,9})$/.exec(piece) ?? [];
    const tokens = id === undefined ? await engine.encode(piece) : await engine.tokens([Number(id)]);
    if (tokens.length !== 1)
      throw new RangeError(
        `“${piece}” is ${tokens.length} tokens (${tokens.map(({ shown }) => shown).join(" ")}): follow one of them, or several with | between them.`,
      );
    group.push(tokens[0].id);
  }
  return [...new Set(group)];
}

export function createFollowForm(
  { form, input, problem }: { form: HTMLFormElement; input: HTMLInputElement; problem: HTMLElement },
  { store, engine }: FollowPage,
) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    if (input.value === "") return;
    try {
      const group = await groupOf(input.value, engine());
      input.value = "";
      if (group.length > 0) store.follow(group);
    } catch (error) {
      problem.textContent = (error as Error).message;
    }
  });
}
