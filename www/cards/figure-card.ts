/** A figure's card: title, what it shows, its tools, what is under way, what went wrong, and the ways out of the page. */
import { button, element } from "../ui/dom.ts";
import { createMenu } from "../ui/menu.ts";
import { fileName } from "../export/image-file.ts";
import { save, saveCsv } from "../export/save-file.ts";
import { codeOf } from "../engine/errors.ts";
import { quoted } from "../export/tables.ts";
import { cardPngOf, cardSheetOf } from "../export/card-sheet.ts";

/** what a CSV holds; texts are quoted */
export type Table = { head: string[]; lines: (string | number)[][] };
export type Card = ReturnType<typeof createCard>;

/** A bar that flickers past says nothing. */
const BUSY_DELAY_MS = 250;

/** The data behind a picture as CSV, with a few lines on what it is. */
export const csvOf = ({ head, lines }: Table, notes: Record<string, string>) =>
  [
    ...Object.entries(notes).map(([key, value]) => `# ${key}: ${value.replace(/[\r\n]+/g, " ")}`),
    head.join(","),
    ...lines.map((line) =>
      line
        .map((value) =>
          typeof value === "string" ? quoted(value) : Number.isFinite(value) ? Number(value.toPrecision(9)) : "",
        )
        .join(","),
    ),
    "",
  ].join("\r\n");

export function createCard({
  name,
  title,
  words = "",
  model,
  csv,
  is_picture = true,
  again: anew,
  restart,
}: {
  /** in the names of files */
  name: string;
  title: string;
  /** one sentence on what it shows */
  words?: string;
  /** the name of the model in use */
  model: () => string;
  /** the data behind it */
  csv?: () => Table;
  /** false for a table, which leaves as CSV only */
  is_picture?: boolean;
  /** draws all of it anew, after it was stopped or failed */
  again: () => void;
  /** starts the engine again */
  restart: () => void;
}) {
  const heading = element("h2", "", title);
  const said = element("p", "muted card-words", words);
  const tools = element("div", "card-tools");
  const body = element("div", "card-body");
  const bar = element("progress", "");
  const share = element("span", "card-share");
  const busy = element(
    "div",
    "card-busy",
    bar,
    share,
    button("chip small", "Cancel", () => running?.abort()),
  );
  busy.hidden = true;
  bar.setAttribute("aria-label", `Progress: ${title}`);
  const trouble = element("div", "card-trouble");
  trouble.setAttribute("role", "status");
  trouble.hidden = true;
  let running: AbortController | null = null;

  const menu = exportMenu();
  const card = element(
    "section",
    "card atlas-card",
    element("div", "card-top", heading, element("div", "tools", menu.element), said, tools),
    busy,
    trouble,
    body,
  );
  card.setAttribute("aria-label", title);

  function exportMenu() {
    const state = element("p", "muted");
    state.setAttribute("role", "status");
    const fileOf = (extension: string) => fileName(model(), name, extension);
    const sheet = () =>
      cardSheetOf(body, {
        title: heading.textContent ?? "",
        words: said.textContent ?? "",
        origin: `${model()} · made by Loupe`,
      });
    const ways: [string, () => void | Promise<void>][] = [];
    if (is_picture) {
      ways.push(["PNG, 2×", async () => save(fileOf("png"), await cardPngOf(sheet()), "image/png")]);
      ways.push(["SVG", () => save(fileOf("svg"), sheet().svg, "image/svg+xml")]);
    }
    if (csv)
      ways.push([
        "CSV",
        () =>
          saveCsv(
            fileOf("csv"),
            csvOf(csv(), {
              made_by: "Loupe, the logit lens in a web page",
              model: model(),
              shows: heading.textContent ?? "",
              words: said.textContent ?? "",
            }),
          ),
      ]);
    const items = ways.map(([label, act]) => {
      const item = button("menu-item", label, async () => {
        state.textContent = await Promise.resolve()
          .then(act)
          .then(
            () => "Saved.",
            (error: Error) => `That failed: ${error.message}`,
          );
      });
      item.dataset.export = label.split(",")[0].toLowerCase();
      return item;
    });
    const opener = element("button", "chip small", "Export");
    opener.type = "button";
    opener.setAttribute("aria-label", `Export: ${title}`);
    const menu = element("div", "menu-sheet", ...items, state);
    createMenu(opener, menu, () => void (state.textContent = ""));
    const box = element("div", "menu", opener, menu);
    box.hidden = ways.length === 0;
    return { element: box };
  }

  function say(text: string, actions: { label: string; onClick: () => void }[] = []) {
    trouble.hidden = text === "";
    trouble.replaceChildren(
      element("span", "", text),
      ...actions.map(({ label, onClick }) => button("chip small", label, onClick)),
    );
  }

  const made = {
    element: card,
    /** Where the picture stands. */
    body,
    /** Where its controls stand. */
    tools,
    /** @param text what it shows */
    setWords: (text: string) => void (said.textContent = text),
    setTitle(text: string) {
      heading.textContent = text;
      card.setAttribute("aria-label", text);
    },
    /** A line instead of, or above, the picture; an empty one takes it away. */
    say,

    /**
     * Does what takes a while: with a bar and a way to stop it, and a word if it fails. A newer run of the same card
     * stops an older one. Resolves to null where it was stopped, overtaken or failed.
     * @param again what "Start again" does, if that is not to draw the view anew
     */
    async run<T>(
      work: (watch: { signal: AbortSignal; onProgress: (progress: { done: number }) => void }) => Promise<T>,
      again: () => void = anew,
    ): Promise<T | null> {
      const before = running;
      const mine = (running = new AbortController());
      const isCurrent = () => running === mine;
      say("");
      bar.removeAttribute("value");
      share.textContent = "";
      card.setAttribute("aria-busy", "true");
      const waiting = setTimeout(() => isCurrent() && (busy.hidden = false), BUSY_DELAY_MS);
      const onProgress = ({ done }: { done: number }) => {
        // Of what nobody knows the length of there is no share.
        if (!isCurrent() || !Number.isFinite(done)) return;
        bar.value = done;
        share.textContent = `${Math.floor(done * 100)} %`;
      };
      const answer = work({ signal: mine.signal, onProgress });
      // Only now, so that a question that both ask is not stopped in between.
      before?.abort();
      try {
        const value = await answer;
        return isCurrent() && !mine.signal.aborted ? value : null;
      } catch (error) {
        if (!isCurrent()) return null;
        const code = codeOf(error);
        if (code === "device-lost")
          say((error as Error).message, [{ label: "Start the engine again", onClick: restart }]);
        else if (code !== "aborted") say((error as Error).message, [{ label: "Try again", onClick: again }]);
        // By a person, or because a model that then did not come had to have the room.
        else say(mine.signal.aborted ? "Cancelled." : "Stopped.", [{ label: "Start again", onClick: again }]);
        return null;
      } finally {
        clearTimeout(waiting);
        if (isCurrent()) {
          busy.hidden = true;
          running = null;
          card.removeAttribute("aria-busy");
        }
      }
    },

    /** Stops what is under way. */
    stop: () => running?.abort(),

    /** The same without a word: nobody waits for it any more. */
    reset() {
      const before = running;
      running = null;
      before?.abort();
      busy.hidden = true;
      card.removeAttribute("aria-busy");
      say("");
    },
  };
  return made;
}
