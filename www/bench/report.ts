/** What was measured, as an object to save and as a text to copy. */
import { bytes, decimal, integer, percent, significant } from "../lib/format.ts";
import type { Ceilings } from "./ceilings.ts";

export interface Measured {
  tokens: number;
  /** of every run */
  times_ms: number[];
  gflops: number;
  /** GFLOP/s of the ceiling; null without one */
  share: number | null;
  dispatches: number;
  bind_groups: number;
  /** how long one reading took to be given to the GPU */
  encoding_ms: number;
  read_bytes: number;
  peak_bytes: number;
}

export interface Report {
  browser: string;
  date: string;
  device: "webgpu" | "cpu";
  adapter: string;
  /** the forms of kernels that were chosen */
  tuning: string | null;
  model: { n_layer: number; n_embd: number; vocab_size: number; parameters_bytes: number; load_ms: number };
  ceilings: Ceilings | null;
  readings: Measured[];
  /** why the longest texts are missing */
  left_out: string | null;
}

export const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** The cells of a row of the table. */
export const cellsOf = (of: Measured) => [
  integer(of.tokens),
  `${significant(median(of.times_ms))} ms`,
  `${significant(Math.min(...of.times_ms))} to ${significant(Math.max(...of.times_ms))}`,
  significant(of.gflops),
  of.share === null ? "–" : percent(of.share),
  integer(of.dispatches),
  integer(of.bind_groups),
  `${significant(of.encoding_ms)} ms`,
  bytes(of.read_bytes),
  bytes(of.peak_bytes),
];

export function summaryOf({ adapter, ceilings, device, model, tuning }: Report) {
  const on = device === "cpu" ? "the CPU, one thread" : adapter || "an adapter that the browser does not name";
  const most = ceilings
    ? ` It multiplies and adds at up to ${significant(ceilings.gflops)} GFLOP/s and copies at up to ${significant(ceilings.gb_per_second)} GB/s.`
    : "";
  return `On ${on}.${most} ${bytes(model.parameters_bytes)} of weights were made and loaded in ${decimal(model.load_ms / 1000, 1)} s.${tuning ? ` Forms of kernels: ${tuning}.` : ""}`;
}

export const textOf = (report: Report) =>
  [
    "Loupe: readings of a model of random numbers",
    report.browser,
    report.date,
    `${report.model.n_layer} blocks, ${report.model.n_embd} channels, ${report.model.vocab_size} tokens, f16`,
    summaryOf(report),
    "tokens | time | from to | GFLOP/s | of the ceiling | dispatches | bind groups | encoding | read back | memory above the weights",
    ...report.readings.map((of) => cellsOf(of).join(" | ")),
    ...(report.left_out ? [report.left_out] : []),
  ].join("\n");
