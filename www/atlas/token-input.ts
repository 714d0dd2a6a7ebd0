/** Tokens as a person writes them: text, or #id. */
import { element } from "../ui/dom.ts";
import type { Queries } from "./queries.ts";
import type { Selection } from "../state/selection.ts";

/** What was typed as ids; each piece between spaces that begins with # is an id, all else is text. */
export async function tokensOf(
  text: string,
  { n_vocabulary, encode }: { n_vocabulary: number; encode: (text: string) => Promise<number[]> },
): Promise<number[]> {
  if (!/^\s*(#\d{1,9}[\s,.]*)+$/.test(text)) return encode(text);
  const ids = Array.from(text.matchAll(/#(\d{1,9})/g), ([, id]) => Number(id));
  const beyond = ids.find((id) => id >= n_vocabulary);
  if (beyond !== undefined) throw new RangeError(`There is no token #${beyond}: the last one is #${n_vocabulary - 1}.`);
  return ids;
}

/** A field for a token. */
export function createLookup({
  label,
  button: name,
  is_one,
  ask,
  onTokens,
}: {
  label: string;
  button: string;
  /** whether exactly one token is wanted */
  is_one: boolean;
  ask: () => Queries;
  onTokens: (ids: number[]) => void | Promise<void>;
}) {
  const input = element("input", "");
  Object.assign(input, { placeholder: `${label}: text, or #id`, autocomplete: "off", spellcheck: false });
  input.setAttribute("aria-label", `${label}: its text with its leading space, or # and its id`);
  input.setAttribute("autocapitalize", "off");
  const go = element("button", "chip", name);
  go.type = "submit";
  const problem = element("p", "bad lookup-problem");
  problem.setAttribute("role", "alert");
  const form = element("form", "field-row lookup", input, go);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    if (input.value === "") return;
    try {
      const ids = await tokensOf(input.value, { n_vocabulary: Number(ask().facts.vocab_size), encode: ask().encode });
      const { shown } = await ask().vocabulary();
      if (is_one && ids.length !== 1) {
        problem.textContent = `“${input.value}” is ${ids.length} tokens (${ids
          .slice(0, 12)
          .map((id) => shown[id])
          .join(" ")}${ids.length > 12 ? " …" : ""}): type one of them, with its leading space, or # and its id.`;
        return;
      }
      await onTokens(ids);
    } catch (error) {
      problem.textContent = (error as Error).message;
    }
  });
  return { element: element("div", "lookup-whole", form, problem) };
}

/** A field for one token, which is then the selected one. */
export const createTokenLookup = (name: string, ask: Queries, selection: Selection) =>
  createLookup({
    label: "A token",
    button: name,
    is_one: true,
    ask: () => ask,
    onTokens: ([id]) => void selection.setTokens([id]),
  });
