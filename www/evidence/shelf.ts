/** The lenses that are open: from files, from the hub, fitted here; which one is in use, and how good each is. */
import { counted, decimal, integer, percent, bytes as bytesText } from "../lib/format.ts";
import { fileName } from "../export/image-file.ts";
import { save } from "../export/save-file.ts";
import { button, element, replaceKeyed } from "../ui/dom.ts";
import { choiceOf } from "../ui/fields.ts";
import { isProbe, lensWords } from "../state/lenses.ts";
import { createTexts } from "./texts.ts";
import type { Evidence, LensEntry } from "../engine/protocol.ts";
import type { Store } from "../state/store.ts";
import type { Stage } from "./types.ts";

/** The two lenses of GPT-2 124M that are published, by their address on the hub. */
const PUBLISHED = [
  {
    name: "tuned lens (Belrose et al.)",
    kind: "tuned",
    path: "spaces/AlignmentResearch/tuned-lens/resolve/578983926f7b9916d7637cf77c7fb9185645c610/lens/gpt2/params.pt",
    sha256: "1e0494dcf4a56a77b73b421820941ea948ffae0c6a0391d88c9cb10b48bc19c8",
    licence: "MIT",
    size: "28 MB",
  },
  {
    name: "Jacobian lens (Neuronpedia)",
    kind: "jacobian",
    path: "neuronpedia/jacobian-lens/resolve/16a01f309fcec900fdcec3f4cd5b64f3d00e4d5a/gpt2-small/jlens/Salesforce-wikitext/gpt2_jacobian_lens.pt",
    // No digest of it is published; the revision is pinned.
    sha256: null,
    licence: "MIT (card)",
    size: "13 MB",
  },
] as const;

const KINDS = {
  tuned: "tuned lens",
  jacobian: "Jacobian lens",
  affine: "affine maps",
  fitted: "fitted here",
};
const HELD_OUT = 0.1;
/** Passes of a refinement. */
const PASSES = [6, 20, 60];

/** Whether a model has the sizes of GPT-2 124M. */
const isGpt2 = (model: Record<string, unknown> | undefined) =>
  model?.family === "gpt2" && model.n_layer === 12 && model.n_embd === 768 && model.vocab_size === 50257;

export function createShelf({ ask, card }: Stage, store: Store) {
  const figure = card({
    name: "lenses",
    title: "Lenses",
    words:
      "Is a picture an artefact of the lens? The logit lens decodes a row as it is. Other lenses map it first, by a matrix of their own for each row. The one in use is that of the tab Lens.",
    is_picture: false,
    csv: () => ({
      head: ["lens", "row", "measure", "value"],
      lines: store.lenses
        .peek()
        .flatMap(({ name, card }) =>
          card.taps.flatMap((tap) =>
            Object.entries(card.held_out[tap] ?? {}).map(([measure, value]) => [name, tap, measure, value as number]),
          ),
        ),
    }),
    again: () => {},
  });
  const table = element("ul", "lens-list");
  table.setAttribute("aria-label", "Open lenses");
  const warning = element("p", "muted");
  const file_input = element("input", "");
  Object.assign(file_input, { type: "file", multiple: true, accept: ".pt,.bin,.safetensors,.json", hidden: true });
  file_input.setAttribute("aria-label", "Files of a lens");
  const hub = element("div", "field-row");
  const texts = createTexts("Texts to fit on");
  const target = choiceOf(
    "predicts",
    [
      ["final", "the final row: a lens"],
      ["input", "the token itself: a probe"],
    ],
    (which) => void (refine.element.hidden = which === "input"),
  );
  const refine = choiceOf(
    "refined by KL",
    [["0", "no"], ...PASSES.map((n): [string, string] => [String(n), `${n} passes`])],
    () => {},
  );
  const fit = button("chip main", "Fit", () => void fitNow());
  const form = element(
    "details",
    "edit-details",
    element("summary", "", "Fit one here"),
    element(
      "p",
      "muted",
      "Ridge regression of the normalised final row, or of the token’s embedding, on each row, in closed form; the ridge is chosen by the last tenth of the tokens, on which each row is judged. Position 0 of every text is left out: its activations are far larger than all others. Ten thousand tokens are a good start for GPT-2 124M; with fewer, the fit is worse than it could be. A lens can be refined by KL(final ‖ row) itself, in passes over the texts, each of which takes several times as long as reading them; the maps that are best on the last tenth are kept.",
    ),
    texts.element,
    element("div", "field-row", target.element, refine.element, fit),
  );
  figure.tools.append(
    button("chip main", "Open files…", () => file_input.click()),
    file_input,
    hub,
  );
  figure.body.append(table, warning, form);

  function added(entry: LensEntry | null, uses: boolean) {
    if (!entry) return;
    store.addLens(entry);
    if (uses && !isProbe(entry)) store.useLens(entry.name);
  }

  /** One at a time: a second one would end the first. */
  function isBusy() {
    const is_busy = figure.element.hasAttribute("aria-busy");
    if (is_busy) figure.say("Another lens is being opened or fitted: wait for it, or cancel it.");
    return is_busy;
  }

  async function openFiles(files: File[]) {
    if (isBusy()) return;
    const config = files.find(({ name }) => name.endsWith(".json"));
    const weights = files.filter((file) => file !== config);
    if (weights.length !== 1)
      return figure.say("Choose one .pt or .safetensors file, and for a tuned lens the config.json beside it.");
    const [file] = weights;
    const text = config ? await config.text() : null;
    added(
      await figure.run(
        (watch) => ask("open", { name: file.name, file, config: text, kind: null }, watch),
        () => void openFiles(files),
      ),
      true,
    );
  }

  async function fitNow() {
    if (isBusy()) return;
    if (texts.isEmpty()) return figure.say("There are no texts to fit on: paste some, or add text files.");
    const which = target.select.value === "input" ? "input" : "final";
    const name = which === "input" ? "probe of the input" : "fitted here";
    added(
      await figure.run(
        (watch) => {
          const passes = which === "input" ? 0 : Number(refine.select.value);
          return ask("fit", { ...texts.get(), name, target: which, held_out: HELD_OUT, refine: passes }, watch);
        },
        () => void fitNow(),
      ),
      true,
    );
  }

  async function exportLens(name: string) {
    try {
      const bytes = await ask("export", { name }, { signal: new AbortController().signal });
      save(fileName(name, "lens", "safetensors"), bytes as Uint8Array<ArrayBuffer>, "application/octet-stream");
    } catch (error) {
      figure.say(`The export failed: ${(error as Error).message}`);
    }
  }

  async function download(lens: Evidence["download"][0]) {
    if (isBusy()) return;
    added(
      await figure.run(
        (watch) => ask("download", lens, watch),
        () => void download(lens),
      ),
      true,
    );
  }

  function closeLens(name: string) {
    store.dropLens(name);
    void ask("close", { name }, { signal: new AbortController().signal });
  }

  /** Held-out scores by row, and the same of the logit lens where a reading has them. */
  function scores(entry: LensEntry) {
    const { card } = entry;
    const rows = card.taps.filter((tap) => tap in card.held_out).map((tap) => [tap, card.held_out[tap]] as const);
    if (rows.length === 0) return element("p", "muted", "The file says nothing about how good it is.");
    const is_lens = !isProbe(entry);
    const text = (value: number | undefined, print: (value: number) => string) =>
      value === undefined ? "" : print(value);
    const lines = rows.map(([tap, { kl, agreement, r2, recovered }]) =>
      element(
        "tr",
        "",
        element("th", "", tap),
        element(
          "td",
          "",
          text(is_lens ? kl : r2, (value) => decimal(value, 3)),
        ),
        element("td", "", text(is_lens ? agreement : recovered, percent)),
        element("td", "", text(card.ridge[tap], String)),
      ),
    );
    const head = is_lens
      ? ["row", "KL(final ‖ row), nats", "same top-1", "ridge"]
      : ["row", "R²", "token recovered", "ridge"];
    return element(
      "details",
      "edit-details",
      element("summary", "", `On ${integer(card.n_held_out ?? 0)} tokens that were held out`),
      element(
        "table",
        "plain-table",
        element("thead", "", element("tr", "", ...head.map((name) => element("th", "", name)))),
        element("tbody", "", ...lines),
      ),
    );
  }

  function entryOf(entry: LensEntry) {
    const { name, card } = entry;
    const is_probe = isProbe(entry);
    const facts = [
      is_probe ? "probe of the input, fitted here" : KINDS[card.kind],
      card.source,
      card.licence && `licence ${card.licence}`,
      card.bytes && bytesText(card.bytes),
      card.n_tokens && `fitted on ${counted(card.n_tokens, "token")}`,
      card.refined > 0 && `refined by KL in ${card.refined} passes`,
      is_probe
        ? `${counted(card.taps.length, "row")}`
        : `maps for ${counted(card.taps.length, "row")}, the others are read by the logit lens`,
      card.sha256 && `SHA-256 ${card.sha256.slice(0, 12)}…`,
    ].filter(Boolean);
    const item = element(
      "li",
      "lens-entry",
      element("strong", "", name),
      element("p", "muted", facts.join(" · ")),
      scores(entry),
      element(
        "div",
        "field-row",
        ...(is_probe ? [] : [use(name)]),
        button("chip small", "Export", () => void exportLens(name)),
        button("chip small", "Close", () => closeLens(name)),
      ),
    );
    item.dataset.key = name;
    item.setAttribute("aria-label", name);
    return item;
  }

  function use(name: string) {
    const is_used = store.lens.peek() === name;
    const made = button(is_used ? "chip small chosen" : "chip small", is_used ? "In use" : "Use", () =>
      store.useLens(name),
    );
    made.setAttribute("aria-pressed", String(is_used));
    return made;
  }

  function draw() {
    const logit = element(
      "li",
      "lens-entry",
      element("strong", "", lensWords("")),
      element("p", "muted", "ln_f and unembedding, and no map: nostalgebraist 2020."),
      element("div", "field-row", use("")),
    );
    logit.dataset.key = "";
    replaceKeyed(table, logit, ...store.lenses.peek().map(entryOf));
    const has_jacobian = store.lenses.peek().some(({ card }) => card.kind === "jacobian");
    warning.textContent = has_jacobian
      ? "The Jacobian lens is made to show what a row may still say, not what is said next: on GPT-2 124M it finds the final answer no better than the logit lens (tiny-jlens: rank below 10 at h.8 in 20 % against 37 %, at h.9 76 against 72, at h.10 51 against 52)."
      : "";
    hub.hidden = !isGpt2(store.model.peek()?.model);
  }

  for (const { size, ...lens } of PUBLISHED)
    hub.append(button("chip", `Download the ${lens.name}, ${size}`, () => void download(lens)));
  file_input.addEventListener("change", () => {
    void openFiles([...(file_input.files ?? [])]);
    file_input.value = "";
  });

  draw();
  return { element: figure.element, draw, openFiles, texts, forget: () => figure.reset(), stop: () => figure.stop() };
}
