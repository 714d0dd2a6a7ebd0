/** What leaves the tab: the edits with their results as JSON and CSV, a link, and the same in Python. */
import { fileName } from "../export/image-file.ts";
import { save } from "../export/save-file.ts";
import { editWords } from "../reading/edits.ts";
import { byId, button, element } from "../ui/dom.ts";
import type { Table } from "../export/figure-card.ts";
import type { EditedRun } from "../reading/edits.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Causes } from "../engine/protocol.ts";
import type { Ran } from "./types.ts";

/** A reading as JSON has it. */
const plain = ({
  asked,
  taps,
  n_tokens,
  top_k,
  final_is_model,
  not_finite,
  stats,
  tokens,
  top_ids,
  top_logits,
}: PlainReading) => ({
  asked,
  taps,
  n_tokens,
  top_k,
  final_is_model,
  not_finite,
  tokens: tokens.map(({ id, text }) => ({ id, text })),
  stats: Object.fromEntries(Object.entries(stats).map(([name, values]) => [name, Array.from(values)])),
  top_ids: Array.from(top_ids),
  top_logits: Array.from(top_logits),
});

export function createExports(page: {
  ran: () => Ran | null;
  run: () => EditedRun;
  store: Store;
  attribution: () => {
    cell: { which: string; reading: PlainReading; tap: number; position: number };
    contrast: { a: { id: number; text: string }; b: { id: number; text: string } | null };
    components: { name: string; value: number }[];
    sum: number;
    shown: number;
  } | null;
  sweep: () => { what: string; direction: string; answer: Causes["sweep"][1] } | null;
  nameOf: (id: number) => string;
}) {
  const { store } = page;
  const said = element("p", "muted");
  said.setAttribute("role", "status");
  const act = (label: string, name: string, work: () => void | Promise<void>) => {
    const made = button("chip small", label, () => {
      said.textContent = "";
      Promise.resolve()
        .then(work)
        .catch((error: Error) => void (said.textContent = `That failed: ${error.message}`));
    });
    made.dataset.export = name;
    return made;
  };
  const modelName = () => store.model.peek()?.in_use.name ?? "";

  function json() {
    const [ran, attribution, sweep] = [page.ran(), page.attribution(), page.sweep()];
    const comparison = ran?.comparison;
    return JSON.stringify(
      {
        made_by: "Loupe, the logit lens in a web page",
        is_edited: ran !== null,
        model: { name: modelName(), ...store.model.peek()?.model },
        texts: {
          a: store.reading.peek()?.tokens.map(({ id }) => id),
          b: store.comparison.peek()?.second.tokens.map(({ id }) => id),
        },
        edits: page.run(),
        in_words: page.run().edits.map((edit) => editWords(edit, page.nameOf)),
        unedited: ran && plain(ran.base),
        edited: ran && plain(ran.edited),
        divergences: comparison && {
          kl: Array.from(comparison.divergences.kl),
          kl_reverse: Array.from(comparison.divergences.kl_reverse),
          js: Array.from(comparison.divergences.js),
        },
        attribution: attribution && {
          of: attribution.cell.which,
          tap: attribution.cell.reading.taps[attribution.cell.tap],
          position: attribution.cell.position,
          tokens: [attribution.contrast.a.id, ...(attribution.contrast.b ? [attribution.contrast.b.id] : [])],
          components: attribution.components,
          sum: attribution.sum,
          shown: attribution.shown,
        },
        sweep: sweep && {
          what: sweep.what,
          direction: sweep.direction,
          ...sweep.answer,
          values: Array.from(sweep.answer.values),
        },
      },
      null,
      1,
    );
  }

  const as_json = act("JSON", "json", () => {
    save(fileName(modelName(), "causes", "json"), json(), "application/json");
    said.textContent = "Saved.";
  });
  const link = act("Copy link", "link", async () => {
    await navigator.clipboard.writeText(location.href);
    said.textContent = "Copied: texts, model, view and edits are in it.";
  });
  const python = act("The same in Python", "python", async () => {
    const ran = page.ran();
    if (!ran) return;
    const { editedPythonOf } = await import("./python.ts");
    const now = store.model.peek();
    const source = now?.in_use.address?.id ?? "path/to/the/model";
    // What two runs differ by is made of the values of both.
    const view = store.view.peek().between || store.view.peek().is_tracked ? "kl_final" : store.view.peek().name;
    const texts = { a: store.reading.peek(), b: store.comparison.peek()?.second ?? null };
    byId("python-code").textContent = editedPythonOf(ran.run, texts, view, {
      family: String(now?.model.family),
      source,
    });
    byId<HTMLDialogElement>("python").showModal();
  });
  const home = element("div", "causes-exports", element("div", "field-row", as_json, link, python), said);

  return {
    element: home,
    draw() {
      python.disabled = page.ran() === null;
    },
    json,
    /** The values of the edited run. */
    table(): Table {
      const ran = page.ran();
      const of = ran?.edited ?? store.reading.peek();
      if (!of) return { head: [], lines: [] };
      const names = Object.keys(of.stats);
      return {
        head: ["tap", "position", "token", ...names, ...(ran ? names.map((name) => `unedited_${name}`) : [])],
        lines: of.taps.flatMap((tap, t) =>
          of.tokens.map(({ shown }, position) => {
            const at = t * of.n_tokens + position;
            return [
              tap,
              position,
              shown,
              ...names.map((name) => of.stats[name][at]),
              ...(ran ? names.map((name) => ran.base.stats[name][at]) : []),
            ];
          }),
        ),
      };
    },
  };
}
