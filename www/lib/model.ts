/** Which model is meant, and what is said of the one in use. Types only: they cross from the worker. */

/** What to compute on; `auto`: a GPU, or the CPU where there is none or only one in software. */
export type DeviceChoice = "auto" | "gpu" | "cpu";

export type Precision = "f16" | "f32";

/** A model of the hub. */
export type Address = { id: string; revision: string };

/**
 * What to open. A kept model that is unfinished is resumed; its hub files come from the same commit. `wants_part`:
 * whatever of it there is.
 */
export type Source =
  | { kind: "bundled" }
  | { kind: "kept"; key: string }
  | { kind: "hub"; id: string; revision: string }
  | { kind: "files"; name: string; files: File[]; wants_part?: boolean };

/** What is in use, and how to come by it again. */
export type InUse = { source: Source; name: string; precision: Precision; address: Address | null };

/** The plain values of an object of the engine. */
export type Facts = Record<string, string | number | boolean>;

/** What a browser says of an adapter; empty if it says nothing. */
export const nameOfAdapter = ({ vendor, architecture, device, description }: Facts) =>
  [vendor, architecture, device, description].filter(Boolean).join(", ");

export type ModelInUse = { model: Facts; adapter: Facts; in_use: InUse };
