/** Compares the GPU with the CPU once the page is idle, and says beside the model what came of it. */
import { codeOf } from "../engine/errors.ts";
import { integer, percent } from "../lib/format.ts";
import { byId } from "../ui/dom.ts";
import { showNotice } from "../ui/notice.ts";
import type { Engine } from "../engine/client.ts";
import type { Check } from "../engine/protocol.ts";
import type { ModelInUse } from "../lib/model.ts";

/** As long as nothing is asked of the engine, before it is checked. */
const IDLE_MS = 1500;

/** 3·10⁻⁶ as "3e-6", and a half as "50 %". */
const small = (value: number) =>
  value === 0 ? "0" : value === Infinity ? "infinite" : value < 0.01 ? value.toExponential(0) : percent(value);

const wrongOf = ({ kernels }: Check) =>
  new Intl.ListFormat("en").format(kernels.filter(({ is_wrong }) => is_wrong).map(({ kernel }) => kernel));

/** What there is to copy: the adapter, the browser, and each kernel. */
export function reportOf(check: Check, { adapter, in_use }: ModelInUse) {
  const lines = check.kernels.map(
    ({ kernel, dispatches, numbers, difference }) =>
      `${kernel}: ${small(difference)} over ${integer(numbers)} numbers of ${dispatches} dispatches`,
  );
  const device = [adapter.vendor, adapter.architecture, adapter.device, adapter.description].filter(Boolean).join(", ");
  return [
    `Loupe compared the GPU with the CPU: ${check.passed ? "they agree" : "they differ"}.`,
    `adapter: ${device || "not named by the browser"}`,
    `browser: ${navigator.userAgent}`,
    `model: ${in_use.name}, ${in_use.precision}`,
    "largest difference by kernel, relative to the numbers or, where they are small, to their root mean square:",
    ...lines,
  ].join("\n");
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
  let waiting: ReturnType<typeof setTimeout> | undefined;
  /** The model that was checked, and what was found; null if it could not be checked. */
  let done: { of: ModelInUse; check: Check | null } | null = null;
  let is_running = false;

  copy.addEventListener("click", () => {
    if (!done?.check) return;
    navigator.clipboard.writeText(reportOf(done.check, done.of)).then(
      () => (copy.textContent = "Copied"),
      () => (copy.textContent = "The browser refused to copy"),
    );
  });
  badge.addEventListener("click", () => byId("model-chip").click());

  function show() {
    const check = done && done.of === page.now() ? done.check : null;
    badge.hidden = copy.hidden = words.hidden = check === null;
    copy.textContent = "Copy the report";
    if (!check) return;
    badge.textContent = check.passed ? "checked" : "results differ";
    badge.classList.toggle("bad", !check.passed);
    const n = check.kernels.reduce((sum, { numbers }) => sum + numbers, 0);
    words.textContent = check.passed
      ? `Checked: ${integer(n)} numbers of a short reading were computed on the CPU as well; the largest relative difference is ${small(check.largest)}.`
      : `This adapter’s results differ from the CPU’s: ${wrongOf(check)}; the largest relative difference is ${small(check.largest)}.`;
    badge.title = words.textContent;
    badge.setAttribute("aria-label", `${badge.textContent}. ${words.textContent}`);
  }

  async function run(of: ModelInUse) {
    const engine = page.engine();
    const is_idle = document.documentElement.dataset.state === "ready";
    if (is_running || !engine || !is_idle) return soon();
    is_running = true;
    try {
      const check = await engine.check(new AbortController().signal);
      done = { of, check };
      show();
      if (!check.passed && of === page.now())
        showNotice({
          title: "This graphics adapter gives wrong results",
          text: `${words.textContent} What the page shows cannot be trusted.`,
          code: "check",
          actions: [{ label: "Compute on the CPU", is_main: true, onClick: page.cpu }],
        });
    } catch (error) {
      // Something else was asked meanwhile; it is checked after that. What fails otherwise fails again.
      if (codeOf(error) !== "aborted") done = { of, check: null };
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
    if (!of || of.adapter.backend !== "webgpu" || of.model.partial === true || done?.of === of) return;
    if (page.engine()) waiting = setTimeout(() => void run(of), IDLE_MS);
  }
  return { soon };
}
