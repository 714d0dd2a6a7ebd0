/**
 * What the address bar remembers, each part only where it is not as usual: the model, the text or texts, the view, the
 * switches, the pinned cells, the followed tokens, the edits, the theme; of the atlas the view with its options, and what is
 * selected.
 */
import { THEMES } from "../lib/themes.ts";
import type { ThemeChoice } from "../lib/themes.ts";
import { addressOf, addressText } from "../sources/hub-address.ts";
import { DEFAULT_TEXT } from "../reading/examples.ts";
import { pack, unpack } from "./text-packing.ts";
import { parseSwitches, writeSwitches } from "./options.ts";
import { VIEWS, viewNamed } from "../reading/views.ts";
import type { View } from "../reading/views.ts";
import type { Switches } from "./options.ts";

export interface PageState {
  /** its address on the hub, null for the bundled one and for files */
  model: string | null;
  /** the name of a file that was open and is not kept here */
  file: string | null;
  text: string;
  /** the text to compare with */
  second: string | null;
  compare: "beside" | "difference";
  view: View;
  switches: Switches;
  /** pinned cells, the oldest first */
  pins: { tap: string; position: number }[];
  /** followed tokens, each group as one */
  groups: number[][];
  /** which of the groups the tracked views show */
  tracked: number;
  theme: ThemeChoice;
  /** the view of the atlas that is open; null for the lens and for the edits */
  atlas: string | null;
  /** whether the tab of edits is open */
  causes: boolean;
  /** whether the tab of evidence is open */
  evidence: boolean;
  /** what is edited in a run of one of the texts (reading/edits), as JSON; empty for nothing */
  edits: string;
  /** of its views */
  atlas_options: Record<string, string>;
  /** selected in the atlas; null for the one that the model suggests */
  channel: number | null;
  /** selected tokens */
  picked: number[];
}

/** So many lines can be told apart by their dashes. */
export const MAX_PINS = 3;
/** The option of the atlas that belongs to a model's numbers: the threshold of position-heavy channels. */
export const THRESHOLD = "channels.cut";
/** So many selected tokens stand in the address. */
export const MAX_PICKED = 200;
/** An option of one of the atlas' views, by the view's name: pairs.x */
const ATLAS_OPTION =
  /^(matrix|channels|pairs|gains|channel|spectrum|components|candidates|zero|outliers)\.[a-z_]{1,24}$/;
/** Of an option; a longer one is left out. */
const MAX_OPTION_CHARS = 2000;
const MAX_NAME_CHARS = 100;

/** position@row */
const PIN = /^(\d{1,6})@([\w.]{1,20})$/;
/** Longer ones are packed. */
const MAX_PLAIN_CHARS = 400;

export const parseGroups = (text: string | null): number[][] =>
  (text ?? "")
    .split("_")
    .map((group) =>
      group
        .split(".")
        .filter((id) => /^\d{1,9}$/.test(id))
        .map(Number),
    )
    .filter((group) => group.length > 0);

/** Cells with - between them; what is none is left out. */
const parsePins = (text: string | null) =>
  (text ?? "")
    .split("-")
    .flatMap((pin) => {
      const [, position, tap] = PIN.exec(pin) ?? [];
      return tap === undefined ? [] : [{ tap, position: Number(position) }];
    })
    .slice(0, MAX_PINS);

export const formatGroups = (groups: number[][]) => groups.map((group) => group.join(".")).join("_");

export async function parseHash(hash: string): Promise<PageState> {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const theme = fields.get("theme") as ThemeChoice;
  const model = addressOf(fields.get("model"));
  const textOf = async (plain: string, packed: string) => {
    const squeezed = fields.get(packed);
    return fields.get(plain) ?? (squeezed === null ? null : await unpack(squeezed));
  };
  const groups = parseGroups(fields.get("tokens"));
  return {
    model: model && addressText(model),
    file: fields.get("file")?.slice(0, MAX_NAME_CHARS) || null,
    text: (await textOf("text", "packed")) ?? DEFAULT_TEXT,
    second: await textOf("second", "packed2"),
    compare: fields.get("compare") === "beside" ? "beside" : "difference",
    view: viewNamed(fields.get("view")),
    switches: parseSwitches(fields),
    pins: parsePins(fields.get("pin")),
    groups,
    tracked: Math.min(Math.max(0, groups.length - 1), Number(fields.get("tracked")) || 0),
    theme: THEMES.includes(theme) ? theme : "auto",
    atlas: /^[a-z]{1,20}$/.exec(fields.get("atlas") ?? "")?.[0] ?? null,
    causes: fields.get("tab") === "causes",
    evidence: fields.get("tab") === "evidence",
    edits: (await textOf("edits", "packed3")) ?? "",
    atlas_options: Object.fromEntries(
      [...fields].filter(([key, value]) => ATLAS_OPTION.test(key) && value.length <= MAX_OPTION_CHARS),
    ),
    channel: /^\d{1,6}$/.test(fields.get("channel") ?? "") ? Number(fields.get("channel")) : null,
    picked: (parseGroups(fields.get("picked"))[0] ?? []).slice(0, MAX_PICKED),
  };
}

/** The parts of an address that cannot be read, such as a text of which the end is missing. */
export async function unreadableParts(hash: string): Promise<string[]> {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const isCut = async (packed: string) => fields.has(packed) && (await unpack(fields.get(packed) ?? "")) === null;
  const view = fields.get("view");
  const checks = [
    ["the text", await isCut("packed")],
    ["the second text", await isCut("packed2")],
    ["the edits", await isCut("packed3")],
    ["the view", view !== null && !VIEWS.some(({ name }) => name === view)],
    ["the pinned cell", (fields.get("pin")?.split("-") ?? []).some((pin) => !PIN.test(pin))],
    ["the model", fields.has("model") && addressOf(fields.get("model")) === null],
  ] as [string, boolean][];
  return checks.filter(([, is_unreadable]) => is_unreadable).map(([name]) => name);
}

export async function formatHash({
  model,
  file,
  text,
  second,
  compare,
  view,
  switches,
  pins,
  groups,
  tracked,
  theme,
  atlas,
  causes,
  evidence,
  edits,
  atlas_options,
  channel,
  picked,
}: PageState) {
  const fields = new URLSearchParams();
  const putText = async (plain: string, packed: string, value: string) => {
    // A lone surrogate has no place in an address: it would come back as another character.
    if (!value.isWellFormed()) return;
    if (value.length <= MAX_PLAIN_CHARS) fields.set(plain, value);
    else fields.set(packed, await pack(value));
  };
  if (model) fields.set("model", model);
  if (file) fields.set("file", file.slice(0, MAX_NAME_CHARS));
  if (view !== viewNamed(null)) fields.set("view", view.name);
  writeSwitches(switches, fields);
  if (groups.length > 0) fields.set("tokens", formatGroups(groups));
  if (tracked > 0) fields.set("tracked", String(tracked));
  if (pins.length > 0) fields.set("pin", pins.map(({ tap, position }) => `${position}@${tap}`).join("-"));
  if (theme !== "auto") fields.set("theme", theme);
  if (atlas !== null) fields.set("atlas", atlas);
  if (causes) fields.set("tab", "causes");
  else if (evidence) fields.set("tab", "evidence");
  if (edits !== "") await putText("edits", "packed3", edits);
  for (const [option, value] of Object.entries(atlas_options))
    if (value.length <= MAX_OPTION_CHARS) fields.set(option, value);
  if (channel !== null) fields.set("channel", String(channel));
  if (picked.length > 0) fields.set("picked", formatGroups([picked.slice(0, MAX_PICKED)]));
  if (text !== DEFAULT_TEXT) await putText("text", "packed", text);
  if (second !== null) {
    if (compare === "beside") fields.set("compare", compare);
    await putText("second", "packed2", second);
  }
  return fields.size > 0 ? `#${fields}` : "";
}
