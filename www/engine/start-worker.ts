/**
 * Starts a worker. Its script is imported by one that is made here, because that one inherits the Content-Security-Policy
 * of the page: a script from a host that sends no policy of its own could ask any address.
 */
import { trustedScript } from "./trusted-urls.ts";

/** How long a worker may take to fetch its script. */
const SCRIPT_MS = 60_000;

/** @param url of a module, absolute */
export function startWorker(url: string) {
  const script = `import ${JSON.stringify(url)};`;
  const own = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(trustedScript(own), { type: "module" });
  // The worker has fetched it by then, or never will.
  setTimeout(() => URL.revokeObjectURL(own), SCRIPT_MS);
  return worker;
}
