/** The Storage section: what the kept models take of the browser's room, and whether the browser may clear it. */
import { byId } from "../ui/dom.ts";
import { bytes } from "../lib/format.ts";
import { writePreference, readPreference } from "../ui/preferences.ts";
import type { Kept } from "../engine/protocol.ts";

const MAY_CLEAR = "The browser may clear it when the disk runs full.";
const IS_SAFE = "Safe: the browser clears it only when you ask it to.";
const DECLINED =
  "The browser declined. It decides by how often a site is used; a bookmark or installing the page may help.";

/** Whether downloads are to be kept; yes until somebody says no. */
export const wantsKeeping = () => readPreference("keep") !== "no";

export function createStorage() {
  const wanted = byId<HTMLInputElement>("keep");
  wanted.checked = wantsKeeping();
  wanted.addEventListener("change", () => writePreference("keep", wanted.checked ? "yes" : "no"));

  byId("persist").addEventListener("click", async () => {
    const is_safe = await navigator.storage.persist().catch(() => false);
    await showSafety(is_safe ? IS_SAFE : DECLINED);
  });

  async function showSafety(words?: string) {
    const is_safe = await navigator.storage?.persisted?.().catch(() => false);
    byId("persist").hidden = is_safe || !navigator.storage?.persist;
    byId("safety").textContent = is_safe ? IS_SAFE : (words ?? MAY_CLEAR);
  }

  return {
    async show(kept: Kept[]) {
      const total = kept.reduce((sum, each) => sum + each.bytes, 0);
      const { quota = 0 } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
      const count =
        kept.length === 0
          ? "No model is kept yet"
          : `${kept.length} ${kept.length === 1 ? "model" : "models"}, ${bytes(total)}`;
      byId("kept").textContent = quota ? `${count} · the browser allows this site ${bytes(quota)}` : count;
      const room = byId<HTMLProgressElement>("room");
      room.hidden = !quota;
      room.max = quota || 1;
      room.value = total;
      await showSafety();
    },
  };
}
