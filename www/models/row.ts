/** One model in the panel: its name, what it costs, its state; and once it is chosen, whether it fits and what can be done. */
import { addressText } from "../sources/hub-address.ts";
import { button, element } from "../ui/dom.ts";
import { bytes, integer, millions } from "../lib/format.ts";
import type { Row } from "./list.ts";
import type { Plan } from "../engine/protocol.ts";

/** what is known around a row */
export interface Sight {
  /** a text: why there is none; null: not known yet */
  plan: Plan | string | null;
  trial: Plan | "trying" | null;
  is_chosen: boolean;
  /** some model is being opened */
  is_busy: boolean;
  /** this one is */
  is_coming: boolean;
  /** the model in use */
  beside: string;
  /** the device is not a hardware GPU */
  is_slow: boolean;
}
export interface RowActions {
  choose: () => void;
  /** what is bundled or kept, or go on with what is unfinished */
  open: () => void;
  download: () => void;
  remove: () => void;
}

export const isWhole = ({ kept }: Row) => kept?.about.state === "whole";

const percentKept = ({ kept }: Row) =>
  kept ? Math.min(99, Math.floor((100 * kept.bytes) / Math.max(1, kept.about.bytes))) : 0;

/** What it costs, each cost in its own column. */
function costs(row: Row, plan: Plan | string | null) {
  if (typeof plan === "string") return [element("span", "cost-problem bad", plan)];
  const cost = (column: "download" | "disk" | "gpu", n: number | undefined, words: string) =>
    n === undefined ? [] : [element("span", `cost ${column}`, element("span", "cost-value", bytes(n)), ` ${words}`)];
  const gpu = cost("gpu", plan?.gpu_bytes, "in memory");
  if (row.is_bundled) return [element("span", "cost download", "comes with the page"), ...gpu];
  if (isWhole(row)) return [...cost("disk", row.kept?.bytes, "kept"), ...gpu];
  if (row.kept) return [...cost("disk", row.kept.about.bytes, "to keep"), ...gpu];
  return [
    ...cost("download", row.download_bytes ?? plan?.file_bytes, "to download"),
    ...cost("disk", plan?.kept_bytes, "to keep"),
    ...gpu,
  ];
}

function stateOf(row: Row, { plan, is_coming }: Sight) {
  if (is_coming) return element("span", "state", "being opened");
  if (row.is_in_use)
    return element("span", "state in-use", row.is_bundled || isWhole(row) ? "in use" : "open, not saved");
  if (isWhole(row)) return element("span", "state", "kept");
  if (row.kept) return element("span", "state warn", `${percentKept(row)} % downloaded`);
  if (plan && typeof plan !== "string" && plan.problem) return element("span", "state bad", "does not fit");
  return element("span", "state", "");
}

function verdict(row: Row, { plan, trial, beside, is_slow }: Sight) {
  const slow = is_slow ? " Without a hardware GPU, large models are slow." : "";
  if (typeof plan === "string" || row.is_in_use) return element("p", "verdict", "");
  if (trial === "trying" || !plan) return element("p", "verdict muted", "Checking whether it fits …");
  const tried = trial ?? plan;
  if (plan.problem) return element("p", "verdict bad", `Does not fit: ${plan.problem}`);
  if (tried.problem) return element("p", "verdict bad", `Does not fit beside ${beside}: ${tried.problem}`);
  return element(
    "p",
    "verdict good",
    (tried.fits ? "Fits: there was memory for it just now." : "Within the limits of this device.") + slow,
  );
}

function actionsOf(row: Row, sight: Sight, on: RowActions) {
  const { plan, trial, is_busy } = sight;
  const actions = element("div", "actions");
  const add = (label: string, onClick: () => void, class_name: string = "chip main") => {
    const made = button(class_name, label, onClick);
    made.disabled = is_busy;
    actions.append(made);
    return made;
  };
  const is_known = plan !== null && typeof plan !== "string";
  if (!row.is_in_use && (row.is_bundled || isWhole(row))) add("Open", on.open);
  else if (row.kept && row.address) add("Resume", on.open);
  else if (row.kept) actions.append(element("span", "muted", "Its files went away half-way: choose them again below."));
  else if (row.is_in_use && row.address) add("Download again to keep it", on.download, "chip");
  else if (row.address && is_known) {
    const download = row.download_bytes ?? plan.file_bytes;
    const has_no_room = trial !== null && trial !== "trying" && trial.problem !== null;
    const made = has_no_room
      ? add("Download anyway", on.download, "chip")
      : add(`Download ${bytes(download)}`, on.download);
    made.disabled = is_busy || plan.problem !== null || trial === "trying";
  }
  if (row.kept) {
    const { kept } = row;
    const ask = () =>
      actions.replaceChildren(
        element("span", "", `Delete ${bytes(kept.bytes)} from this browser?`),
        button("chip danger", "Delete", on.remove),
        button("chip", "Keep it", () => actions.replaceWith(actionsOf(row, sight, on))),
      );
    add("Delete", () => (ask(), (actions.lastElementChild as HTMLElement).focus()), "chip");
  }
  return actions;
}

function details(row: Row, plan: Plan | string | null) {
  const address = row.address ? addressText(row.address) : "";
  const parts = [address === row.name ? "" : address];
  if (plan && typeof plan !== "string") {
    parts.push(`${millions(plan.parameters)} parameters`);
    parts.push(`${plan.n_layer} blocks, n_embd ${plan.n_embd}, ${integer(plan.n_ctx)} tokens`);
  }
  if (row.format && !row.kept) parts.push(`weights on the hub: ${row.format}`);
  parts.push(`stored as ${row.precision}`);
  return element("p", "details muted", parts.filter(Boolean).join(" · "));
}

export function rowElement(row: Row, sight: Sight, on: RowActions) {
  const { plan, is_chosen } = sight;
  const head = button("row-head", "", on.choose);
  head.dataset.key = row.key;
  head.setAttribute("aria-expanded", String(is_chosen));
  head.append(
    element("span", "row-name", row.name),
    stateOf(row, sight),
    element("span", "row-costs muted", ...costs(row, plan)),
  );
  const made = element("li", is_chosen ? "row chosen" : "row", head);
  made.dataset.row = row.key;
  if (!is_chosen && !row.is_in_use && (row.is_bundled || isWhole(row))) {
    const quick = button("chip", "Open", on.open);
    quick.disabled = sight.is_busy;
    made.append(quick);
  }
  if (is_chosen)
    made.append(element("div", "row-body", details(row, plan), verdict(row, sight), actionsOf(row, sight, on)));
  return made;
}
