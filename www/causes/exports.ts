/** What leaves the tab: the edits with their results as JSON and CSV, a link, and the same in Python. */
import { fileName } from "../export/image-file.ts";
import { save } from "../export/save-file.ts";
import { editWords } from "../reading/edits.ts";
import { byId, button, element } from "../ui/dom.ts";
import type { Table } from "../cards/figure-card.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Causes } from "../engine/protocol.ts";
import type { Step } from "./waterfall.ts";
import type { ChosenCell, Contrast, Ran } from "./types.ts";

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

const list = (values: Float32Array | undefined) => Array.from(values ?? []);

export function createExports(page: {
  ran: () => Ran | null;
  store: Store;
  attribution: () => { cell: ChosenCell; contrast: Contrast; components: Step[]; sum: number; shown: number } | null;
  sweep: () => { what: string; direction: string; contrast: Contrast; answer: Causes["sweep"][1] } | null;
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

  /** Everything of the runs that are drawn: edits are those that they were made with. */
  function json() {
    const [ran, found, sweep] = [page.ran(), page.attribution(), page.sweep()];
    const idsOf = (reading: PlainReading | null | undefined) => reading?.tokens.map(({ id }) => id) ?? null;
    const { kl, kl_reverse, js } = ran?.comparison.divergences ?? {};
    return JSON.stringify(
      {
        made_by: "Loupe, the logit lens in a web page",
        is_edited: ran !== null,
        model: { name: modelName(), ...store.model.peek()?.model },
        texts: { a: idsOf(store.reading.peek()), b: idsOf(store.comparison.peek()?.second) },
        edits: ran?.run ?? null,
        in_words: ran?.run.edits.map((edit) => editWords(edit, page.nameOf)) ?? [],
        unedited: ran && plain(ran.base),
        edited: ran && plain(ran.edited),
        compared_with: ran && { edits: ran.against_run?.edits ?? [], reading: plain(ran.against) },
        // Of what the run is compared with, and of the edited run.
        divergences: ran && { kl: list(kl), kl_reverse: list(kl_reverse), js: list(js) },
        attribution: found && {
          of: found.cell.which,
          ids: idsOf(found.cell.reading),
          tap: found.cell.reading.taps[found.cell.tap],
          position: found.cell.position,
          tokens: [found.contrast.a.id, ...(found.contrast.b ? [found.contrast.b.id] : [])],
          components: found.components,
          sum: found.sum,
          shown: found.shown,
        },
        sweep: sweep && {
          what: sweep.what,
          direction: sweep.direction,
          tokens: [sweep.contrast.a.id, sweep.contrast.b?.id],
          ...sweep.answer,
          values: list(sweep.answer.values),
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
      const ran = page.ran();
      const is_borrowed = (ran?.base.asked.decoder.length ?? 0) > 0;
      const is_mapped = ran?.base.asked.lens !== undefined;
      python.disabled = ran === null || is_borrowed || is_mapped;
      python.title = is_borrowed
        ? "Not with borrowed blocks in the decoder"
        : is_mapped
          ? "Only under the logit lens"
          : "";
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
