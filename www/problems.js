// @ts-check
/**
 * What the page says about each failure besides the engine's own message, and what a person can do.
 * Codes are the engine's; `unexpected` is the page's own, for what no code names.
 */

/** @typedef {"retry" | "keep"} Remedy */
/** @typedef {{ title: string, help?: string, remedy?: Remedy, quiet?: boolean }} Advice */

const BROWSERS =
  "WebGPU works in Chrome and Edge from version 113, in Safari from 26, and in Firefox from 141 on Windows and 145 on macOS. " +
  "It needs an address that begins with https:// or http://localhost.";

/** @type {Record<string, Advice>} */
const ADVICE = {
  "empty": { title: "Nothing to read yet", help: "Type a text above, or choose an example.", quiet: true },
  "too-long": { title: "The text is too long for this model", remedy: "keep" },
  "bad-text": { title: "The text holds half a character" },
  "no-webgpu": { title: "This browser has no WebGPU", help: BROWSERS, remedy: "retry" },
  "no-adapter": {
    title: "No graphics adapter answered",
    help: "The browser knows WebGPU but has switched it off here, often because of an old driver or because hardware acceleration is off in its settings.",
    remedy: "retry",
  },
  "device-lost": { title: "The graphics device was lost", help: "That happens after a driver update or when the computer slept. Starting again reloads the model.", remedy: "retry" },
  "out-of-memory": { title: "The graphics device is out of memory", help: "Closing other tabs may free enough.", remedy: "retry" },
  "network": { title: "A download failed", remedy: "retry" },
  "not-found": { title: "A file of the model is missing", remedy: "retry" },
  "truncated": { title: "The model’s file ends too early", help: "The download was probably cut off.", remedy: "retry" },
  "unexpected": { title: "Something failed that should not", remedy: "retry" },
};

/** @param {string} code @param {boolean} loading whether the model was being loaded @returns {Advice} */
export const adviceOn = (code, loading) =>
  ADVICE[code] ?? (loading ? { title: "The model could not be loaded", remedy: "retry" } : { title: "The text could not be read" });
