/** Keeps the page itself for use without a network, and says when a newer version of it waits. */
import { Workbox } from "workbox-window";

/** A page that stays open asks for a newer version this often, when it is looked at again. */
const ASK_AGAIN_MS = 60 * 60 * 1000;

/** @param onNewVersion called when a newer version is ready to take over */
export async function workOffline(onNewVersion: (takeOver: () => void) => void) {
  // Not in a browser's private mode of some makers, nor on a page that is not secure.
  if (!("serviceWorker" in navigator)) return;
  const workbox = new Workbox(new URL("sw.js", document.baseURI).href);
  workbox.addEventListener("waiting", () => onNewVersion(() => workbox.messageSkipWaiting()));
  // Wherever the new version was let in: it takes over under every tab, and its files do not fit an older page.
  workbox.addEventListener("controlling", ({ isUpdate, isExternal }) => {
    if (isUpdate || isExternal) location.reload();
  });
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
