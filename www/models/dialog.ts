/**
 * The Models panel: what there is to open and what each costs, any model of the hub, files from this computer, the
 * storage, and the model in use. It decides nothing about loading: it asks, through `on`.
 */
import { parseAddress } from "../sources/hub-address.ts";
import { byId, replaceKeyed } from "../ui/dom.ts";
import { showFacts } from "./facts.ts";
import { hubRow, isSame, keptOf, menuOf } from "./list.ts";
import { codeOf } from "../engine/errors.ts";
import { rowElement } from "./row.ts";
import { createStorage, wantsKeeping } from "./storage.ts";
import type { Engine } from "../engine/client.ts";
import type { Row } from "./list.ts";
import type { How } from "../state/session.ts";
import type { Address, ModelInUse, Source } from "../lib/model.ts";
import type { Kept, Plan } from "../engine/protocol.ts";
import type { Step } from "../engine/protocol.ts";

/** Codes of an engine that does not answer, whatever it is asked. */
const ENGINE_GONE = ["aborted", "crashed", "unexpected", "device-lost"];

export function createModelDialog(page: {
  engine: () => Engine;
  isOpening: () => boolean;
  /** the hub's model that is being opened */
  coming: () => Address | null;
  open: (source: Source, how: How) => void;
}) {
  const dialog = byId<HTMLDialogElement>("models");
  const news = byId("news");
  const home = news.parentElement as HTMLElement;
  const storage = createStorage();
  let in_use: ModelInUse | null = null;
  let kept: Kept[] = [];
  /** What the hub said of a model that was looked up. */
  let found: { address: Address; config: string; bytes: number | null; format: string } | null = null;
  let chosen: string | null = null;
  /** By config and precision; a text says why there is none. */
  const plans: Map<string, Plan | string> = new Map();
  const trials: Map<string, Plan | "trying"> = new Map();
  let looking = new AbortController();

  const planKey = ({ config, precision }: Row) => `${precision} ${config}`;

  /** Asks the engine what a row costs, and draws again once it has said so. */
  async function plan(row: Row, trial: boolean) {
    const key = planKey(row);
    if (row.config === null) return;
    if (trial) trials.set(key, "trying");
    const ask = (tries: boolean) =>
      page.engine().plan(row.config as string, { precision: row.precision, trial: tries });
    try {
      // What no adapter of this kind can hold is told apart from what there is no room for now.
      if (!plans.has(key)) plans.set(key, await ask(false));
      if (trial) trials.set(key, await ask(true));
    } catch (error) {
      trials.delete(key);
      // What is wrong with a config stays wrong; another engine is asked again when the panel is opened.
      if (!ENGINE_GONE.includes(codeOf(error))) plans.set(key, (error as Error).message);
    }
    draw();
  }

  function choose(row: Row) {
    chosen = chosen === row.key ? null : row.key;
    const limits = plans.get(planKey(row));
    const is_worth_it =
      !row.is_in_use && !page.isOpening() && (!limits || (typeof limits !== "string" && !limits.problem));
    if (chosen && is_worth_it) void plan(row, true);
    draw();
  }

  function open(source: Source, precision: "f16" | "f32") {
    close();
    page.open(source, { precision, keep: wantsKeeping() });
  }

  const elementOf = (row: Row) => {
    const key = planKey(row);
    return rowElement(
      row,
      {
        plan: plans.get(key) ?? null,
        trial: trials.get(key) ?? null,
        is_chosen: chosen === row.key,
        is_busy: page.isOpening(),
        is_coming: isSame(row.address, page.coming()),
        beside: in_use?.in_use.name ?? "",
        is_slow: Boolean(in_use?.adapter.fallback) || in_use?.adapter.backend === "cpu",
      },
      {
        choose: () => choose(row),
        open: () => open(row.kept ? { kind: "kept", key: row.kept.key } : { kind: "bundled" }, row.precision),
        download: () => row.address && open({ kind: "hub", ...row.address }, row.precision),
        remove: () => row.kept && void remove(row.kept.key),
      },
    );
  };

  /** The rows of the list, and that of a model that was looked up and is not in it. */
  function rowsNow() {
    const now = in_use?.in_use ?? null;
    const listed = menuOf(kept, now);
    if (!found) return { listed, other: [] };
    const { address, config, bytes, format } = found;
    const row = { ...hubRow(address, config, keptOf(kept, address), now), download_bytes: bytes, format };
    const same = listed.find((each) => isSame(each.address, address));
    if (same) Object.assign(same, { download_bytes: bytes, format });
    return { listed, other: same ? [] : [row] };
  }

  /** Draws the rows; the focus stays on the row that has it. */
  function draw() {
    if (!dialog.open) return;
    const { listed, other } = rowsNow();
    replaceKeyed(byId("model-rows"), ...listed.map(elementOf));
    replaceKeyed(byId("hub-rows"), ...other.map(elementOf));
    for (const row of listed) {
      if (!plans.has(planKey(row)) && !asked.has(planKey(row))) {
        asked.add(planKey(row));
        void plan(row, false);
      }
    }
  }
  const asked = new Set();

  /** Reads the store again. */
  async function refresh() {
    kept = await page
      .engine()
      .list()
      .catch(() => []);
    draw();
    if (dialog.open) await storage.show(kept);
  }

  async function remove(key: string) {
    byId("models-problem").textContent = await page
      .engine()
      .remove(key)
      .then(
        () => "",
        (error: Error) => error.message,
      );
    await refresh();
  }

  async function lookUp() {
    looking.abort();
    const mine = (looking = new AbortController());
    const say = (words: string, is_bad = false) => {
      if (mine.signal.aborted) return;
      byId("hub-status").textContent = words;
      byId("hub-status").classList.toggle("bad", is_bad);
    };
    found = null;
    draw();
    try {
      const field = (id: string) => byId<HTMLInputElement>(id).value;
      const address = parseAddress(field("hub-id"), field("hub-revision"));
      say("Looking it up …");
      const onStep = (step: Step) =>
        void (
          step.step === "wait" &&
          say(`Waiting ${Math.max(1, Math.round(step.ms / 1000))} s to try again: ${step.reason}`)
        );
      const { id, revision, config, bytes, n_files, format } = await page
        .engine()
        .lookUp(address, { signal: mine.signal, onStep });
      kept = await page
        .engine()
        .list()
        .catch(() => kept);
      if (mine.signal.aborted) return;
      found = { address: { id, revision }, config, bytes, format };
      const { listed, other } = rowsNow();
      const row = other[0] ?? listed.find((each) => isSame(each.address, { id, revision }));
      chosen = row.key;
      const files = n_files > 1 ? `${n_files} ${format} files` : `one ${format} file`;
      say(other[0] ? `Found: ${files}.` : `Found: ${files}. It is in the list above.`);
      await plan(row, !page.isOpening() && !row.is_in_use);
      dialog.querySelector(".row.chosen")?.scrollIntoView({ block: "nearest" });
    } catch (error) {
      say((error as Error).message, true);
    }
  }

  function close() {
    dialog.close();
  }

  byId("model-chip").addEventListener("click", () => {
    dialog.showModal();
    byId("models-news").append(news);
    byId("models-problem").textContent = "";
    byId("hub-status").textContent = "";
    trials.clear();
    asked.clear();
    draw();
    void refresh();
  });
  byId("models-close").addEventListener("click", close);
  // What Escape and the arrows do to the picture is not meant here.
  dialog.addEventListener("keydown", (event) => event.stopPropagation());
  dialog.addEventListener("close", () => {
    home.insertBefore(news, byId("bench"));
    chosen = null;
  });
  byId("hub-form").addEventListener("submit", (event) => {
    event.preventDefault();
    void lookUp();
  });

  return {
    draw,
    refresh,
    close,

    show(facts: ModelInUse) {
      in_use = facts;
      asked.clear();
      showFacts(facts);
      void refresh();
    },
  };
}
