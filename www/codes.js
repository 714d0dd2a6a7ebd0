// @ts-check
/** CTRL's control codes: the first word of a text, which says where the rest may come from. */
import { byId, element } from "./dom.js";

/** Those of the paper that are single words of its vocabulary. */
const CODES = [
  "Books", "Christianity", "Computing", "Confessions", "Fitness", "Funny", "Gaming", "Gift", "Horror", "Legal", "Links",
  "Multilingual", "Opinion", "Politics", "Questions", "Relationships", "Reviews", "Saving", "Science", "Scary", "Travel",
  "Wikipedia", "Writing",
];

/** The text under another code; "" takes the code away. @param {string} text @param {string} code */
export function withCode(text, code) {
  const [first, ...rest] = text.split(" ");
  const bare = CODES.includes(first) ? rest.join(" ") : text;
  return code ? `${code} ${bare}` : bare;
}

/** @param {string} text */
const codeOf = (text) => CODES.find((code) => code === text.split(" ")[0]) ?? "";

/** @param {{ text: () => string, setText: (text: string) => void }} page */
export function createCodes({ text, setText }) {
  const select = /** @type {HTMLSelectElement} */ (byId("codes"));
  select.replaceChildren(...["", ...CODES].map((code) => {
    const option = element("option", "", code || "none");
    option.value = code;
    return option;
  }));
  select.addEventListener("change", () => setText(withCode(text(), select.value)));
  return {
    /** @param {string} family */
    show(family) {
      byId("codes-box").hidden = family !== "ctrl";
      select.value = codeOf(text());
    },
  };
}
