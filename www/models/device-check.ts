/**
 * Compares the GPU with the CPU, and a reading of the bundled model with the one that transformers made, once the page
 * is idle or a person asks; says beside the model what came of it.
 */
import { codeOf } from "../engine/errors.ts";
import { integer, percent } from "../lib/format.ts";
import { byId } from "../ui/dom.ts";
import { showNotice } from "../ui/notice.ts";
import type { Engine } from "../engine/client.ts";
import type { Checked, StoredCheck } from "../engine/protocol.ts";
import { nameOfAdapter, type ModelInUse } from "../lib/model.ts";

/** As long as nothing is asked of the engine, before it is checked. */
const IDLE_MS = 1500;

const nats = (value: number) => `${value < 0.01 ? value.toExponential(0) : value.toPrecision(2)} nats`;

/** 3·10⁻⁶ as "3e-6", and a half as "50 %". */
const small = (value: number) =>
  value === 0 ? "0" : value === Infinity ? "infinite" : value < 0.01 ? value.toExponential(0) : percent(value);

/** From where a difference to the stored reading is one of the device, in nats; the precisions' is below 0.0001. */
const STORED_TOLERANCE = 1e-3;

const agreesWith = ({ largest }: StoredCheck) => largest <= STORED_TOLERANCE;

/** What was found; null where nothing was compared. */
function verdictOf({ passed, kernels, stored }: Checked): "checked" | "results differ" | null {
  const of_stored = typeof stored === "object" ? stored : null;
  if (kernels.length === 0 && !of_stored) return null;
  return passed && (!of_stored || agreesWith(of_stored)) ? "checked" : "results differ";
}

const wrongOf = ({ kernels }: Checked) =>
  new Intl.ListFormat("en").format(kernels.filter(({ is_wrong }) => is_wrong).map(({ kernel }) => kernel));

/** What there is to copy: the adapter, the browser, and each kernel. */
export function reportOf(check: Checked, { adapter, in_use }: ModelInUse) {
  const lines = check.kernels.map(
    ({ kernel, dispatches, numbers, difference, gpu_ms, cpu_ms }) =>
      `${kernel}: ${small(difference)} over ${integer(numbers)} numbers of ${dispatches} dispatches; ${gpu_ms.toFixed(1)} ms, ${cpu_ms.toFixed(1)} ms`,
  );
  const { stored } = check;
  return [
    ...(lines.length > 0
      ? [
          `Loupe compared the GPU with the CPU: ${check.passed ? "they agree" : "they differ"}.`,
          `adapter: ${nameOfAdapter(adapter) || "not named by the browser"}`,
        ]
      : ["Loupe computes on the CPU."]),
    `browser: ${navigator.userAgent}`,
    `model: ${in_use.name}, ${in_use.precision}`,
    ...(stored === null
      ? []
      : typeof stored === "string"
        ? [`the stored reading was not compared: ${stored}`]
        : [
            `a reading of it, beside that of ${stored.source}: largest difference ${nats(stored.largest)} over ${integer(stored.numbers)} numbers`,
          ]),
    ...(lines.length > 0
      ? [
          "largest difference by kernel, relative to the numbers or, where they are small, to their root mean square;",
          "time on the GPU, each dispatch with its round trip, and on the CPU for the part that was repeated:",
        ]
      : []),
    ...lines,
  ].join("\n");
}

/** What there is to say of a check. */
function wordsOf(check: Checked) {
  const { kernels, largest, passed, stored } = check;
  const n = kernels.reduce((sum, { numbers }) => sum + numbers, 0);
  const of_kernels = passed
    ? `${integer(n)} numbers of a short reading were computed on the CPU as well; the largest relative difference is ${small(largest)}.`
    : `This adapter’s results differ from the CPU’s: ${wrongOf(check)}; the largest relative difference is ${small(largest)}.`;
  const of_stored =
    stored === null
      ? ""
      : typeof stored === "string"
        ? `The stored reading could not be compared: ${stored}`
        : `${agreesWith(stored) ? "A reading agrees with" : "A reading differs from"} that of ${stored.source}; the largest difference is ${nats(stored.largest)}.`;
  return [verdictOf(check) === "checked" ? "Checked:" : "", kernels.length > 0 ? of_kernels : "", of_stored]
    .filter(Boolean)
    .join(" ");
}

export function createDeviceCheck(page: {
  /** the engine with a model; none is started for a check */
  engine: () => Engine | null;
  now: () => ModelInUse | null;
  cpu: () => void;
}) {
  const badge = byId("device-check");
  const words = byId("device-check-words");
  const copy = byId("device-report");
  const again = byId<HTMLButtonElement>("device-check-now");
  let waiting: ReturnType<typeof setTimeout> | undefined;
  /** The model that was checked, and what was found, or why it could not be checked. */
  let done: { of: ModelInUse; check: Checked | null; problem?: string } | null = null;
  let is_running = false;

  copy.addEventListener("click", () => {
    if (!done?.check) return;
    navigator.clipboard.writeText(reportOf(done.check, done.of)).then(
      () => (copy.textContent = "Copied"),
      () => (copy.textContent = "The browser refused to copy"),
    );
  });
  badge.addEventListener("click", () => byId("model-chip").click());
  again.addEventListener("click", () => {
    done = null;
    const of = page.now();
    if (of) void run(of);
  });

  /** On the CPU there is nothing to compare but the bundled model's reading. */
  const canCheck = ({ adapter, model, in_use }: ModelInUse) =>
    model.partial !== true && (adapter.backend === "webgpu" || in_use.source.kind === "bundled");

  function show() {
    const now = page.now();
    const of_now = done?.of === now ? done : null;
    const check = of_now?.check ?? null;
    const verdict = check && verdictOf(check);
    again.hidden = !now || !canCheck(now);
    again.disabled = is_running;
    again.textContent = is_running ? "Checking …" : "Check now";
    copy.hidden = check === null;
    copy.textContent = "Copy the report";
    words.textContent = check
      ? wordsOf(check)
      : of_now?.problem
        ? `The check could not be made: ${of_now.problem}`
        : "";
    words.hidden = words.textContent === "";
    badge.hidden = verdict === null;
    badge.textContent = verdict ?? "";
    badge.classList.toggle("bad", verdict === "results differ");
    badge.title = words.textContent;
    badge.setAttribute("aria-label", `${badge.textContent}. ${words.textContent}`);
  }

  async function run(of: ModelInUse) {
    const engine = page.engine();
    const is_idle = document.documentElement.dataset.state === "ready";
    if (is_running || !engine || !is_idle) return soon();
    is_running = true;
    show();
    try {
      const check = await engine.check(new AbortController().signal);
      done = { of, check };
      show();
      const is_on_gpu = of.adapter.backend === "webgpu";
      if (verdictOf(check) === "results differ" && of === page.now())
        showNotice({
          title: is_on_gpu ? "This graphics adapter gives wrong results" : "This browser gives wrong results",
          text: `${words.textContent} What the page shows cannot be trusted.`,
          code: "check",
          actions: is_on_gpu ? [{ label: "Compute on the CPU", is_main: true, onClick: page.cpu }] : [],
        });
    } catch (error) {
      // Something else was asked meanwhile; it is checked after that. What fails otherwise fails again.
      if (codeOf(error) !== "aborted") done = { of, check: null, problem: (error as Error).message };
    } finally {
      is_running = false;
    }
    soon();
  }

  /** Checks the model in use once the page has been idle for a while; each model once. */
  function soon() {
    clearTimeout(waiting);
    const of = page.now();
    show();
    if (!of || !canCheck(of) || done?.of === of) return;
    if (page.engine()) waiting = setTimeout(() => void run(of), IDLE_MS);
  }
  return { soon };
}
