/** The panel of switches: one form, read and filled as a whole, so that it is always what the page does. */
import { byId, optionsOf } from "../../ui/dom.ts";
import { areLimits } from "../../reading/scales.ts";
import { CHOICES, FONTS } from "../../state/options.ts";
import type { Switches } from "../../state/options.ts";

function fill(select: HTMLSelectElement, choices: Record<string, string>) {
  select.replaceChildren(...optionsOf(Object.entries(choices)));
}

const END_TOKEN_WORDS =
  "Puts the token that separates documents in training at position 0. Without it the first token of the text has nothing before it, and its column is unlike the others.";

export function createSettings(onChange: (switches: Switches) => void) {
  const form = byId<HTMLFormElement>("switches");
  const toggle = byId<HTMLButtonElement>("switches-toggle");
  const field = <E extends HTMLElement>(name: string) => form.elements.namedItem(name) as E;
  const select = (name: string) => field<HTMLSelectElement>(name);
  const input = (name: string) => field<HTMLInputElement>(name);
  let [n_layer, n_tokens] = [1, 1];

  for (const [name, choices] of Object.entries(CHOICES)) fill(select(name), choices);
  fill(select("font"), Object.fromEntries(FONTS.map((font) => [font, `${Math.round(font * 100)} %`])));

  const numberOf = (name: string) =>
    input(name).value.trim() === "" || Number.isNaN(input(name).valueAsNumber) ? null : input(name).valueAsNumber;

  function read(): Switches {
    const [start, end] = [numberOf("start") ?? 0, (numberOf("end") ?? n_tokens - 1) + 1];
    const is_window = end > start && (start > 0 || end < n_tokens);
    const choice = <N extends keyof typeof CHOICES>(name: N) => select(name).value as Switches[N];
    return {
      prints: choice("prints"),
      final_on: choice("final_on"),
      limits: choice("limits"),
      norm: choice("norm"),
      row_kind: choice("row_kind"),
      part: choice("part"),
      kept: choice("kept"),
      with_end_token: input("with_end_token").checked,
      font: Number(select("font").value),
      step: Math.max(1, numberOf("step") ?? 1),
      borrowed: numberOf("borrowed") ?? 0,
      transposed: input("transposed").checked,
      words_only: input("words_only").checked,
      hide_prompt: input("hide_prompt").checked,
      from: numberOf("from"),
      to: numberOf("to"),
      span: is_window ? { start, end } : null,
    };
  }

  /** What depends on another switch. */
  function follow({ limits, from, to, borrowed, part, row_kind }: Switches) {
    const are_contributions = row_kind === "contributions";
    byId("limits-fixed").hidden = limits !== "fixed";
    const is_incomplete = limits === "fixed" && !areLimits({ from, to });
    byId("limits-words").hidden = !is_incomplete;
    input("borrowed").disabled = are_contributions;
    select("part").disabled = are_contributions || borrowed !== 1;
    byId("borrowed-words").textContent = are_contributions
      ? "no block: contributions have no decoder of blocks"
      : borrowed === 0
        ? "no block"
        : borrowed > 1
          ? `last ${borrowed} blocks`
          : part
            ? `${part} of the last block`
            : "last block";
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
  // It stays open while the picture is used, so that one sees what an option does.
  toggle.popoverTargetElement = form;
  function close() {
    form.hidePopover();
    toggle.focus();
  }
  byId("switches-close").addEventListener("click", close);
  form.addEventListener("keydown", ({ key }) => key === "Escape" && close());
  form.addEventListener("beforetoggle", ({ newState }) => {
    toggle.setAttribute("aria-expanded", String(newState === "open"));
    // Below the buttons that it belongs to.
    form.style.setProperty("--top", `${toggle.getBoundingClientRect().bottom + 8}px`);
  });
  toggle.setAttribute("aria-expanded", "false");

  return {
    /** @param of `n_tokens` is null while there is no reading */
    show(switches: Switches, of: { n_layer: number; n_tokens: number | null; has_end_token: boolean }) {
      [n_layer, n_tokens] = [of.n_layer, of.n_tokens ?? n_tokens];
      input("with_end_token").disabled = !of.has_end_token;
      byId("end-token-words").textContent = of.has_end_token
        ? END_TOKEN_WORDS
        : "This model’s tokenizer has no such token.";
      for (const name of Object.keys(CHOICES)) select(name).value = String(switches[name as keyof typeof CHOICES]);
      select("font").value = String(switches.font);
      for (const name of ["transposed", "words_only", "hide_prompt", "with_end_token"] as const)
        input(name).checked = switches[name];
      for (const name of ["from", "to"] as const) {
        if (document.activeElement !== input(name))
          input(name).value = switches[name] === null ? "" : String(switches[name]);
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
