/** What leaves the page as a file or over the clipboard. Nothing is sent anywhere. */
import { addressText } from "../sources/hub-address.ts";
import { byId } from "../ui/dom.ts";
import { cut, fontOf, paint } from "../graphics/canvas.ts";
import { figureSheetOf } from "./figure-sheet.ts";
import { pythonOf } from "./python.ts";
import { partRead, textOf } from "../reading/reading.ts";
import { fileName, pngOf } from "./image-file.ts";
import { save, saveCsv } from "./save-file.ts";
import { svgOf } from "../graphics/svg.ts";
import { CHOICES } from "../state/options.ts";
import { alignmentWords } from "../reading/comparison.ts";
import { comparisonJson, csvOf, jsonOf } from "./tables.ts";
import type { Shown } from "../lens/figure/frame.ts";
import type { Store } from "../state/store.ts";
import type { Engine } from "../engine/client.ts";
import type { Comparison } from "../reading/comparison.ts";
import type { PlainReading, Track } from "../reading/reading.ts";
import type { TextMark } from "../graphics/marks.ts";

/** Characters of the text that a picture states. */
const TEXT_CHARS = 60;
const textStart = (text: string) =>
  (text.length > TEXT_CHARS ? `${text.slice(0, TEXT_CHARS)}…` : text).replace(/\s+/g, " ");

export type ExportPage = {
  shown: () => Shown | null;
  /** of the picture */
  width: () => number;
  store: Store;
  engine: () => Engine;
};
export type Exports = ReturnType<typeof createExports>;

/** @param say tells the person what came of it */
export function createExports(page: ExportPage, say: (words: string) => void) {
  const { store } = page;
  const ruler = new OffscreenCanvas(1, 1).getContext("2d") as OffscreenCanvasRenderingContext2D;

  /** The model that the picture was made with. */
  const madeWith = () => page.shown()?.reading.model ?? null;
  const nameOf = () => madeWith()?.in_use.name ?? "";
  const revisionOf = () => {
    const address = madeWith()?.in_use.address;
    return address ? ` (${addressText(address)})` : "";
  };
  const fileOf = (extension: string) => fileName(nameOf(), store.view.peek().name, extension);

  function poster() {
    const shown = page.shown();
    if (!shown) return null;
    const { asked, final_is_model, n_tokens } = shown.reading;
    const part = partRead(shown.reading);
    const { start, end } = shown.span;
    const comparison = store.comparison.peek();
    const second = comparison
      ? [
          `${shown.comparison ? "compared with" : "beside it on the page:"} “${textStart(textOf(comparison.second.tokens))}”`,
          ...(shown.comparison ? [alignmentWords(comparison)] : []),
        ]
      : [];
    const words = [
      `${nameOf()}${revisionOf()} · norm: ${CHOICES.norm[asked.norm]}${asked.decoder.length > 0 ? ` · decoder ${asked.decoder.join(", ")}` : ""}${asked.lens ? ` · lens: ${asked.lens}` : ""}${final_is_model ? "" : " · final is not the model’s own output"}`,
      `“${textStart(textOf(shown.reading.tokens))}”`,
      ...second,
      end - start < n_tokens
        ? `positions ${start} to ${end - 1} of ${n_tokens}; the model read them all`
        : `${n_tokens} tokens`,
      ...(part === null ? [] : [`read: ${part}`]),
    ];
    return { shown, ...figureSheetOf(shown, { frame_width: page.width(), words }) };
  }

  async function origin() {
    const made_with = madeWith();
    if (!made_with) throw new Error("no model is open");
    const { in_use, model, adapter } = made_with;
    const kept =
      in_use.source.kind === "kept"
        ? (await page.engine().list()).find(({ key }) => in_use.source.kind === "kept" && key === in_use.source.key)
        : null;
    return {
      made_by: "Loupe, the logit lens in a web page",
      model: {
        name: in_use.name,
        id: in_use.address?.id ?? null,
        revision: in_use.address?.revision ?? null,
        sha256: kept?.about.sha256 ?? null,
        ...model,
      },
      adapter,
    };
  }

  /** The reading with every followed token, whether or not the picture tracks it. */
  async function withTracks(reading: PlainReading): Promise<PlainReading> {
    const ids = [...new Set(store.groups.peek().flat())].filter((id) => !reading.tracked[id]);
    if (ids.length === 0) return reading;
    const { signal } = new AbortController();
    const rows = await Promise.all(
      reading.taps.map((_, tap) => page.engine().trace(reading.serial, ids, { tap }, signal)),
    );
    const whole = (i: number, what: "logit" | "logprob" | "rank") =>
      Float32Array.from(rows.flatMap((tracks) => [...tracks[i][what]]));
    const found: [number, Track][] = ids.map((id, i) => [
      id,
      { id, logit: whole(i, "logit"), logprob: whole(i, "logprob"), rank: whole(i, "rank") },
    ]);
    return { ...reading, tracked: { ...reading.tracked, ...Object.fromEntries(found) } };
  }

  /** The comparison with these in both readings. */
  const withBothTracks = async (comparison: Comparison) => ({
    ...comparison,
    first: await withTracks(comparison.first),
    second: await withTracks(comparison.second),
  });

  return {
    png: async () => {
      const sheet = poster();
      if (!sheet) return;
      const { png, scale, is_smaller } = await pngOf(sheet, (ctx) => {
        ctx.fillStyle = sheet.shown.palette.surface;
        ctx.fillRect(0, 0, sheet.width, sheet.height);
        paint(ctx, sheet.marks);
      });
      save(fileOf("png"), png, "image/png");
      say(
        is_smaller
          ? `Saved at ${scale.toFixed(1)}× only: a browser draws no larger picture. The SVG has every detail; a window of positions makes the PNG sharper.`
          : "Saved.",
      );
    },
    svg: () => {
      const sheet = poster();
      if (!sheet) return;
      const cutText = (mark: TextMark) => {
        ruler.font = fontOf(mark);
        return cut(ruler, mark.text, mark.max_width);
      };
      save(
        fileOf("svg"),
        svgOf(sheet.marks, { ...sheet, background: sheet.shown.palette.surface, cutText }),
        "image/svg+xml",
      );
      say("Saved.");
    },
    csv: async () => {
      const [shown, compared] = [page.shown(), store.comparison.peek()];
      if (!shown) return;
      const comparison = compared && (await withBothTracks(compared));
      const reading = comparison?.first ?? (await withTracks(shown.reading));
      saveCsv(fileOf("csv"), csvOf(reading, await origin(), comparison));
      say("Saved.");
    },
    json: async () => {
      const [shown, compared] = [page.shown(), store.comparison.peek()];
      if (!shown) return;
      const text = compared
        ? comparisonJson(await withBothTracks(compared), await origin())
        : jsonOf(await withTracks(shown.reading), await origin());
      save(fileOf("json"), text, "application/json");
      say("Saved.");
    },
    link: async () => {
      // A link is of what the page is set to, with or without a picture.
      const in_use = store.model.peek()?.in_use;
      await navigator.clipboard.writeText(location.href);
      const is_files = in_use?.source.kind === "files" || (in_use?.source.kind === "kept" && !in_use.address);
      say(
        is_files
          ? "Copied. A model from files cannot be in a link: the other person opens the same files."
          : "Copied: text, model, view, pins and window are in it.",
      );
    },
    python: () => {
      const shown = page.shown();
      if (!shown) return;
      const [view, group] = [store.view.peek(), store.group.peek()];
      if (shown.comparison?.columns.length === 0) throw new Error("the two texts have no position to compare");
      if (view.between && !shown.comparison) throw new Error("this view needs a second text");
      const source = madeWith()?.in_use.address?.id ?? "path/to/the/model";
      byId("python-code").textContent = pythonOf(
        shown.reading,
        view.name,
        group,
        { family: String(madeWith()?.model.family), source },
        shown.comparison,
      );
      byId<HTMLDialogElement>("python").showModal();
    },
  };
}
