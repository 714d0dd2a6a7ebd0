/** What the engine computes on: the choice, and what came of it. */
import { byId } from "../ui/dom.ts";
import { readPreference, writePreference } from "../ui/preferences.ts";
import { nameOfAdapter, type DeviceChoice, type Facts } from "../lib/model.ts";

const CHOICES: DeviceChoice[] = ["auto", "gpu", "cpu"];

/** What this browser was told to compute on. */
export const deviceChoice = (): DeviceChoice => CHOICES.find((choice) => choice === readPreference("device")) ?? "auto";

/** What was measured of an adapter, and of which one. */
export function tuningChoice() {
  const [adapter, tuning] = (readPreference("tuning") ?? "").split("\n");
  return adapter && tuning ? { adapter, tuning } : null;
}

/** Whether the engine computes on the CPU. */
export const isOnCpu = (adapter: Facts) => adapter.backend === "cpu";

/** @param onChange starts the engine again */
export function createDeviceChoice(onChange: () => void) {
  const select = byId<HTMLSelectElement>("device");
  select.value = deviceChoice();
  const choose = (choice: DeviceChoice) => {
    writePreference("device", choice);
    select.value = choice;
    onChange();
  };
  select.addEventListener("change", () => choose(select.value as DeviceChoice));

  return {
    choose,
    show(adapter: Facts) {
      // It is measured once, and then used at the next visit; of an adapter without a name it is measured each time, of one
      // in software never.
      const name = nameOfAdapter(adapter);
      if (name && adapter.tuning && !adapter.fallback) writePreference("tuning", `${name}\n${String(adapter.tuning)}`);
      byId("device-words").textContent = !isOnCpu(adapter)
        ? adapter.fallback
          ? "The GPU is one in software; the CPU is faster."
          : "The models run on the GPU."
        : `The models run on the CPU of this computer, with the same results up to rounding. A GPU is usually faster for large models.${deviceChoice() === "auto" ? ` It is the CPU because: ${String(adapter.why)}.` : ""}`;
    },
  };
}
