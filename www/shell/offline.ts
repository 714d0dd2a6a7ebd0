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
  const workbox = new Workbox(trustedScript(new URL("sw.js", document.baseURI).href));
  let registration: ServiceWorkerRegistration | undefined;
  /** Whether a person has agreed to the reload. */
  let is_agreed = false;
  const button = byId("new-version");
  workbox.addEventListener("waiting", () => (button.hidden = false));
  button.addEventListener("click", () => {
    const update = () => {
      is_agreed = true;
      // Another tab may have let it in already.
      if (registration?.waiting) workbox.messageSkipWaiting();
      else location.reload();
    };
    askFirst("Reload to update?", "Reloading would lose", "", update);
  });
  const reload = () => location.reload();
  // Wherever the new version was let in, it takes over under every tab, and its files do not fit an older page.
  workbox.addEventListener("controlling", ({ isUpdate, isExternal }) => {
    if (!isUpdate && !isExternal) return;
    if (is_agreed) return reload();
    const missing = " Until then, parts of the page that have not been opened yet may be missing.";
    askFirst(
      "A newer version was installed in another tab",
      "Reload this page to use it. That would lose",
      missing,
      reload,
    );
  });
  // A page of a first visit is not controlled by any version.
  workbox.addEventListener("activated", () => is_agreed && !navigator.serviceWorker.controller && reload());

  /** What would be lost is named before anything is done. */
  function askFirst(title: string, words: string, more: string, go: () => void) {
    const lost = losses();
    if (lost.length === 0) return go();
    showNotice({
      title,
      text: `${words} ${new Intl.ListFormat("en").format(lost)}.${more}`,
      actions: [{ label: "Reload anyway", is_main: true, onClick: go }],
      dismiss: "Not now",
    });
  }

  try {
    registration = await workbox.register({ immediate: true });
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
