// @ts-check
/** The panel of switches: one form, read and filled as a whole, so that it is always what the page does. */
import { byId, element } from "./dom.js";
import { areLimits } from "./scales.js";
import { CHOICES, FONTS } from "./switches.js";

/** @typedef {import("./switches.js").Switches} Switches */

/** @param {HTMLSelectElement} select @param {Record<string, string>} choices */
function fill(select, choices) {
  select.replaceChildren(...Object.entries(choices).map(([value, words]) => {
    const option = element("option", "", words);
    option.value = value;
    return option;
  }));
}

/** @param {(switches: Switches) => void} onChange */
export function createPanel(onChange) {
  const form = /** @type {HTMLFormElement} */ (byId("switches"));
  const toggle = byId("switches-toggle");
  /** @template {HTMLElement} E @param {string} name */
  const field = (name) => /** @type {E} */ (form.elements.namedItem(name));
  const select = (/** @type {string} */ name) => /** @type {HTMLSelectElement} */ (field(name));
  const input = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (field(name));
  let [n_layer, n_tokens] = [1, 1];

  for (const [name, choices] of Object.entries(CHOICES)) fill(select(name), choices);
  fill(select("font"), Object.fromEntries(FONTS.map((font) => [font, `${Math.round(font * 100)} %`])));

  /** @param {string} name */
  const numberOf = (name) => (input(name).value.trim() === "" || Number.isNaN(input(name).valueAsNumber) ? null : input(name).valueAsNumber);

  /** @returns {Switches} */
  function read() {
    const [start, end] = [(numberOf("start") ?? 0), (numberOf("end") ?? n_tokens - 1) + 1];
    const is_window = end > start && (start > 0 || end < n_tokens);
    const choice = (/** @type {string} */ name) => /** @type {any} */ (select(name).value);
    return {
      prints: choice("prints"), final_on: choice("final_on"), limits: choice("limits"), norm: choice("norm"),
      row_kind: choice("row_kind"), part: choice("part"), font: Number(select("font").value),
      step: Math.max(1, numberOf("step") ?? 1), borrowed: numberOf("borrowed") ?? 0,
      transposed: input("transposed").checked, words_only: input("words_only").checked, hide_prompt: input("hide_prompt").checked,
      from: numberOf("from"), to: numberOf("to"),
      span: is_window ? { start, end } : null,
    };
  }

  /** What depends on another switch. @param {Switches} switches */
  function follow({ limits, from, to, borrowed, part, row_kind }) {
    const are_contributions = row_kind === "contributions";
    byId("limits-fixed").hidden = limits !== "fixed";
    const is_incomplete = limits === "fixed" && !areLimits({ from, to });
    byId("limits-words").hidden = !is_incomplete;
    input("borrowed").disabled = are_contributions;
    select("part").disabled = are_contributions || borrowed !== 1;
    byId("borrowed-words").textContent =
      are_contributions ? "no block: contributions have no decoder of blocks" : borrowed === 0 ? "no block" : borrowed > 1 ? `last ${borrowed} blocks` : part ? `${part} of the last block` : "last block";
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => {
    const switches = read();
    follow(switches);
    onChange(switches);
  });
  byId("whole-text").addEventListener("click", () => {
    [input("start").value, input("end").value] = ["", ""];
    onChange(read());
  });
  toggle.addEventListener("click", () => {
    form.hidden = !form.hidden;
    toggle.setAttribute("aria-expanded", String(!form.hidden));
  });

  return {
    /** @param {Switches} switches @param {{ n_layer: number, n_tokens: number | null }} size `n_tokens` is null while there is no reading */
    show(switches, size) {
      [n_layer, n_tokens] = [size.n_layer, size.n_tokens ?? n_tokens];
      for (const name of Object.keys(CHOICES)) select(name).value = String(switches[/** @type {keyof typeof CHOICES} */ (name)]);
      select("font").value = String(switches.font);
      for (const name of /** @type {const} */ (["transposed", "words_only", "hide_prompt"])) input(name).checked = switches[name];
      for (const name of /** @type {const} */ (["from", "to"])) {
        if (document.activeElement !== input(name)) input(name).value = switches[name] === null ? "" : String(switches[name]);
      }
      input("step").max = String(n_layer);
      input("borrowed").max = String(n_layer);
      if (document.activeElement !== input("step")) input("step").value = String(switches.step);
      input("borrowed").value = String(Math.min(n_layer, switches.borrowed));
      for (const name of ["start", "end"]) input(name).max = String(n_tokens - 1);
      if (document.activeElement !== input("start")) input("start").value = String(switches.span?.start ?? 0);
      if (document.activeElement !== input("end")) input("end").value = String((switches.span?.end ?? n_tokens) - 1);
      follow(switches);
    },
  };
}
