/** Keeps the page itself for use without a network, and lets a newer version of it take over. */
import { Workbox } from "workbox-window";
import { trustedScript } from "../engine/trusted-urls.ts";
import { byId } from "../ui/dom.ts";
import { showNotice } from "../ui/notice.ts";

/** A page that stays open asks for a newer version this often, when it is looked at again. */
const ASK_AGAIN_MS = 60 * 60 * 1000;

/** @param losses what a reload would lose, in words */
export async function workOffline(losses: () => string[]) {
  // Not in a browser's private mode of some makers, nor on a page that is not secure.
  if (!("serviceWorker" in navigator)) return;
  const script = trustedScript(new URL("sw.js", document.baseURI).href);
  const workbox = new Workbox(script);
  const button = byId("new-version");
  button.addEventListener("click", () => askFirst("update", () => workbox.messageSkipWaiting()));
  workbox.addEventListener("waiting", () => (button.hidden = false));
  // Wherever the new version was let in, it takes over under every tab, and its files do not fit an older page.
  workbox.addEventListener("controlling", ({ isUpdate, isExternal }) => {
    if (isUpdate || isExternal) askFirst("reload", () => location.reload());
  });

  /** What would be lost is named before the page is reloaded. */
  function askFirst(what: "update" | "reload", go: () => void) {
    const lost = losses();
    if (lost.length === 0) return go();
    const names = new Intl.ListFormat("en").format(lost);
    showNotice({
      title: what === "update" ? "The newer version reloads this page" : "A newer version was installed in another tab",
      text:
        what === "update"
          ? `That would lose ${names}.`
          : `This page has to be reloaded to go on with it. That would lose ${names}; until then, parts of the page that have not been opened yet may be missing.`,
      actions: [{ label: what === "update" ? "Update all the same" : "Reload", is_main: true, onClick: go }],
      dismiss: "Not now",
    });
  }

  try {
    await workbox.register({ immediate: true });
  } catch {
    return; // The page works all the same, with a network.
  }
  let asked = Date.now();
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "visible" || Date.now() - asked < ASK_AGAIN_MS) return;
    asked = Date.now();
    workbox.update().catch(() => {});
  });
}
