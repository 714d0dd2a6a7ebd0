/** CTRL's control codes: the first word of a text, which says where the rest may come from. */
import { byId, optionsOf } from "../../ui/dom.ts";

/** Those of the paper that are single words of its vocabulary. */
const CODES = [
  "Books",
  "Christianity",
  "Computing",
  "Confessions",
  "Fitness",
  "Funny",
  "Gaming",
  "Gift",
  "Horror",
  "Legal",
  "Links",
  "Multilingual",
  "Opinion",
  "Politics",
  "Questions",
  "Relationships",
  "Reviews",
  "Saving",
  "Science",
  "Scary",
  "Travel",
  "Wikipedia",
  "Writing",
];

/** The text under another code; "" takes the code away. */
export function withCode(text: string, code: string) {
  const [first, ...rest] = text.split(" ");
  const bare = CODES.includes(first) ? rest.join(" ") : text;
  return code ? `${code} ${bare}` : bare;
}

const codeOf = (text: string) => CODES.find((code) => code === text.split(" ")[0]) ?? "";

export function createControlCodes({ text, setText }: { text: () => string; setText: (text: string) => void }) {
  const select = byId<HTMLSelectElement>("codes");
  select.replaceChildren(...optionsOf(["", ...CODES].map((code) => [code, code || "none"] as const)));
  select.addEventListener("change", () => setText(withCode(text(), select.value)));
  return {
    show(family: string) {
      byId("codes-box").hidden = family !== "ctrl";
      select.value = codeOf(text());
    },
  };
}
