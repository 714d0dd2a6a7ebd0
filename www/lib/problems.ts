/**
 * What the page says about each failure besides the engine's own message, and what a person can do.
 * Codes are the engine's; `unexpected` is the page's own, for what no code names.
 */

export type Remedy = "retry";
/** `is_of_gpu`: the CPU would do */
export type Advice = { title: string; help?: string; remedy?: Remedy; quiet?: boolean; is_of_gpu?: boolean };

const BROWSERS =
  "WebGPU works in Chrome and Edge from version 113, in Safari from 26, and in Firefox from 141 on Windows and 145 on macOS. " +
  "It needs an address that begins with https:// or http://localhost.";

const ADVICE: Record<string, Advice> = {
  empty: { title: "Nothing to read yet", help: "Type a text above, or choose an example.", quiet: true },
  "no-tokenizer": {
    title: "This model reads token ids",
    help: "Type ids above, or open the model together with its tokenizer.json.",
    quiet: true,
  },
  "bad-text": { title: "The text holds half a character" },
  "no-webgpu": { title: "This browser has no WebGPU", help: BROWSERS, remedy: "retry", is_of_gpu: true },
  "no-adapter": {
    title: "No graphics adapter answered",
    help: "The browser knows WebGPU but has switched it off here, often because of an old driver or because hardware acceleration is off in its settings.",
    remedy: "retry",
    is_of_gpu: true,
  },
  "device-lost": {
    title: "The graphics device was lost",
    help: "That happens after a driver update or when the computer slept. Starting again reloads the model.",
    remedy: "retry",
    is_of_gpu: true,
  },
  "gpu-refused": {
    title: "The graphics device refused the work",
    help: "A newer browser or graphics driver may accept it.",
    remedy: "retry",
    is_of_gpu: true,
  },
  crashed: {
    title: "The engine crashed",
    help: "It was started again once, and crashed on the same text.",
    remedy: "retry",
  },
  "out-of-memory": {
    title: "There is not enough memory",
    help: "Closing other tabs may free enough.",
    remedy: "retry",
  },
  network: { title: "A download failed", remedy: "retry" },
  "not-found": { title: "A file of the model is missing", remedy: "retry" },
  truncated: { title: "The model’s file ends too early", help: "The download was probably cut off.", remedy: "retry" },
  unexpected: { title: "Unexpected error", remedy: "retry" },
};

/** @param loading whether the model was being loaded */
export const adviceOn = (code: string, loading: boolean): Advice =>
  ADVICE[code] ??
  (loading ? { title: "The model could not be loaded", remedy: "retry" } : { title: "The text could not be read" });

export interface OpeningAdvice {
  title: (name: string) => string;
  remedy?: "retry" | "replace" | "f32";
  /** no failure, but what the person asked for */
  is_quiet?: boolean;
}

/** What of a kept copy says that it is no longer what was stored. */
const DAMAGE = ["corrupt", "truncated", "bad-header"];
/** What another attempt may mend. */
const PASSING = ["network", "corrupt", "truncated", "out-of-memory", "gpu-refused", "crashed", "unexpected"];

/**
 * A model that was not opened, while another one is in use.
 * @param was_kept it was opened from the store
 */
export function adviceOnOpening(code: string, was_kept: boolean, precision: "f16" | "f32"): OpeningAdvice {
  if (code === "aborted") return { title: (name) => `Opening ${name} was cancelled`, remedy: "retry", is_quiet: true };
  if (was_kept && DAMAGE.includes(code))
    return { title: (name) => `The kept copy of ${name} is damaged`, remedy: "replace" };
  if (code === "bad-dtype" && precision === "f16")
    return { title: (name) => `${name} does not fit f16`, remedy: "f32" };
  return { title: (name) => `${name} could not be opened`, remedy: PASSING.includes(code) ? "retry" : undefined };
}

export function whyNotKept({ name, message }: { name: string; message: string }) {
  switch (name) {
    case "QuotaExceededError":
      return "The browser has no more room for this site: delete another model, or free some of the disk.";
    case "NoModificationAllowedError":
      return "Another tab is storing the same model now.";
    case "SecurityError":
    case "NotAllowedError":
    case "TypeError":
      return "This browser does not let the page keep files, as in a private window.";
    default:
      return message;
  }
}
