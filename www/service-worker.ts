/**
 * The service worker: keeps all of the site for use without a network. What the page has just fetched is not fetched
 * again: the HTTP cache asks the server only whether each file has changed.
 */
import { addPlugins, cleanupOutdatedCaches, precacheAndRoute } from "workbox-precaching";
import type { PrecacheEntry } from "workbox-precaching";

declare const self: ServiceWorkerGlobalScope & { __WB_MANIFEST: PrecacheEntry[] };

addPlugins([
  {
    // Workbox asks for files without a hash in their name with `reload`, which passes over the HTTP cache.
    requestWillFetch: ({ request }) =>
      Promise.resolve(request.cache === "reload" ? new Request(request, { cache: "no-cache" }) : request),
  },
]);
precacheAndRoute(self.__WB_MANIFEST);
cleanupOutdatedCaches();

// The page asks before a new version takes over: two versions of one page must not meet.
self.addEventListener("message", ({ data }) => {
  if ((data as { type?: string } | null)?.type === "SKIP_WAITING") void self.skipWaiting();
});
